"""Rules as a person reads them on a terminal: their table by families, and their pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, Markdown
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from ckptdoctor.diagnosis.explanations import FAMILIES
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.rules import Rule
from ckptdoctor.report.explain.markdown import with_facts
from ckptdoctor.report.shared.console import drawn, open_console
from ckptdoctor.report.shared.streams import wraps

_STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_PROSE = 100
"""Lines longer than this are hard to read."""
_ONE_LINE = 200
"""In a pipe every rule is one line of the table: people grep for it."""


def table(rules: Sequence[Rule], *, color: bool = True) -> str:
    """Code, severity, name and one line, a row each, family by family."""
    console, out = open_console(color=color)
    if not wraps():
        console.width = _ONE_LINE
    code, severity, name = (
        max(map(len, column))
        for column in zip(*((each.code, each.severity.value, each.name) for each in rules), strict=True)
    )
    for number, (family, members) in enumerate(groupby(rules, key=lambda each: each.code[0])):
        if number:
            console.print()
        console.print(Text(FAMILIES[family], style="bold"))
        grid = Table.grid(padding=(0, 2, 0, 0))
        for width in (code, severity, name):
            grid.add_column(no_wrap=True, min_width=width)
        grid.add_column(overflow="fold")
        for each in members:
            style = _STYLES[each.severity]
            text = each.says + (" (--deep)" if each.deep else "")
            grid.add_row(Text(each.code, style=style), Text(each.severity.value, style=style), each.name, Text(text))
        console.print(Padding(grid, (0, 0, 0, 2)))
    return drawn(out)


_THEME = Theme({"markdown.h1": "bold underline", "markdown.h2": "bold", "markdown.code": "cyan"})


class _Title(Heading):
    """A heading at the left, without a box."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The heading alone: blank lines around it are Markdown's."""
        del console, options
        self.text.justify = "left"
        yield self.text


class _Code(CodeBlock):
    """Code as it stands, so that it can be copied: indented, never wrapped or cut."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lines of code, two columns in."""
        del console, options
        for line in str(self.text).rstrip().splitlines():
            yield Text(f"  {line}", style="cyan", no_wrap=True, overflow="ignore")


class _Page(Markdown):
    elements: ClassVar = {**Markdown.elements, "heading_open": _Title, "fence": _Code, "code_block": _Code}


def pages(rules: Iterable[Rule], *, color: bool = True) -> str:
    """The page of each rule."""
    console, out = open_console(color=color)
    console.width = min(console.width, _PROSE)
    for number, each in enumerate(rules):
        if number:
            console.print()
        text = _Page(with_facts(each))
        if console.color_system is None:
            # Without colours, backticks show what is code.
            for token in text.parsed:
                for part in token.children or ():
                    if part.type == "code_inline":
                        part.content = f"`{part.content}`"
        with console.use_theme(_THEME):
            console.print(text, crop=False)
    return drawn(out)
