"""What a person reads of `history`: for each run which checkpoint to resume from, then a line a checkpoint.

Tables are set by hand: ten thousand lines are usual, and rich would take longer to draw them than reading them took.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from ckptdoctor.report.history.facts import COMPLETE, MARK, Column, Shown, columns, headline, left_out, remarks
from ckptdoctor.report.shared import console as shared
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.report.shared.folding import room, words
from ckptdoctor.report.shared.streams import wraps
from ckptdoctor.state import Status
from ckptdoctor.timeline.results import History, Run

_MARGIN = "  "
_LABEL = 11
_DISPENSABLE = ("size", "age", "epoch", "rate", "finite", "count")
"""Columns that a narrow terminal does without, the first first."""
_LEAST_NAME = 12
_BAD = {COMPLETE[Status.UNREADABLE]: "red", COMPLETE[Status.PARTIAL]: "yellow", "no weights": "yellow", "no": "yellow"}


def render(history: History, shown: Shown, *, quiet: bool = False, color: bool = True) -> str:
    """The report, as wide as the terminal is; with `quiet` a line a run."""
    console, out = shared.open_console(color=color)
    for number, run in enumerate(history.runs):
        if number and not quiet:
            console.print()
        line = Text(f"{printable(run.path)}: ", style="bold")
        line.append(printable(headline(run)), style="bold green" if run.resume is not None else "bold red")
        shared.headline(console, line)
        if not quiet:
            _details(console, run, shown)
    return shared.drawn(out)


def _details(console: Console, run: Run, shown: Shown) -> None:
    width = room(console, len(_MARGIN) + _LABEL + 2) if wraps() else 1 << 20
    last = ""
    for label, text in remarks(run):
        for number, part in enumerate(words(printable(text), width)):
            told = label if number == 0 and label != last else ""
            line = Text(f"{_MARGIN}{told:<{_LABEL}}  ", style="dim")
            line.append(part, style="none")
            console.print(line, soft_wrap=True)
        last = label
    table, without = _fitted(columns(run, shown), console.width - len(_MARGIN) if wraps() else 1 << 20)
    console.print()
    _print_table(console, table)
    more = [left_out(run, shown), _narrow(without)]
    for text in filter(None, more):
        console.print(Text(f"{_MARGIN}{text}", style="dim"))


def _narrow(without: Sequence[str]) -> str:
    return f"without {', '.join(without)}: the terminal is narrow" if without else ""


def _fitted(table: list[Column], width: int) -> tuple[list[Column], list[str]]:
    """The columns that have room, long names shortened at their beginning; and which have not."""
    without: list[str] = []
    for name in _DISPENSABLE:
        if _width(table, _LEAST_NAME) <= width:
            break
        without += [each.name for each in table if each.name == name]
        table = [each for each in table if each.name != name]
    mark, names, *others = table
    most = max(_LEAST_NAME, width - _width(table, 0))
    cells = tuple(_shortened(printable(each), most) for each in names.cells)
    return [mark, names._replace(cells=cells), *others], without


def _width(table: Sequence[Column], most_name: int) -> int:
    """Columns of the terminal that a table takes, its names being no longer than that."""
    widths = [max(map(cell_len, (each.name, *each.cells))) for each in table]
    widths[1] = min(widths[1], most_name)
    return sum(widths) + 2 * (len(widths) - 1)


def _shortened(name: str, most: int) -> str:
    while cell_len(name) > most:
        name = f"…{name[2:] if name.startswith('…') else name[1:]}"
    return name


def _print_table(console: Console, table: Sequence[Column]) -> None:
    widths = [max(map(cell_len, (each.name, *each.cells))) for each in table]
    head = [each.name for each in table]
    console.print(Text(_row(table, widths, head), style="dim"), soft_wrap=True)
    whole = Text()
    for cells in zip(*(each.cells for each in table), strict=True):
        bad = next((style for each in cells if (style := _BAD.get(each.partition(":")[0]))), None)
        whole.append(_row(table, widths, cells) + "\n", style="bold green" if cells[0] == MARK else bad)
    whole.rstrip()
    console.print(whole, soft_wrap=True)


def _row(table: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    parts = [
        f"{' ' * (width - cell_len(cell))}{cell}" if column.right else set_cell_size(cell, width)
        for column, width, cell in zip(table, widths, cells, strict=True)
    ]
    return f"{_MARGIN}{'  '.join(parts)}".rstrip()
