"""Markdown for the summary of a CI job: a table of all artifacts, those that failed first, and what was found."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.results import Checked, CheckReport
from ckptdoctor.diagnosis.findings import Finding
from ckptdoctor.report.check.facts import headline, shown, summary_line
from ckptdoctor.report.inspect.markdown import code, escape
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.report.shared.facts import hint_parts
from ckptdoctor.words import counted

LIMIT = 900_000
"""Bytes. GitHub shows none of a job's summary if a step's is over 1 MiB."""


def render(report: CheckReport, *, quiet: bool = False, limit: int = LIMIT) -> str:
    """The summary, of at most `limit` bytes of UTF-8; with `quiet` the table without findings."""
    mark = "✅" if report.passed else "❌"
    head = f"## {mark} ckptdoctor check\n\n{escape(summary_line(report))}\n\n"
    order = sorted(report.results, key=lambda each: each.passed)
    if not order:
        return head
    budget = _Budget(limit - len(head.encode()) - _RESERVE)
    columns = "| artifact | result | verdict |\n| --- | --- | --- |\n"
    # The table takes half of the room at most: the reasons matter as much.
    rows = budget.fill((_row(each, report.policy) for each in order), len(order), share=0.5, noun="artifact")
    if quiet:
        return f"{head}{columns}{rows}"
    telling = [each for each in order if shown(each, report.policy)]
    found = budget.fill(
        (_findings(each, shown(each, report.policy)) for each in telling), len(telling), share=1, noun="artifact"
    )
    return f"{head}{columns}{rows}\n{found}"


_RESERVE = 1_000
"""Bytes for the head of the table, and for saying what was left out."""


class _Budget:
    """Room for text, in bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def fill(self, parts: Iterable[str], total: int, *, share: float, noun: str) -> str:
        """The parts that fit into a share of the room, and how many do not."""
        room, taken = int(self.room * share), []
        for part in parts:
            size = len(part.encode("utf-8", "surrogatepass"))
            if size > room:
                continue
            room -= size
            self.room -= size
            taken.append(part)
        left = total - len(taken)
        if left:
            taken.append(f"\n_{counted(left, 'more ' + noun)} left out: a job's summary has room for 1 MiB_\n")
        return "".join(taken)


def _row(checked: Checked, policy: Policy) -> str:
    word = "✅ ok" if checked.passed else "❌ failed"
    count = checked.ignored
    more = f" ({counted(count, 'finding')} ignored)" if count else ""
    return f"| {code(checked.path)} | {word} | {_prose(headline(checked, policy))}{more} |\n"


def _findings(checked: Checked, findings: tuple[Finding, ...]) -> str:
    lines = [f"### {code(checked.path)}", ""]
    for each in findings:
        line = f"- **{each.severity.value}** {code(each.code)} {_prose(each.message)}"
        lines.append(f"{line}\\\n  {_hint(each.hint)}" if each.hint else line)
    return "\n".join([*lines, "", ""])


def _hint(hint: str) -> str:
    """A hint, its command as code that can be copied."""
    before, command, after = hint_parts(printable(hint))
    return _prose(before) + (code(command) if command else "") + _prose(after)


_QUOTED = re.compile(r"`([^`]+)`")


def _prose(text: str) -> str:
    """A sentence; what stands in back quotes is code."""
    parts = _QUOTED.split(text)
    return "".join(code(part) if number % 2 else escape(part) for number, part in enumerate(parts))
