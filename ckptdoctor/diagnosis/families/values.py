"""V: values that no optimizer can have produced, and figures that contradict each other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet

from ckptdoctor.diagnosis.evidence import Evidence, Rule, noticed
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.mending import repair_of
from ckptdoctor.diagnosis.status import title
from ckptdoctor.formats.registry import record
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.references import TensorRef
from ckptdoctor.words import enumerate_some

_SHOWN = 8


def _not_finite(evidence: Evidence) -> Iterator[tuple[str, str]]:
    seen = evidence.scan.tensors if evidence.scan is not None else evidence.statistics
    # A best value that no epoch has reached yet is infinite, as callbacks keep it.
    beside = {ref for ref in evidence.state.others if ref.size == 1} if evidence.state is not None else set[TensorRef]()
    bad = [(ref, each) for ref, each in seen.items() if each and (each.nan or (each.inf and ref not in beside))]
    if bad:
        listed = enumerate_some(
            [f"{ref.key} ({each.nan:,} NaN, {each.inf:,} Inf of {ref.size:,})" for ref, each in bad], _SHOWN
        )
        yield (
            f"{len(bad):,} {'tensor holds' if len(bad) == 1 else 'tensors hold'} values that are not finite: {listed}",
            "training had diverged when this was saved: resume from an older checkpoint"
            + _anew(evidence, {ref for ref, _ in bad}),
        )


def _anew(evidence: Evidence, bad: AbstractSet[TensorRef]) -> str:
    """What is left where only slots are bad, of optimizers whose class says how they begin."""
    slots = {slot.tensor for each in evidence.optimizers for slot in each.slots}
    if evidence.state is None or not bad <= slots:
        return ""
    kind = record(evidence.state.format)
    known = all(each.class_name is not None and not each.class_inferred for each in evidence.optimizers)
    if not (kind.mended or (kind.refill is not None and known)):
        return ""
    return f"; or keep the weights, and let the optimizer begin anew: {repair_of(evidence, 'reset')}"


def _impossible_moment(evidence: Evidence) -> Iterator[tuple[str, str]]:
    scan = evidence.scan
    if scan is None:
        return
    from ckptdoctor.optimizers.lists.evidence import NEVER_NEGATIVE

    for each in evidence.optimizers:
        below = [
            (slot, scan.tensors[slot.tensor])
            for slot in each.slots
            if slot.role in NEVER_NEGATIVE and slot.tensor in scan.tensors
        ]
        below = [(slot, seen) for slot, seen in below if seen.least is not None and seen.least < 0]
        if below:
            listed = enumerate_some(
                [f"{slot.name} of {slot.variable or slot.tensor.key} (least {seen.least:.3g})" for slot, seen in below],
                _SHOWN,
            )
            yield (
                (
                    f"{len(below):,} of {title(each)}'s mean squares or accumulators go below zero, which no update "
                    f"produces: {listed}"
                ),
                "the slots are another quantity or of other variables: do not resume from them"
                + _anew(evidence, {slot.tensor for slot, _ in below}),
            )


def _moments_swapped(evidence: Evidence) -> Iterator[tuple[str, str]]:
    scan = evidence.scan
    bad = [pair for pair in scan.pairs if pair.figures.above] if scan is not None else []
    if bad:
        worst = max(bad, key=lambda pair: pair.figures.worst)
        names = enumerate_some([pair.variable for pair in bad], _SHOWN)
        yield (
            (
                f"for {names}, |m| / sqrt(v) goes up to {worst.figures.worst:.3g}; "
                f"no run of Adam brings it above {worst.bound:.3g}"
            ),
            "first and second moments are swapped, or of different variables or runs",
        )


def _counters_disagree(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for conflict in _conflicts(evidence, "V004"):
        yield conflict, "find out which one is right before resuming"
    state = evidence.state
    counted = [each for each in evidence.optimizers if each.iterations is not None]
    step = state.counters.get("global_step") if state is not None else None
    if len(counted) == 1 and step is not None and counted[0].iterations_key != "global_step":
        only = counted[0]
        reported = only.iterations if only.iterations_reported is None else only.iterations_reported
        # PyTorch's programs save it before or after they count it up; Lightning up to 1.5 did after.
        within = 1 if dialect(only.generation).by_parameter else 0
        if all(abs(step - each) > within for each in (only.iterations, reported) if each is not None):
            yield (
                f"{title(only)} is at iteration {only.iterations:,}, but global_step is {step:,}",
                "schedules follow the optimizer's own count, summaries global_step",
            )
    twins: dict[str, dict[int, str]] = {}
    for member in evidence.run.members if evidence.run is not None else ():
        if member.iterations is not None:
            twins.setdefault(member.stem, {})[member.iterations] = member.name
    for counts in twins.values():
        if len(counts) > 1:
            listed = ", ".join(f"{name} is at iteration {count:,}" for count, name in sorted(counts.items()))
            yield f"twins of one run disagree: {listed}", "saved at different times: resume from the later one"


def _learning_rate_differs(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for conflict in _conflicts(evidence, "V005"):
        yield conflict, "the stored value wins when the optimizer's state is restored"


def _conflicts(evidence: Evidence, code: str) -> Iterator[str]:
    told = (each.message for optimizer in evidence.optimizers for each in optimizer.conflicts if each.code == code)
    yield from dict.fromkeys(told)  # optimizers of one class share their beta powers


_RATES = ("lr", "learning_rate")
_BELOW_ONE = ("betas", "beta_1", "beta_2")
_NOT_NEGATIVE = ("eps", "epsilon", "momentum", "weight_decay")
_ROUNDED = -1e-12
"""Schedules that go down to zero by small steps may end this far below it."""


def _impossible_setting(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for oddity in evidence.oddities:
        if oddity.code == "V006":
            yield oddity.message, "start with a new GradScaler; look for what made the gradients overflow"
    for each in evidence.optimizers:
        own = [group.hyperparameters for group in each.groups] or [each.hyperparameters]
        bad = dict.fromkeys(said for settings in own for said in _refused(settings))
        if bad:
            yield (
                f"{title(each)} has settings that no constructor takes: {enumerate_some(list(bad), _SHOWN)}",
                "loading checks no setting: set them anew after the state is loaded, before the next step",
            )


def _refused(settings: Mapping[str, object]) -> Iterator[str]:
    """Settings that the classes' own constructors refuse."""
    for name in (*_RATES, *_BELOW_ONE, *_NOT_NEGATIVE):
        held = settings.get(name)
        for value in held if isinstance(held, (list, tuple)) else (held,):
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                continue
            low = _ROUNDED if name in _RATES else 0
            wrong = value < low or value == math.inf or (isinstance(value, float) and math.isnan(value))
            if wrong or (name in _BELOW_ONE and value >= 1):
                yield f"{name} {value:g}" if isinstance(value, float) else f"{name} {str(value)[:20]}"


RULES: tuple[Rule, ...] = (
    Rule("V001", "not-finite", Severity.ERROR, "NaN or Inf, where and how many", _not_finite, deep=True),
    Rule(
        "V002",
        "impossible-moment",
        Severity.ERROR,
        "a second moment, accumulator or mean square below zero",
        _impossible_moment,
        deep=True,
    ),
    Rule(
        "V003",
        "moments-swapped",
        Severity.WARNING,
        "first and second moments violate what Adam can produce",
        _moments_swapped,
        deep=True,
    ),
    Rule(
        "V004",
        "counters-disagree",
        Severity.WARNING,
        "iterations, global_step, beta powers, or twin files of one run contradict each other",
        _counters_disagree,
    ),
    Rule(
        "V005",
        "learning-rate-differs",
        Severity.WARNING,
        "the stored learning rate is not the configured one",
        _learning_rate_differs,
    ),
    Rule(
        "V006",
        "impossible-setting",
        Severity.ERROR,
        "a learning rate, momentum or loss scale with which no step does what it should",
        _impossible_setting,
    ),
    Rule(
        "V007",
        "count-stands-still",
        Severity.WARNING,
        "a count in half precision, to which adding one changes nothing from 256 on",
        noticed("V007"),
    ),
)
