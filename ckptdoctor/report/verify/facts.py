"""Wording that the reports of `verify` share: the verdict, and a row for each value that was compared."""

from collections import Counter
from typing import NamedTuple

from ckptdoctor.report.shared.facts import figure
from ckptdoctor.verification.results import Attempt, OptimizerResult, Outcome, Restored, SlotResult, Verification

_NAMED = 4


class Row(NamedTuple):
    """One line of the table."""

    what: str
    artifact: str
    framework: str
    outcome: str


def framework(verification: Verification) -> str:
    """`keras 3.15.1`."""
    return f"{verification.framework or 'the framework'} {verification.version or ''}".rstrip()


def verdict(verification: Verification) -> str:
    """What an engineer acts on, in one line."""
    usual = verification.usual
    if usual is None:
        return "holds no optimizer state: there is nothing to restore"
    if usual.key == "none":
        return "not verified"
    name = framework(verification)
    if usual.ok:
        return f"{name} restores all of it: {_restored(usual)}"
    restoring = verification.restoring
    after = ", another call does" if restoring is not None else ""
    if usual.error is not None:
        return f"{name} does not load it by the usual call{after}"
    return f"{name} does not restore it by the usual call{after}: {_lost(usual)}"


def _restored(attempt: Attempt) -> str:
    parts = []
    slots = sum(len(each.slots) for each in attempt.optimizers)
    counts = [each.iterations.expected for each in attempt.optimizers if each.iterations.expected is not None]
    if counts:
        parts.append("iteration " + ", ".join(f"{int(count):,}" for count in counts))
    parts.append(f"{slots:,} slot{'' if slots == 1 else 's'}" if slots else "no slots to restore")
    return " and ".join(parts)


def _lost(attempt: Attempt) -> str:
    parts: list[str] = []
    for each in attempt.optimizers:
        if each.iterations.outcome in {Outcome.DROPPED, Outcome.CHANGED}:
            found = "none" if each.iterations.found is None else f"{int(each.iterations.found):,}"
            parts.append(f"iterations {found} instead of {int(each.iterations.expected or 0):,}")
        parts.extend(
            f"{each.count(outcome):,} of {len(each.slots):,} slots {outcome.value}"
            for outcome in (Outcome.DROPPED, Outcome.CHANGED)
            if each.count(outcome)
        )
        parts.extend(
            f"last_epoch of {scheduler.class_name or scheduler.name} "
            f"{'none' if scheduler.last_epoch.found is None else scheduler.last_epoch.found} instead of "
            f"{scheduler.last_epoch.expected}"
            for scheduler in each.schedulers
            if scheduler.last_epoch.outcome in {Outcome.DROPPED, Outcome.CHANGED}
        )
        if each.learning_rate.outcome in {Outcome.DROPPED, Outcome.CHANGED}:
            parts.append(f"learning rate {figure(each.learning_rate.found)}")
    return ", ".join(parts) or "the framework's model has no optimizer"


def rows(optimizer: OptimizerResult) -> list[Row]:
    """The count, the rate, the slots and the schedulers: one row for slots of a kind that came out alike."""
    found = [
        _number("iterations", optimizer.iterations, whole=True),
        _number("learning rate", optimizer.learning_rate),
    ]
    lines = [row for row in found if row is not None]
    kinds: dict[tuple[str, Outcome, str], list[SlotResult]] = {}
    kept = (*optimizer.counts, *optimizer.slots)
    for slot in kept:
        kinds.setdefault((slot.name, slot.outcome, slot.detail), []).append(slot)
    totals = Counter(slot.name for slot in kept)
    for (name, outcome, detail), slots in kinds.items():
        difference = max((slot.max_difference for slot in slots if slot.max_difference is not None), default=None)
        off = f"off by up to {difference:.3g}" if difference is not None else ""
        said = ", ".join(filter(None, (detail, off)))
        lines.append(Row(_which(name, slots, totals[name]), f"{len(slots):,} of {totals[name]:,}", said, outcome.value))
    for each in optimizer.schedulers:
        row = _number(f"last_epoch of {each.class_name or each.name}", each.last_epoch, whole=True)
        lines += [row] if row is not None else []
    return lines


def _which(name: str, slots: list[SlotResult], total: int) -> str:
    if len(slots) == total:
        return name
    named = ", ".join(slot.variable for slot in slots[:_NAMED])
    more = f" and {len(slots) - _NAMED:,} more" if len(slots) > _NAMED else ""
    return f"{name} of {named}{more}"


def _number(what: str, number: Restored, *, whole: bool = False) -> Row | None:
    if number.outcome is Outcome.ABSENT:
        return None
    expected, found = (
        "" if value is None else f"{int(value):,}" if whole else figure(float(value))
        for value in (number.expected, number.found)
    )
    return Row(what, expected, found or "none", number.outcome.value)
