"""`inspect` as a page: verdicts, facts, findings with their fixes, the learning rate, and with `--stats` magnitudes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from ckptdoctor.report.inspect.courses import magnitudes
from ckptdoctor.report.inspect.facts import facts, told
from ckptdoctor.report.inspect.rates import rate_curves
from ckptdoctor.report.inspect.tensor_rows import tensor_rows
from ckptdoctor.report.pages import page as parts
from ckptdoctor.report.pages.pictures import Line, bars, lines
from ckptdoctor.report.shared.facts import human_bytes, shape_text, slot_rows
from ckptdoctor.state import OptimizerState, Status, TrainingState

if TYPE_CHECKING:
    from ckptdoctor.examination import Examination

KINDS = {
    Status.COMPLETE: "good", Status.FRESH: "odd", Status.PARTIAL: "odd", Status.ABSENT: "bad", Status.UNREADABLE: "bad",
}  # fmt: skip
_MOST_TENSORS = 5000


def render(found: Sequence[Examination], *, tensors: bool = False) -> str:
    """The page; with `tensors` a row for every one."""
    title = "ckptdoctor inspect" if len(found) == 1 else f"ckptdoctor inspect: {len(found):,} artifacts"
    return parts.page(title, (part for each in found for part in _artifact(each, tensors=tensors)))


def _artifact(each: Examination, *, tensors: bool) -> Iterator[str]:
    yield f"<h2>{parts.text(each.path)}</h2>"
    yield f'<p class="{KINDS[each.status]}">{parts.text(each.verdict)}</p>'
    state = each.state
    if state is not None:
        yield parts.facts((fact.label, fact.text) for fact in facts(each, state))
        for held in state.optimizers:
            yield _slots(held)
            yield from _magnitudes(each, held)
        for curve in rate_curves(state):
            drawn = [Line("as it is stored", curve.kept), Line(curve.otherwise, curve.lost)]
            yield lines(curve.title, "steps from here", drawn)
    yield parts.findings(told(each, tensors=tensors))
    if tensors and state is not None:
        yield _tensors(state)


def _slots(held: OptimizerState) -> str:
    rows = [
        (row.name, row.role.replace("_", " "), f"{row.have:,} of {row.total:,}", human_bytes(row.size))
        for row in slot_rows(held)
    ]
    named = f"slot of {held.name}" if held.name else "slot"
    return parts.table((named, "what it is", "variables", "bytes"), rows, right=(2, 3)) if rows else ""


def _magnitudes(each: Examination, held: OptimizerState) -> Iterator[str]:
    """How large each slot variable is, layer by layer: what was lost, or has gone wrong, stands out."""
    for name, known in magnitudes(each, held):
        whose = f" of {held.name}" if held.name and len(each.optimizers) > 1 else ""
        yield bars(f"{name}{whose}: root mean square by variable", ("variable", "rms"), known, logarithmic=True)


def _tensors(state: TrainingState) -> str:
    rows = [
        (row.name, shape_text(row.tensor.shape), row.tensor.dtype or "not stored", row.key)
        for row in islice(tensor_rows(state), _MOST_TENSORS)
    ]
    return parts.table(("tensor", "shape", "dtype", "key"), rows)
