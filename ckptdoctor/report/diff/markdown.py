"""`diff` as Markdown: for job summaries and issues."""

from __future__ import annotations

from ckptdoctor.comparison.results import Comparison
from ckptdoctor.report.diff import facts as diff_facts
from ckptdoctor.report.diff import rows as diff_rows
from ckptdoctor.report.diff.rows import Line, Row
from ckptdoctor.report.inspect.markdown import code, escape


def render(found: Comparison, *, quiet: bool = False) -> str:
    """The report as Markdown; with `quiet` the verdict."""
    paths, verdict = f"{code(found.a.path)} and {code(found.b.path)}", f"**{escape(diff_facts.verdict(found))}**"
    if quiet:
        return f"- {paths}: {verdict}\n"
    lines = [f"### {paths}", "", verdict, ""]
    lines += ["| | |", "| --- | --- |"]
    lines += [f"| {label} | {escape(text)} |" for label, text in diff_facts.facts(found)]
    for each in found.optimizers:
        heading = escape(diff_facts.name(each))
        lines += ["", f"| {heading} | A | B | outcome |", "| --- | --- | --- | --- |"]
        lines += [_row(row) for row in diff_rows.rows(each)]
        lines += _listed("slot", diff_rows.lines(each))
    weights = diff_rows.weights_row(found)
    if weights is not None:
        lines += ["", "| model | A | B | outcome |", "| --- | --- | --- | --- |", _row(weights)]
    lines += _listed("weight", diff_rows.weight_lines(found))
    return "\n".join(lines).rstrip() + "\n"


def _row(row: Row) -> str:
    return f"| {escape(row.what)} | {escape(row.a)} | {escape(row.b)} | {escape(row.said)} |"


def _listed(heading: str, shown: tuple[list[Line], int]) -> list[str]:
    lines, more = shown
    if not lines:
        return []
    table = ["", f"| {heading} | what differs |", "| --- | --- |"]
    table += [f"| {code(line.slot)} | {escape(line.said)} |" for line in lines]
    return [*table, *(["", f"and {more:,} more"] if more else [])]
