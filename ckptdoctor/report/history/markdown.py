"""`history` as Markdown: for job summaries and issues."""

from __future__ import annotations

from ckptdoctor.report.history.facts import Shown, columns, headline, left_out, remarks
from ckptdoctor.report.inspect.markdown import code, escape
from ckptdoctor.timeline.results import History, Run


def render(history: History, shown: Shown, *, quiet: bool = False) -> str:
    """Each run as a table; with `quiet` a list of which checkpoint to resume from."""
    if quiet:
        return "".join(f"- {code(run.path)}: **{escape(headline(run))}**\n" for run in history.runs)
    return "\n".join(_run(run, shown) for run in history.runs)


def _run(run: Run, shown: Shown) -> str:
    parts = [f"### {code(run.path)}", "", f"**{escape(headline(run))}**", ""]
    told = remarks(run)
    parts += [f"- {label or '…'}: {escape(text)}" for label, text in told]
    parts += [""] if told else []
    table = columns(run, shown)
    parts.append(f"| {' | '.join(escape(each.name) for each in table)} |")
    parts.append("|" + "".join(" ---: |" if each.right else " --- |" for each in table))
    for cells in zip(*(each.cells for each in table), strict=True):
        shown_cells = [code(cell) if number == 1 else escape(cell) for number, cell in enumerate(cells)]
        parts.append(f"| {' | '.join(shown_cells)} |")
    more = left_out(run, shown)
    return "\n".join([*parts, *(["", more] if more else [])]) + "\n"
