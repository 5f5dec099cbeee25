"""Markdown: for job summaries, issues and model cards."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ckptdoctor.containers.dtypes import total_nbytes
from ckptdoctor.report.escape import printable
from ckptdoctor.report.facts import FORMATS, figure, generation, human_bytes, shape_text, slot_rows

if TYPE_CHECKING:
    from ckptdoctor.examination import Examination
    from ckptdoctor.state import OptimizerState, TrainingState

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


def render(examinations: Iterable[Examination], *, tensors: bool = False, stats: bool = False) -> str:
    """The report on each artifact as Markdown."""
    return "\n".join(_artifact(each, tensors=tensors, stats=stats) for each in examinations)


def _artifact(each: Examination, *, tensors: bool, stats: bool) -> str:
    state = each.state
    lines = [f"### {code(each.path)}", "", f"**{escape(each.verdict)}**", ""]
    if state is None:
        return "\n".join(lines)
    lines += ["| | |", "| --- | --- |", f"| format | {FORMATS[state.format]} |"]
    if state.producer.framework:
        lines.append(f"| written by | {escape(state.producer.framework)} {escape(state.producer.version or '')} |")
    size = total_nbytes([variable.tensor for variable in state.variables])
    lines.append(f"| model | {len(state.variables):,} variables, {human_bytes(size)} |")
    for optimizer in state.optimizers:
        lines += _optimizer(optimizer)
    if state.counters:
        lines.append(
            "| counters | " + ", ".join(f"{escape(name)} {value:,}" for name, value in state.counters.items()) + " |"
        )
    lines.append("")
    for optimizer in state.optimizers:
        rows = slot_rows(optimizer)
        if rows:
            lines += ["| slot | what it is | variables | bytes |", "| --- | --- | ---: | ---: |"]
            lines += [
                f"| {code(row.name)} | {row.role.replace('_', ' ')} | {row.have:,} of {row.total:,} "
                f"| {human_bytes(row.size)} |"
                for row in rows
            ]
            lines.append("")
    if tensors or stats:
        lines += _tensors(each, state, stats=stats)
    for finding in each.findings:
        hint = f" _{escape(finding.hint)}_" if finding.hint else ""
        lines.append(f"- **{finding.code}** ({finding.severity.value}): {escape(finding.message)}{hint}")
    if each.findings:
        lines.append("")
    return "\n".join(lines)


def _optimizer(optimizer: OptimizerState) -> list[str]:
    name = optimizer.class_name or "unknown class"
    era = f", {generation(optimizer.generation)}" if optimizer.generation else ""
    lines = [f"| optimizer | {escape(name)}{' (inferred)' if optimizer.class_inferred else ''}{era} |"]
    count = f"{optimizer.iterations:,}" if optimizer.iterations is not None else "not stored"
    if optimizer.has_state:
        lines.append(f"| iterations | {count} |")
    if optimizer.schedule is not None:
        from ckptdoctor.report.text import schedule_text

        lines.append(f"| schedule | {escape(schedule_text(optimizer))} |")
    return lines


def _tensors(each: Examination, state: TrainingState, *, stats: bool) -> list[str]:
    columns = ["tensor", "shape", "dtype"] + (["min", "max", "mean", "nan", "inf", "zeros"] if stats else [])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    rows = [(variable.path, variable.tensor) for variable in state.variables]
    for optimizer in state.optimizers:
        rows += [(f"{slot.name} of {slot.variable or slot.tensor.key}", slot.tensor) for slot in optimizer.slots]
        rows += [(other.name, other.tensor) for other in optimizer.other]
    for name, ref in rows:
        cells = [code(name), shape_text(ref.shape), ref.dtype]
        found = each.statistics.get(ref) if stats else None
        if stats:
            cells += (
                [
                    figure(found.min),
                    figure(found.max),
                    figure(found.mean),
                    str(found.nan),
                    str(found.inf),
                    str(found.zeros),
                ]
                if found
                else [""] * 6
            )
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]
