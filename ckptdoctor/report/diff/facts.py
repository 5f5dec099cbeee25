"""Wording that the reports of `diff` share: the verdict, the facts, a row for each thing that was compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ckptdoctor.comparison.results import (
    Comparison,
    Item,
    Layer,
    OptimizerComparison,
    Outcome,
    Verdict,
)
from ckptdoctor.formats.registry import record
from ckptdoctor.report.shared.facts import figure
from ckptdoctor.words import counted

_MATCHED = {
    "map": "by --map",
    "path": "by path",
    "name": "by name",
    "structure": "by structure",
    "order": "by order only",
    "weights": "by order, confirmed by equal weights",
    "own": "by path",
}
FINE = frozenset({Outcome.EQUAL, Outcome.NOT_COMPARED})


# ------------------------------------------------------------------------------------------------------------- verdict


def verdict(found: Comparison) -> str:
    """What an engineer acts on, in one line."""
    if found.nothing:
        return "neither holds optimizer state: there is nothing to compare"
    if found.a.state != found.b.state:
        holder, other = ("A", "B") if found.a.state else ("B", "A")
        return f"different: {holder} holds {_held(found.optimizers)}, {other} no optimizer state"
    reasons = [
        reason if len(found.optimizers) == 1 else f"{name(each)}: {reason}"
        for each in found.optimizers
        if (reason := _reasons(each))
    ]
    if found.weights.counted and (weights := _weights_reason(found)):
        reasons.append(weights)
    if found.verdict is Verdict.DIFFERENT:
        same = all(each.verdict is Verdict.EQUAL for each in found.optimizers)
        rest = f"; the optimizer state is the same, {_held(found.optimizers)}" if same else ""
        return f"different: {'; '.join(reasons)}{rest}"
    if found.verdict is Verdict.UNDECIDED:
        return f"not known to be the same: {'; '.join(reasons)}"
    return _equal(found)


def _equal(found: Comparison) -> str:
    held = _held(found.optimizers)
    slots = sum(len(each.slots) for each in found.optimizers)
    weights = f"; so are the weights of {counted(found.weights.total, 'variable')}" if found.weights.counted else ""
    if found.verdict is Verdict.NO_DIFFERENCE:
        return f"no difference found: {held}; the values of {counted(slots, 'slot')} were not compared (--values)"
    within = f" within {_tolerance(found)}" if found.rtol or found.atol else ""
    equal = f"{counted(slots, 'slot')} equal{within}" if slots else "there are no slots"
    return f"the same optimizer state: {held}, {equal}{weights}"


def _tolerance(found: Comparison) -> str:
    return " and ".join(f"{name} {value:g}" for name, value in (("rtol", found.rtol), ("atol", found.atol)) if value)


def _held(optimizers: Iterable[OptimizerComparison]) -> str:
    listed = list(optimizers)
    held = [(each, _one_held(each)) for each in listed if each.item(Layer.CLASS) is not None]
    return ", ".join(f"{said} ({name(each)})" if len(listed) > 1 else said for each, said in held)


def _one_held(optimizer: OptimizerComparison) -> str:
    said, steps = (_either(optimizer.item(layer)) for layer in (Layer.CLASS, Layer.ITERATIONS))
    at = f" at iteration {steps:,}" if isinstance(steps, int) else ""
    return f"{said or 'an optimizer'}{at}"


def _either(item: Item | None) -> object:
    return None if item is None else item.a if item.a is not None else item.b


def name(optimizer: OptimizerComparison) -> str:
    """What reports call an optimizer where there are several."""
    return optimizer.name_a or optimizer.name_b or "optimizer"


def _reasons(optimizer: OptimizerComparison) -> str:
    """What is different, else what nothing decides."""
    wanted = (
        frozenset({Outcome.UNDECIDED})
        if optimizer.verdict is Verdict.UNDECIDED
        else frozenset(Outcome) - FINE - {Outcome.UNDECIDED}
    )
    said = [_item_reason(each) for each in optimizer.items if each.outcome in wanted]
    total = len(optimizer.slots)
    counts = Counter(each.outcome for each in optimizer.slots if each.outcome in wanted)
    verbs = {
        Outcome.DIFFERENT: "different",
        Outcome.ONLY_A: "only in A",
        Outcome.ONLY_B: "only in B",
        Outcome.UNDECIDED: "not comparable",
    }
    said += [f"{count:,} of {counted(total, 'slot')} {verbs[outcome]}" for outcome, count in counts.items()]
    return ", ".join(said)


def _item_reason(item: Item) -> str:
    if item.outcome is Outcome.ONLY_A:
        return f"{item.name} only in A"
    if item.outcome is Outcome.ONLY_B:
        return f"{item.name} only in B"
    if item.layer is Layer.SCHEDULE and item.a == item.b:
        return f"settings of {item.a}"
    return f"{item.name} {value_text(item.a)} and {value_text(item.b)}"


def _weights_reason(found: Comparison) -> str:
    lone = [each for each in found.weights.results if each.outcome in {Outcome.ONLY_A, Outcome.ONLY_B}]
    changed = [each for each in found.weights.results if each.outcome is Outcome.DIFFERENT]
    parts = [f"weights of {len(changed):,} of {counted(found.weights.total, 'variable')}"] if changed else []
    parts += [f"{counted(len(lone), 'variable')} in one model only"] if lone else []
    lost = sum(each.outcome is Outcome.UNDECIDED for each in found.weights.results)
    parts += [f"weights of {counted(lost, 'variable')} not comparable"] if lost else []
    return ", ".join(parts)


# --------------------------------------------------------------------------------------------------------------- facts


def facts(found: Comparison) -> list[tuple[str, str]]:
    """What both sides are, and what an engineer should know: (label, text)."""
    lines = []
    for label, side in (("A", found.a), ("B", found.b)):
        text = f"{side.path}, {record(side.format).title}"
        if side.producer.framework:
            text += f" by {side.producer.framework} {side.producer.version or ''}".rstrip()
        if side.resolved != side.path:
            text += f" ({side.resolved})"
        lines.append((label, text))
    for each in found.optimizers:
        formulas = dict.fromkeys(slot.translation for slot in each.slots if slot.translation)
        lines += [("translated", f"B's numbers before they were compared: {formula}") for formula in formulas]
        if matched := _matching(each):
            lines.append(("matched", matched))
        lines += _silences(each)
        lines += [("note", note) for note in each.notes]
    return lines


def _matching(optimizer: OptimizerComparison) -> str:
    """How variables were found to be one, where their paths differ."""
    how = {each.variable: each.matched for each in optimizer.slots if each.matched is not None}
    counts = Counter(how.values())
    if set(counts) <= {"path", "own"}:
        return ""
    (first, count), *rest = counts.items()
    more = "".join(f", {number:,} {_MATCHED[kind]}" for kind, number in rest)
    return f"{counted(count, 'variable')} {_MATCHED[first]}{more}"


def _silences(optimizer: OptimizerComparison) -> list[tuple[str, str]]:
    """Settings that one side does not record, one line a side."""
    silent = {"A": [], "B": []}  # type: dict[str, list[str]]
    for item in optimizer.items:
        if is_silence(item):
            side, said = ("A", item.b) if item.a is None else ("B", item.a)
            silent[side].append(f"{item.name} {value_text(said)}")
    return [("unrecorded", f"{side} does not record {', '.join(names)}") for side, names in silent.items() if names]


def is_silence(item: Item) -> bool:
    """Whether it is a setting that one side does not record."""
    settings = {Layer.HYPERPARAMETER, Layer.SCHEDULE}
    return item.layer in settings and item.outcome is Outcome.NOT_COMPARED and (item.a is None or item.b is None)


def value_text(value: object) -> str:
    """A value of an item; floats as their users wrote them."""
    if value is None:
        return "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return figure(value)
