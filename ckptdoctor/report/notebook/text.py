"""Short texts for what `repr` shows: a screen at most, whatever the artifact holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ckptdoctor.diagnosis.status import summary
from ckptdoctor.report.inspect.facts import facts, optimizer_facts, told
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.report.shared.facts import slot_rows
from ckptdoctor.state import OptimizerState, TrainingState
from ckptdoctor.words import counted, enumerate_some

if TYPE_CHECKING:
    from ckptdoctor.examination import Examination

_WIDTH = 160
_MOST = 12
"""Lines of one kind."""


def examination(each: Examination) -> str:
    """The verdict, the facts, and the findings that a report would show."""
    lines = [f"<Examination {each.path!r}: {each.status.value}; {each.verdict}"]
    if each.state is not None:
        lines += _some([f"{fact.label}: {fact.text}" for fact in facts(each, each.state)])
    lines += _some([f"{finding.code} {finding.message}" for finding in told(each)])
    return _joined(lines)


def state(held: TrainingState) -> str:
    """What it is of, and each optimizer."""
    lines = [f"<TrainingState {held.path!r}: {held.format.value}; {summary(held)}"]
    lines += [f"model: {counted(len(held.variables), 'variable')}"]
    lines += _some([_optimizer(each) for each in held.optimizers])
    lines += _some([f"scheduler: {each.class_name} {each.name!r}" for each in held.schedulers])
    return _joined(lines)


def optimizer(held: OptimizerState) -> str:
    """Class, count, slots and settings."""
    lines = [f"<OptimizerState {held.name!r}"]
    lines += _some([f"{fact.label}: {fact.text}" for fact in optimizer_facts(held)])
    slots = [f"{row.name} {row.have:,} of {row.total:,}" for row in slot_rows(held)]
    return _joined([*lines, *([f"slots: {enumerate_some(slots, _MOST)}"] if slots else [])])


def _optimizer(held: OptimizerState) -> str:
    count = "no count" if held.iterations is None else f"iteration {held.iterations:,}"
    return f"optimizer {held.name!r}: {held.class_name}, {count}, {counted(len(held.slots), 'slot')}"


def _some(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MOST
    return [*lines[:_MOST], *([f"and {more:,} more"] if more > 0 else [])]


def _joined(lines: Sequence[str]) -> str:
    shown = [printable(each) for each in lines]
    return "\n  ".join(each if len(each) <= _WIDTH else f"{each[:_WIDTH]}…" for each in shown) + ">"
