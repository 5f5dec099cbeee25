"""The rows of `diff`'s reports: one for each thing that was compared, one for each slot that is not equal."""

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
    WeightResult,
)
from ckptdoctor.matching.weights import Likeness
from ckptdoctor.report.diff.facts import FINE, is_silence, value_text
from ckptdoctor.state import Role
from ckptdoctor.words import counted

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


def rows(optimizer: OptimizerComparison) -> list[Row]:
    """One row for each item that says something, and for each kind of slot."""
    found = [_row(item) for item in optimizer.items if not is_silence(item) and not _is_off(item)]
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
        outcome = Outcome.NOT_COMPARED
    a, b = (counted(weights.total + counts[lone], "variable") for lone in (Outcome.ONLY_A, Outcome.ONLY_B))
    return Row("weights", a, b, said, outcome)


def lines(optimizer: OptimizerComparison) -> tuple[list[Line], int]:
    """(the first slots that are not equal, how many more there are), the largest differences first."""
    odd = [each for each in optimizer.slots if each.outcome not in FINE]
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
    odd = [each for each in found.weights.results if each.outcome not in FINE]
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
        f"{figures.differing:,} of {counted(figures.elements, 'value')} differ by up to {figures.max_absolute:.3g} "
        f"(relative {figures.max_relative:.3g})"
    )
