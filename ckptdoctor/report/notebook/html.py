"""What a notebook shows of an artifact: plain tables, every text escaped, no script and no style sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ckptdoctor.report.inspect.facts import Fact, facts, optimizer_facts, told
from ckptdoctor.report.pages.page import text as _text
from ckptdoctor.report.shared.facts import human_bytes, slot_rows
from ckptdoctor.state import OptimizerState, Status

if TYPE_CHECKING:
    from ckptdoctor.examination import Examination

_COLORS = {
    Status.COMPLETE: "#1e7b34", Status.FRESH: "#9a6700", Status.PARTIAL: "#9a6700", Status.ABSENT: "#c9372c",
    Status.UNREADABLE: "#c9372c",
}  # fmt: skip
"""Readable on a white and on a dark page."""
_MOST = 100
"""Rows of a table."""


def examination(each: Examination) -> str:
    """The verdict, the facts, the slots of each optimizer, the findings."""
    color = _COLORS[each.status]
    parts = [f'<p><b>{_text(each.path)}</b>: <b style="color:{color}">{_text(each.verdict)}</b></p>']
    if each.state is not None:
        parts.append(_facts(facts(each, each.state)))
        parts += [_slots(held) for held in each.state.optimizers[:_MOST] if held.slots or held.missing]
    rows = [(finding.code, finding.severity.value, finding.message, finding.hint) for finding in told(each)]
    parts += [_table(("rule", "", "finding", "what to do"), rows)] if rows else []
    return _whole(parts)


def optimizer(held: OptimizerState) -> str:
    """The facts and the slots."""
    return _whole([_facts(optimizer_facts(held)), *([_slots(held)] if held.slots or held.missing else [])])


def _whole(parts: Sequence[str]) -> str:
    return f"<div>{''.join(parts)}</div>"


def _facts(told_facts: Iterable[Fact]) -> str:
    return _table((), [(each.label, each.text) for each in told_facts])


def _slots(held: OptimizerState) -> str:
    rows = [
        (row.name, row.role.replace("_", " "), f"{row.have:,} of {row.total:,}", human_bytes(row.size))
        for row in slot_rows(held)
    ]
    return _table((f"slot of {held.name}" if held.name else "slot", "what it is", "variables", "bytes"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(_row("td", each) for each in rows[:_MOST])
    if len(rows) > _MOST:
        body += _row("td", [f"and {len(rows) - _MOST:,} more"])
    top = f"<thead>{_row('th', head)}</thead>" if head else ""
    return f"<table>{top}<tbody>{body}</tbody></table>"


def _row(kind: str, cells: Sequence[str]) -> str:
    shown = "".join(f'<{kind} style="text-align:left">{_text(each)}</{kind}>' for each in cells)
    return f"<tr>{shown}</tr>"
