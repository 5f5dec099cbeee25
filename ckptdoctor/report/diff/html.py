"""`diff` as a page: the verdict, a row for each thing that was compared, and how far apart the layers are."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isnan

from ckptdoctor.comparison.results import Comparison, OptimizerComparison, Verdict
from ckptdoctor.report.diff import facts as diff_facts
from ckptdoctor.report.diff import rows as diff_rows
from ckptdoctor.report.diff.rows import Line, Row
from ckptdoctor.report.pages import page as parts
from ckptdoctor.report.pages.pictures import bars

_KINDS = {Verdict.EQUAL: "good", Verdict.NO_DIFFERENCE: "good", Verdict.DIFFERENT: "bad", Verdict.UNDECIDED: "odd"}


def render(found: Comparison) -> str:
    """The page."""
    return parts.page("ckptdoctor diff", _all(found))


def _all(found: Comparison) -> Iterator[str]:
    yield f"<h2>{parts.text(found.a.path)} and {parts.text(found.b.path)}</h2>"
    yield f'<p class="{_KINDS[found.verdict]}">{parts.text(diff_facts.verdict(found))}</p>'
    yield parts.facts(diff_facts.facts(found))
    for each in found.optimizers:
        if len(found.optimizers) > 1:
            yield f"<h2>{parts.text(diff_facts.name(each))}</h2>"
        yield _table(diff_rows.rows(each))
        yield from _gaps(each)
        yield from _listed("slot", diff_rows.lines(each))
    weights = diff_rows.weights_row(found)
    if weights is not None:
        yield _table([weights])
    yield from _listed("weight", diff_rows.weight_lines(found))


def _table(rows: list[Row]) -> str:
    return parts.table(("what", "A", "B", "outcome"), [(row.what, row.a, row.b, row.said) for row in rows])


def _gaps(optimizer: OptimizerComparison) -> Iterator[str]:
    """The largest difference of each slot variable."""
    slots = [each for each in optimizer.slots if each.figures is not None and each.figures.differing]
    for role in dict.fromkeys(each.role for each in slots):
        values = [
            (each.variable, inf if isnan(gap) else gap)
            for each in slots
            if each.role is role and each.figures is not None
            for gap in (each.figures.max_absolute,)
        ]
        title = f"{role.value.replace('_', ' ')}: largest difference by variable"
        yield bars(title, ("variable", "difference"), values, logarithmic=True)


def _listed(heading: str, shown: tuple[list[Line], int]) -> Iterator[str]:
    lines, more = shown
    if lines:
        yield parts.table((heading, "what differs"), [(line.slot, line.said) for line in lines])
    if more:
        yield f'<p class="dim">and {more:,} more: --format json has all of them</p>'
