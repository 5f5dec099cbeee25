"""Wording that the reports of `diff` share: the verdict, the facts, a row for each thing that was compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ckptdoctor.comparison.results import (
    Comparison,
    Figures,
    Item,
    Layer,
    OptimizerComparison,
    Outcome,
    SlotResult,
    Verdict,
    WeightResult,
)
from ckptdoctor.matching.weights import Likeness
from ckptdoctor.report.facts import FORMATS, figure
from ckptdoctor.state import Role

LISTED = 8
"""Slots that reports for people name one by one."""

WORDS = {
    Outcome.EQUAL: "equal",
    Outcome.DIFFERENT: "different",
    Outcome.ONLY_A: "only in A",
    Outcome.ONLY_B: "only in B",
    Outcome.UNDECIDED: "undecided",
    Outcome.NOT_COMPARED: "not compared",
}
_MATCHED = {
    "map": "by --map",
    "path": "by path",
    "name": "by name",
    "structure": "by structure",
    "order": "by order only",
    "weights": "by order, confirmed by equal weights",
    "own": "by path",
}
_FINE = frozenset({Outcome.EQUAL, Outcome.NOT_COMPARED})


class Row(NamedTuple):
    """One line of the table."""

    what: str
    a: str
    b: str
    said: str
    outcome: Outcome


class Line(NamedTuple):
    """One slot that is not equal, and why."""

    slot: str
    said: str
    outcome: Outcome


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
    weights = f"; so are the weights of {_count(found.weights.total, 'variable')}" if found.weights.counted else ""
    if found.verdict is Verdict.NO_DIFFERENCE:
        return f"no difference found: {held}; the values of {_count(slots, 'slot')} were not compared (--values)"
    within = f" within {_tolerance(found)}" if found.rtol or found.atol else ""
    equal = f"{_count(slots, 'slot')} equal{within}" if slots else "there are no slots"
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
        else frozenset(Outcome) - _FINE - {Outcome.UNDECIDED}
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
    said += [f"{count:,} of {_count(total, 'slot')} {verbs[outcome]}" for outcome, count in counts.items()]
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
    parts = [f"weights of {len(changed):,} of {_count(found.weights.total, 'variable')}"] if changed else []
    parts += [f"{_count(len(lone), 'variable')} in one model only"] if lone else []
    lost = sum(each.outcome is Outcome.UNDECIDED for each in found.weights.results)
    parts += [f"weights of {_count(lost, 'variable')} not comparable"] if lost else []
    return ", ".join(parts)


# --------------------------------------------------------------------------------------------------------------- facts


def facts(found: Comparison) -> list[tuple[str, str]]:
    """What both sides are, and what an engineer should know: (label, text)."""
    lines = []
    for label, side in (("A", found.a), ("B", found.b)):
        text = f"{side.path}, {FORMATS[side.format]}"
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
    return f"{_count(count, 'variable')} {_MATCHED[first]}{more}"


def _silences(optimizer: OptimizerComparison) -> list[tuple[str, str]]:
    """Settings that one side does not record, one line a side."""
    silent = {"A": [], "B": []}  # type: dict[str, list[str]]
    for item in optimizer.items:
        if _is_silence(item):
            side, said = ("A", item.b) if item.a is None else ("B", item.a)
            silent[side].append(f"{item.name} {value_text(said)}")
    return [("unrecorded", f"{side} does not record {', '.join(names)}") for side, names in silent.items() if names]


def _is_silence(item: Item) -> bool:
    settings = {Layer.HYPERPARAMETER, Layer.SCHEDULE}
    return item.layer in settings and item.outcome is Outcome.NOT_COMPARED and (item.a is None or item.b is None)


def value_text(value: object) -> str:
    """A value of an item; floats as their users wrote them."""
    if value is None:
        return "none"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return figure(value)


# ---------------------------------------------------------------------------------------------------------------- rows


def rows(optimizer: OptimizerComparison) -> list[Row]:
    """One row for each item that says something, and for each kind of slot."""
    found = [_row(item) for item in optimizer.items if not _is_silence(item) and not _is_off(item)]
    found += [_slot_row(label, slots) for label, slots in _kinds(optimizer.slots)]
    return found


def _row(item: Item) -> Row:
    said = WORDS[item.outcome]
    if item.layer is Layer.GENERATION and item.outcome is Outcome.NOT_COMPARED:
        said = "compared across generations"
    elif item.detail:
        said = f"{said}: {item.detail}"
    a, b = ("-" if value is None else value_text(value) for value in item.said)
    return Row(item.name, a, b, said, item.outcome)


def _is_off(item: Item) -> bool:
    """Whether it is a setting that is switched off on both sides."""
    return item.layer is Layer.HYPERPARAMETER and item.outcome is Outcome.EQUAL and not item.a and not item.b


def _kinds(slots: Sequence[SlotResult]) -> list[tuple[str, list[SlotResult]]]:
    """(what it is, its slots): slots of one role make one row; where a side has several under it, one row each."""
    names: dict[Role, tuple[set[str], set[str]]] = {}
    for each in slots:
        for known, place in zip(names.setdefault(each.role, (set(), set())), (each.a, each.b), strict=True):
            known.update([place.name] if place is not None else [])
    found: dict[tuple[Role, str], list[SlotResult]] = {}
    for each in slots:
        place = each.a or each.b
        several = max(map(len, names[each.role])) > 1
        found.setdefault((each.role, place.name if several and place is not None else ""), []).append(each)
    return [(role.value.replace("_", " "), listed) for (role, _), listed in found.items()]


def _slot_row(label: str, slots: Sequence[SlotResult]) -> Row:
    a = [each.a for each in slots if each.a is not None]
    b = [each.b for each in slots if each.b is not None]
    counts = Counter(each.outcome for each in slots)
    outcome = _worst(counts)
    if len(counts) == 1:
        said = WORDS[outcome]
    else:
        said = ", ".join(f"{count:,} {WORDS[each]}" for each, count in counts.items())
    gaps = [each.figures.max_absolute for each in slots if each.figures is not None and each.figures.max_absolute != 0]
    if gaps:
        said += f"{' within' if outcome is Outcome.EQUAL else ', by up to'} {_largest(gaps):.3g}"
    names = [f"{side[0].name} ({len(side):,})" if side else "-" for side in (a, b)]
    return Row(label, names[0], names[1], said, outcome)


def _largest(gaps: Sequence[float]) -> float:
    return next((gap for gap in gaps if gap != gap), max(gaps))  # noqa: PLR0124 - NaN, which max may lose


def _worst(counts: Iterable[Outcome]) -> Outcome:
    order = (Outcome.DIFFERENT, Outcome.ONLY_A, Outcome.ONLY_B, Outcome.UNDECIDED, Outcome.NOT_COMPARED, Outcome.EQUAL)
    return min(counts, key=order.index)


def weights_row(found: Comparison) -> Row | None:
    """Whether the models' weights agree; None where there is nothing to say."""
    weights = found.weights
    if not weights.results and not weights.total:
        return None
    counts = Counter(each.outcome for each in weights.results)
    outcome = _worst(counts)
    both = len(weights.results) - counts[Outcome.ONLY_A] - counts[Outcome.ONLY_B]
    said = WORDS[outcome] if len(counts) == 1 else ", ".join(f"{count:,} {WORDS[x]}" for x, count in counts.items())
    changed = [each for each in weights.results if each.outcome is Outcome.DIFFERENT]
    if changed and all(each.detail == Likeness.NEAR.value for each in changed):
        said += ", but near"
    if not weights.counted:
        said += f" in a sample of {both:,}" if both < weights.total else ""
        said += " (not counted: --weights)"
    a, b = (_count(weights.total + counts[lone], "variable") for lone in (Outcome.ONLY_A, Outcome.ONLY_B))
    return Row("weights", a, b, said, outcome)


def lines(optimizer: OptimizerComparison) -> tuple[list[Line], int]:
    """(the first slots that are not equal, how many more there are), the largest differences first."""
    odd = [each for each in optimizer.slots if each.outcome not in _FINE]
    odd.sort(key=lambda each: -_gap(each))
    alike: dict[tuple[str, str, Outcome], list[str]] = {}
    for each in odd:
        place = each.a or each.b
        name = place.name if place is not None else ""
        alike.setdefault((each.variable, _said(each), each.outcome), []).append(name)
    found = [
        Line(f"{', '.join(names)} of {variable}", said, outcome) for (variable, said, outcome), names in alike.items()
    ]
    return found[:LISTED], len(found) - len(found[:LISTED])


def weight_lines(found: Comparison) -> tuple[list[Line], int]:
    """The same of weights, where they count."""
    if not found.weights.counted:
        return [], 0
    odd = [each for each in found.weights.results if each.outcome not in _FINE]
    odd.sort(key=lambda each: -_gap(each))
    shown = [Line(each.variable, _said(each), each.outcome) for each in odd[:LISTED]]
    return shown, len(odd) - len(shown)


def _gap(result: SlotResult | WeightResult) -> float:
    gap = result.figures.max_absolute if result.figures is not None else 0.0
    return gap if gap == gap else float("inf")  # noqa: PLR0124 - NaN sorts nowhere


def _said(result: SlotResult | WeightResult) -> str:
    if result.figures is not None and result.figures.differing:
        return "; ".join(filter(None, (_figures(result.figures), result.detail)))
    if result.outcome in {Outcome.DIFFERENT, Outcome.UNDECIDED} and result.detail:
        return result.detail if result.outcome is Outcome.DIFFERENT else f"undecided: {result.detail}"
    return WORDS[result.outcome]


def _figures(figures: Figures) -> str:
    return (
        f"{figures.differing:,} of {_count(figures.elements, 'value')} differ by up to {figures.max_absolute:.3g} "
        f"(relative {figures.max_relative:.3g})"
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
