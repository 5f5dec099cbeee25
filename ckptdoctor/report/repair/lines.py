"""A headline and labelled lines below it, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from ckptdoctor.report.shared.escape import printable


def render_lines(lines: Sequence[tuple[str, str]], *, quiet: bool, color: bool) -> str:
    """The lines; the first is the headline, and with `quiet` the only one."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from ckptdoctor.report.shared.console import drawn, headline, open_console

    console, out = open_console(color=color)
    headline(console, Text(printable(lines[0][1]), style="bold"))
    if not quiet and len(lines) > 1:
        facts = Table.grid(padding=(0, 2, 0, 0))
        facts.add_column(style="dim", no_wrap=True, min_width=8)
        facts.add_column(overflow="fold")
        for label, text in lines[1:]:
            facts.add_row(label, Text(printable(text), style="yellow" if label in {"warning", "lost"} else ""))
        console.print(Padding(facts, (0, 0, 0, 2)))
    return drawn(out)
