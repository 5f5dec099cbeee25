"""What a person reads of `verify`: the verdict, what became of each value, and what to do."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ckptdoctor.formats.registry import record
from ckptdoctor.report.shared.console import drawn, headline, open_console
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.report.shared.findings_text import Line, print_lines
from ckptdoctor.report.verify import facts as verify_facts
from ckptdoctor.verification.results import Attempt, OptimizerResult, Outcome, Verification

_STYLES = {
    Outcome.RESTORED.value: "green",
    Outcome.DROPPED.value: "red",
    Outcome.CHANGED.value: "yellow",
    Outcome.ABSENT.value: "dim",
}
_LABEL = 10


def render(verifications: Iterable[Verification], *, quiet: bool = False, color: bool = True) -> str:
    """The report on each artifact, as wide as the terminal is."""
    console, out = open_console(color=color)
    for each in verifications:
        line = Text(f"{printable(each.path)}: ", style="bold")
        line.append(printable(verify_facts.verdict(each)), style="bold green" if each.ok else "bold red")
        headline(console, line)
        if not quiet:
            _details(console, each)
    return drawn(out)


def _details(console: Console, each: Verification) -> None:
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True, min_width=_LABEL)
    facts.add_column(overflow="fold")
    lines = [("format", record(each.format).title)]
    if each.framework is not None:
        lines.append(("framework", verify_facts.framework(each)))
    if each.usual is not None:
        lines += _attempt(each.usual)
    lines += [("note", note) for note in each.notes]
    for label, text in lines:
        facts.add_row(label, Text(printable(text)))
    console.print(Padding(facts, (0, 0, 0, 2)))
    for optimizer in each.optimizers:
        console.print(Padding(_table(optimizer, several=len(each.optimizers) > 1), (1, 0, 0, 2)))
    if each.advice:
        console.print()
        print_lines(console, (Line("  -> ", "cyan", ((printable(text), ""),), hint=True) for text in each.advice))


def _attempt(attempt: Attempt) -> list[tuple[str, str]]:
    lines = [("call", attempt.call)] if attempt.call else []
    if attempt.error is not None:
        lines.append(("error", attempt.error))
    return lines + [("warning", warning) for warning in attempt.warnings]


def _table(optimizer: OptimizerResult, *, several: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(Text(printable(optimizer.name)) if several else "what", overflow="fold")
    table.add_column("artifact", justify="right", no_wrap=True)
    table.add_column("framework", overflow="fold")
    table.add_column("outcome", no_wrap=True)
    for row in verify_facts.rows(optimizer):
        table.add_row(
            Text(printable(row.what)),
            row.artifact,
            Text(printable(row.framework)),
            Text(row.outcome, style=_STYLES[row.outcome]),
        )
    return table
