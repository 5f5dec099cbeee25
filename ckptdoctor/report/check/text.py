"""What a person reads of `check`: a verdict line for each artifact, what was found in it, and what all come to.

Results stream: `result` is the text of one as soon as it is known, `summary` the last line.
"""

from __future__ import annotations

from collections import Counter

from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.results import Checked, CheckReport
from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.diagnosis.rules import BY_CODE
from ckptdoctor.report.check.facts import headline, shown, summary_line, without_name
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.report.shared.findings_text import STYLES, WORD, Line, print_lines, start_of
from ckptdoctor.report.shared.streams import forces_color, wraps
from ckptdoctor.words import counted

_STYLES = {**STYLES, Severity.INFO: "dim"}
MOST = 20
"""Findings of one rule that an artifact is shown with: a thousand optimizers may have one each."""


def render(report: CheckReport, *, quiet: bool = False, color: bool = True) -> str:
    """The whole report at once."""
    parts = [result(each, report.policy, quiet=quiet, color=color) for each in report.results]
    return "".join(parts) + summary(report, color=color)


def result(checked: Checked, policy: Policy, *, quiet: bool = False, color: bool = True) -> str:
    """One result: its verdict line, and below it what was found; with `quiet` the line alone."""
    return _written(_lines(checked, policy, () if quiet else shown(checked, policy)), color=color)


def summary(report: CheckReport, *, color: bool = True) -> str:
    """What all results come to; nothing for a single one, whose verdict has said it."""
    if len(report.results) == 1 and not report.interrupted:
        return ""
    style = "bold green" if report.passed else "bold red"
    return _written([Line("", "", ((summary_line(report), style),))], color=color)


def _lines(checked: Checked, policy: Policy, findings: tuple[Finding, ...]) -> list[Line]:
    warned = any(each.severity is Severity.WARNING for each in checked.findings)
    style = "bold red" if not checked.passed else "bold yellow" if warned else "bold green"
    verdict = headline(checked, policy)
    told = ((f"{printable(checked.path)}: ", "bold"), (printable(verdict), style), (_ignored(checked), "dim"))
    lines = [Line(f"{'ok' if checked.passed else 'failed':{WORD}}", style, told)]
    numbers: Counter[str] = Counter()
    for each in findings:
        numbers[each.code] += 1
        if numbers[each.code] > MOST:
            continue
        start = start_of(each)
        message, hint = _said(each, checked.path, verdict)
        if message:
            dim = "dim" if each.severity is Severity.INFO else ""
            lines.append(Line(start, _STYLES[each.severity], ((message, dim),)))
        if hint:
            again = (" " * len(start), "") if message else (start, _STYLES[each.severity])
            lines.append(Line(*again, ((hint, "dim"),), hint=True))
    for code, count in numbers.items():
        if count > MOST:
            start = f"  {'':{WORD}} {code:5} "
            lines.append(Line(start, "dim", ((f"and {count - MOST:,} more, all in --format json", "dim"),)))
    return lines


def _ignored(checked: Checked) -> str:
    count = checked.ignored
    return f" ({counted(count, 'finding')} ignored)" if count else ""


def _said(finding: Finding, path: str, verdict: str) -> tuple[str, str]:
    """Message and hint of a finding: no message that the verdict line has, and no hint to a note."""
    hint = "" if finding.severity is Severity.INFO else finding.hint
    message = without_name(finding.message, path)
    if message not in verdict:
        return printable(message), printable(hint)
    rule = BY_CODE.get(finding.code)
    return "" if hint or rule is None else rule.name, printable(hint)


def _written(lines: list[Line], *, color: bool) -> str:
    if not wraps() and not (color and forces_color()):
        return "".join(f"{line.start}{''.join(text for text, _ in line.parts)}\n" for line in lines)
    from rich.text import Text

    from ckptdoctor.report.shared.console import drawn, open_console

    console, out = open_console(color=color)
    if wraps():
        print_lines(console, lines)
    else:  # each line stays whole, for grep and for commands to be copied
        for line in lines:
            console.print(Text.assemble((line.start, line.style), *line.parts), soft_wrap=True)
    return drawn(out)
