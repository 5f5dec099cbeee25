"""Findings on a terminal: severity and code at the left, message and hint beside them."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ckptdoctor.diagnosis.findings import Finding, Severity, is_aside
from ckptdoctor.report.shared.escape import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
WORD = 8
"""Columns of a severity."""


class Line(NamedTuple):
    """A line: its start, in whose columns nothing else stands, and parts that go on below one another.

    Attributes:
        start: A word, or blanks.
        style: Of the start.
        parts: Texts, each with its style.
        hint: Its parts are a hint, whose commands are never broken.
    """

    start: str
    style: str
    parts: tuple[tuple[str, str], ...]
    hint: bool = False


def start_of(finding: Finding) -> str:
    """`  error    S001  `."""
    return f"  {finding.severity.value:{WORD}} {finding.code:5} "


def finding_lines(finding: Finding) -> Iterator[Line]:
    """A finding, and its hint."""
    start = start_of(finding)
    dim = is_aside(finding)
    yield Line(start, "dim" if dim else STYLES[finding.severity], ((printable(finding.message), "dim" if dim else ""),))
    if finding.hint:
        yield Line(" " * len(start), "", ((printable(finding.hint), "dim"),), hint=True)


def print_lines(console: "Console", lines: Iterable[Line]) -> None:
    """Prints lines, broken at the console's edge."""
    from rich.text import Text

    for line in lines:
        start = (line.start, line.style)
        for row in _rows(console, line):
            console.print(Text.assemble(start, row), soft_wrap=True)
            start = (" " * len(line.start), "")


def _rows(console: "Console", line: Line) -> "list[Text]":
    from rich.text import Text

    from ckptdoctor.report.shared.folding import hint_rows, room

    width = room(console, len(line.start))
    if line.hint:
        return [Text(row, style=style) for text, style in line.parts for row in hint_rows(text, width)]
    rows = Text.assemble(*line.parts).wrap(console, width, overflow="fold")
    for row in rows:
        row.rstrip()
    return list(rows)
