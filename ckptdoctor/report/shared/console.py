"""The console that reports for people are drawn on, and the text that comes out of it."""

from __future__ import annotations

import os
import sys
from io import StringIO

from rich.console import Console
from rich.text import Text

from ckptdoctor.report.shared.streams import forces_color, wraps

_PIPE_WIDTH = 120


def open_console(*, color: bool) -> tuple[Console, StringIO]:
    """A console as wide as the terminal (in a pipe: COLUMNS, else 120), which draws into a buffer.

    Markup and emoji are off: what stands in names is text. Colours are for terminals, and where FORCE_COLOR is set.
    """
    out = StringIO()
    terminal = sys.stdout.isatty()
    colored = color and (terminal or forces_color())
    console = Console(
        file=out,
        force_terminal=colored,
        no_color=not color,
        color_system="auto" if colored else None,
        width=None if terminal or "COLUMNS" in os.environ else _PIPE_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )
    return console, out


def headline(console: Console, line: Text) -> None:
    """Prints a verdict: in a pipe one line, however long the path is."""
    if wraps():
        console.print(line, overflow="fold")
    else:
        console.print(line, soft_wrap=True)


def drawn(out: StringIO) -> str:
    """What was drawn; tables pad every line to their width, which nobody wants in a file."""
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())
