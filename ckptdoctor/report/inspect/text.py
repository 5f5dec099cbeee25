"""What a person reads on a terminal: the verdict first, then a few facts, then details on demand."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ckptdoctor.report.inspect.facts import facts, told
from ckptdoctor.report.inspect.tensor_text import print_tensors
from ckptdoctor.report.shared.console import drawn, headline, open_console
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.report.shared.facts import human_bytes, slot_rows
from ckptdoctor.report.shared.findings_text import finding_lines, print_lines
from ckptdoctor.report.shared.folding import listed, room
from ckptdoctor.state import OptimizerState, Status, TrainingState

if TYPE_CHECKING:
    from ckptdoctor.examination import Examination

_STYLES = {
    Status.COMPLETE: "bold green",
    Status.FRESH: "bold yellow",
    Status.PARTIAL: "bold yellow",
    Status.ABSENT: "bold red",
    Status.UNREADABLE: "bold red",
}
_MARGIN = "  "
_LABEL, _MOST_LABEL = 13, 30


def render(
    examinations: Iterable[Examination],
    *,
    tensors: bool = False,
    stats: bool = False,
    quiet: bool = False,
    color: bool = True,
    unreadable: bool = False,
) -> str:
    """The report on each artifact, as wide as the terminal is.

    Args:
        examinations: Of the artifacts.
        tensors: List every tensor.
        stats: With figures.
        quiet: The verdicts alone.
        color: Colours are welcome.
        unreadable: Also on artifacts that cannot be read: for a file, where what was said on stderr does not stand.
    """
    console, out = open_console(color=color)
    shown = [each for each in examinations if unreadable or each.state is not None]
    for number, each in enumerate(shown):
        if number and not quiet:
            console.print()
        _verdict(console, each)
        if not quiet and each.state is not None:
            _details(console, each, each.state, tensors=tensors, stats=stats)
    return drawn(out)


def _verdict(console: Console, each: Examination) -> None:
    line = Text(printable(each.path), style="bold")
    line.append(": ", style="bold")
    said = each.verdict if each.state is not None else f"cannot be read: {each.verdict}"
    line.append(printable(said), style=_STYLES[each.status])
    headline(console, line)


def _details(console: Console, each: Examination, state: TrainingState, *, tensors: bool, stats: bool) -> None:
    shown = [*facts(each, state)]
    if stats:
        from ckptdoctor.report.inspect.courses import courses

        shown += courses(each, state)
    for label, parts in shown:
        name = printable(label)  # which may be a slot's
        name = name if len(name) <= _MOST_LABEL else f"{name[: _MOST_LABEL - 1]}…"
        start = f"{_MARGIN}{name:{_LABEL - 1}} "
        for row in listed([printable(part) for part in parts], room(console, len(start))):
            console.print(Text.assemble((start, "dim"), row), soft_wrap=True)
            start = " " * len(start)
    several = len(state.optimizers) > 1
    for optimizer in state.optimizers:
        if optimizer.slots:
            heading = f"slot of {optimizer.name}" if several else "slot"
            console.print(Padding(_slot_table(optimizer, heading), (1, 0, 0, 2)))
    if tensors or stats:
        print_tensors(console, each, state, keys=tensors, stats=stats)
    lines = [line for finding in told(each, tensors=tensors) for line in finding_lines(finding)]
    if lines:
        console.print()
        print_lines(console, lines)


def _slot_table(optimizer: OptimizerState, heading: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in (printable(heading), "what it is"):
        table.add_column(Text(column), overflow="fold")
    for column in ("variables", "bytes"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in slot_rows(optimizer):
        table.add_row(
            Text(printable(row.name)),
            row.role.replace("_", " "),
            f"{row.have:,} of {row.total:,}",
            human_bytes(row.size),
        )
    return table
