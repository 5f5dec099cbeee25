"""What a person reads of `diff`: the verdict, a row for each thing that was compared, and the slots that differ."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ckptdoctor.comparison.results import Comparison, Outcome, Verdict
from ckptdoctor.report.diff import facts as diff_facts
from ckptdoctor.report.diff import rows as diff_rows
from ckptdoctor.report.diff.rows import Line, Row
from ckptdoctor.report.shared.console import drawn, headline, open_console
from ckptdoctor.report.shared.escape import printable

_VERDICTS = {
    Verdict.EQUAL: "bold green",
    Verdict.NO_DIFFERENCE: "bold green",
    Verdict.DIFFERENT: "bold red",
    Verdict.UNDECIDED: "bold yellow",
}
_STYLES = {
    Outcome.EQUAL: "green",
    Outcome.DIFFERENT: "red",
    Outcome.ONLY_A: "red",
    Outcome.ONLY_B: "red",
    Outcome.UNDECIDED: "yellow",
    Outcome.NOT_COMPARED: "dim",
}
_LABEL = 10
_NARROW = 8


def render(found: Comparison, *, quiet: bool = False, color: bool = True) -> str:
    """The report, as wide as the terminal is."""
    console, out = open_console(color=color)
    line = Text(f"{printable(found.a.path)} and {printable(found.b.path)}: ", style="bold")
    line.append(printable(diff_facts.verdict(found)), style=_VERDICTS[found.verdict])
    headline(console, line)
    if not quiet:
        _details(console, found)
    return drawn(out)


def _details(console: Console, found: Comparison) -> None:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True, min_width=_LABEL)
    grid.add_column(overflow="fold")
    for label, text in diff_facts.facts(found):
        grid.add_row(label, Text(printable(text)))
    console.print(Padding(grid, (0, 0, 0, 2)))
    weights = diff_rows.weights_row(found)
    several = len(found.optimizers) > 1
    for number, each in enumerate(found.optimizers, start=1):
        rows = diff_rows.rows(each)
        if number == len(found.optimizers) and weights is not None:
            rows.append(weights)
        if several:
            console.print(Padding(Text(printable(diff_facts.name(each)), style="bold"), (1, 0, 0, 2)))
        console.print(Padding(_table(rows), (0 if several else 1, 0, 0, 2)))
        _print_lines(console, "slot", diff_rows.lines(each))
    if not found.optimizers and weights is not None:
        console.print(Padding(_table([weights]), (1, 0, 0, 2)))
    _print_lines(console, "weight", diff_rows.weight_lines(found))


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in ("what", "A", "B", "outcome"):
        table.add_column(column, overflow="fold", min_width=_NARROW)
    for row in rows:
        cells = [Text(printable(cell)) for cell in row[:3]]
        table.add_row(*cells, Text(printable(row.said), style=_STYLES[row.outcome]))
    return table


def _print_lines(console: Console, heading: str, shown: tuple[list[Line], int]) -> None:
    lines, more = shown
    if not lines:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(heading, overflow="fold", min_width=_NARROW)
    table.add_column("what differs", overflow="fold")
    for line in lines:
        table.add_row(Text(printable(line.slot)), Text(printable(line.said), style=_STYLES[line.outcome]))
    console.print(Padding(table, (1, 0, 0, 2)))
    if more:
        console.print(Padding(Text(f"and {more:,} more: --format json has all of them", style="dim"), (0, 0, 0, 2)))
