"""Workflow commands that GitHub Actions shows as annotations: `::error file=…,title=…::message`.

The runner reads commands from stdout, so nothing that stands in a name or a message may become one: names are shown
without control characters, and what is left is escaped as `@actions/core` escapes it (packages/core/src/command.ts).
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.results import Checked, CheckReport
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.rules import BY_CODE
from ckptdoctor.report.check.facts import failing, headline, inside, summary_line, without_name, workspace
from ckptdoctor.report.shared.escape import printable

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning"}
"""Notes are left out: GitHub shows ten annotations of a kind in a step, and drops the others in silence."""

_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def render(report: CheckReport, *, root: str | None = None) -> str:
    """A command for each error and warning, errors first, and a plain last line.

    Args:
        report: What was found.
        root: Paths inside it are named from there; by default the workspace of the job, or the current directory.
    """
    root = workspace() if root is None else root
    found = [each for checked in report.results for each in _annotations(checked, report.policy, root)]
    # Where GitHub shows only ten, the gravest are to be among them.
    found.sort(key=lambda pair: pair[0].rank)
    return "".join(f"{line}\n" for line in (*(line for _, line in found), summary_line(report)))


def _annotations(checked: Checked, policy: Policy, root: str) -> Iterator[tuple[Severity, str]]:
    path = printable(checked.path)
    place = printable(inside(checked.path, root) or checked.path)
    told = False
    fails = failing(checked, policy)
    for each in checked.findings:
        # What fails an artifact is an error of the job, whatever its severity.
        severity = Severity.ERROR if each in fails else each.severity
        if severity not in _COMMANDS:
            continue
        told = told or severity is Severity.ERROR
        rule = BY_CODE.get(each.code)
        title = f"ckptdoctor {each.code}" + (f" {rule.name}" if rule is not None else "")
        # The log shows the message alone, so it names the path again.
        said = without_name(each.message, checked.path)
        message = f"{path}: {printable(said)}" + (f"\n{printable(each.hint)}" if each.hint else "")
        yield severity, command(_COMMANDS[severity], message, file=place, title=title)
    if not checked.passed and not told:
        message = f"{path}: {printable(headline(checked, policy))}"
        yield Severity.ERROR, command("error", message, file=place, title="ckptdoctor")


def command(name: str, message: str, **properties: str) -> str:
    """A workflow command, of one line."""
    listed = ",".join(f"{key}={value.translate(_PROPERTY)}" for key, value in properties.items())
    return f"::{name} {listed}::{message.translate(_DATA)}"
