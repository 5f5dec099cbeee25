"""Markdown: for job summaries, issues and model cards."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ckptdoctor.report.inspect.facts import facts, told
from ckptdoctor.report.inspect.tensor_rows import tensor_rows
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.report.shared.facts import figure, human_bytes, shape_text, slot_rows

if TYPE_CHECKING:
    from ckptdoctor.examination import Examination
    from ckptdoctor.state import TrainingState

_SPECIAL = str.maketrans({char: f"\\{char}" for char in "\\`*_{}[]<>()#+!|~"})


def escape(text: str) -> str:
    """Text that Markdown shows as it is."""
    return printable(text).translate(_SPECIAL)


def code(text: str) -> str:
    """A name in code style, whatever is in it."""
    # A pipe ends a table's cell unless an odd number of backslashes stands before it.
    shown = re.sub(r"(\\*)\|", lambda found: found[1] + "\\" * (1 + len(found[1]) % 2) + "|", printable(text))
    if "`" not in shown:
        return f"`{shown}`"
    fence = "`" * (1 + max(map(len, re.findall("`+", shown))))
    return f"{fence} {shown} {fence}"


def render(
    examinations: Iterable[Examination], *, tensors: bool = False, stats: bool = False, quiet: bool = False
) -> str:
    """The report on each artifact as Markdown; with `quiet` a list of the verdicts."""
    if quiet:
        return "".join(f"- {code(each.path)}: **{escape(each.verdict)}**\n" for each in examinations)
    return "\n".join(_artifact(each, tensors=tensors, stats=stats) for each in examinations)


def _artifact(each: Examination, *, tensors: bool, stats: bool) -> str:
    state = each.state
    lines = [f"### {code(each.path)}", "", f"**{escape(each.verdict)}**", ""]
    if state is None:
        return "\n".join(lines)
    lines += ["| | |", "| --- | --- |", *(f"| {fact.label} | {escape(fact.text)} |" for fact in facts(each, state)), ""]
    several = len(state.optimizers) > 1
    for optimizer in state.optimizers:
        rows = slot_rows(optimizer)
        if rows:
            heading = f"slot of {escape(optimizer.name)}" if several else "slot"
            lines += [f"| {heading} | what it is | variables | bytes |", "| --- | --- | ---: | ---: |"]
            lines += [
                f"| {code(row.name)} | {row.role.replace('_', ' ')} | {row.have:,} of {row.total:,} "
                f"| {human_bytes(row.size)} |"
                for row in rows
            ]
            lines.append("")
    if tensors or stats:
        lines += _tensors(each, state, keys=tensors, stats=stats)
    shown = told(each, tensors=tensors)
    for finding in shown:
        hint = f" _{escape(finding.hint)}_" if finding.hint else ""
        lines.append(f"- **{finding.code}** ({finding.severity.value}): {escape(finding.message)}{hint}")
    if shown:
        lines.append("")
    return "\n".join(lines)


def _tensors(each: Examination, state: TrainingState, *, keys: bool, stats: bool) -> list[str]:
    rows = list(tensor_rows(state))
    keys = keys and any(row.key for row in rows)
    figures = ("min", "max", "mean", "nan", "inf", "zeros") if stats else ()
    columns = ("tensor", "shape", "dtype", *figures, *(("key",) if keys else ()))
    lines = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    for row in rows:
        found = each.statistics.get(row.tensor) if stats else None
        cells = [code(row.name), shape_text(row.tensor.shape), row.tensor.dtype or "not stored"]
        cells += [figure(getattr(found, column, None)) for column in figures]
        if keys:
            cells.append(code(row.key) if row.key else "")
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
