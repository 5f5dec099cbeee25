"""What a person reads of `check`: a verdict line for each artifact, what was found in it, and what all come to.

Results stream: `result` is the text of one as soon as it is known, `summary` the last line.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.results import Checked, CheckReport
from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.report.check_facts import counted, headline, passed, shown, summary_line
from ckptdoctor.report.escape import printable

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "dim"}
_WORD = 8
"""Columns of `ok` and `failed`, and of a severity."""


def render(report: CheckReport, *, quiet: bool = False, color: bool = True) -> str:
    """The whole report at once."""
    parts = [result(each, report.policy, quiet=quiet, color=color) for each in report.results]
    return "".join(parts) + summary(report, color=color)


def result(checked: Checked, policy: Policy, *, quiet: bool = False, color: bool = True) -> str:
    """One result: its verdict line, and below it what was found; with `quiet` the line alone, and only of failures."""
    if quiet and checked.passed:
        return ""
    findings = () if quiet else shown(checked, policy)
    return _drawn(checked, policy, findings, color=color) if _wraps() else _plain(checked, policy, findings)


def summary(report: CheckReport, *, color: bool = True) -> str:
    """What all results come to; nothing for a single one, whose verdict has said it."""
    if len(report.results) == 1 and not report.interrupted:
        return ""
    line = summary_line(report)
    if not _wraps():
        return f"{line}\n"
    from rich.text import Text

    from ckptdoctor.report.console import drawn, open_console

    console, out = open_console(color=color)
    console.print(Text(line, style="bold green" if passed(report) else "bold red"))
    return drawn(out)


def _wraps() -> bool:
    """Whether lines end at a terminal's edge: in a pipe each stays whole, for grep and for commands to be copied."""
    return sys.stdout.isatty() or "COLUMNS" in os.environ


def _word(checked: Checked) -> str:
    return "ok" if checked.passed else "failed"


def _ignored(checked: Checked) -> str:
    return f" ({counted(checked.ignored, 'finding')} ignored)" if checked.ignored else ""


def _hint(finding: Finding) -> str:
    """Its hint; notes are kept short."""
    return "" if finding.severity is Severity.INFO else printable(finding.hint)


def _plain(checked: Checked, policy: Policy, findings: tuple[Finding, ...]) -> str:
    verdict = printable(headline(checked, policy))
    lines = [f"{_word(checked):{_WORD}}{printable(checked.path)}: {verdict}{_ignored(checked)}"]
    for each in findings:
        lines.append(f"  {each.severity.value:{_WORD}} {each.code:5} {printable(each.message)}")
        hint = _hint(each)
        if hint:
            lines.append(f"{'':{_WORD + 9}}{hint}")
    return "\n".join(lines) + "\n"


def _drawn(checked: Checked, policy: Policy, findings: tuple[Finding, ...], *, color: bool) -> str:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from ckptdoctor.report.console import drawn, open_console

    console, out = open_console(color=color)
    warned = any(each.severity is Severity.WARNING for each in checked.findings)
    style = "bold red" if not checked.passed else "bold yellow" if warned else "bold green"
    line = Text(f"{printable(checked.path)}: ", style="bold")
    line.append(printable(headline(checked, policy)), style=style)
    line.append(_ignored(checked), style="dim")
    top = Table.grid()
    top.add_column(no_wrap=True, width=_WORD)
    top.add_column(overflow="fold")
    top.add_row(Text(_word(checked), style=style), line)
    console.print(top)
    if findings:
        console.print(Padding(_table(findings), (0, 0, 0, 2)))
    return drawn(out)


def _table(findings: tuple[Finding, ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, width=_WORD)
    table.add_column(no_wrap=True, min_width=5)
    table.add_column(overflow="fold")
    for each in findings:
        style = _STYLES[each.severity]
        text = Text(printable(each.message), style="dim" if each.severity is Severity.INFO else "")
        hint = _hint(each)
        if hint:
            text.append(f"\n{hint}", style="dim")
        table.add_row(Text(each.severity.value, style=style), Text(each.code, style=style), text)
    return table
