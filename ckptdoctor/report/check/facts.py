"""What every report of `check` shares: what one result comes to in words, and what all of them do in figures."""

import os
from enum import Enum
from typing import NamedTuple

from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.results import AS_A_WHOLE, Checked, CheckReport
from ckptdoctor.diagnosis.expected import Purpose
from ckptdoctor.diagnosis.findings import Finding, Severity, is_aside
from ckptdoctor.diagnosis.rules import BY_CODE
from ckptdoctor.state import Status
from ckptdoctor.words import counted


class Kind(str, Enum):
    """What a result is of."""

    ARTIFACT = "artifact"
    RUN_DIRECTORY = "run-directory"
    """A run directory, judged as a whole."""
    MISSING = "missing"
    """Nothing could be looked at: there is no such path."""


def kind(checked: Checked) -> Kind:
    """What a result is of."""
    if checked.problem is not None:
        return Kind.MISSING
    return Kind.RUN_DIRECTORY if checked.examination is None else Kind.ARTIFACT


def unreadable(checked: Checked) -> bool:
    """Whether an artifact is there that cannot be read."""
    return checked.examination is not None and checked.examination.error is not None


_TOLD = frozenset({"S001", "S002", "S003", "S004"})
"""Rules whose findings an artifact's verdict tells already."""


def failing(checked: Checked, policy: Policy) -> list[Finding]:
    """The findings that fail a result, by the policy that holds for its path."""
    if checked.passed:
        return []
    least = policy.for_path(checked.path).fail_on.rank
    return [each for each in checked.findings if each.severity.rank <= least]


_SHORT = 120
"""Characters of a message that still fits into a verdict line."""


def headline(checked: Checked, policy: Policy) -> str:
    """What an engineer acts on, in one line: the verdict, and what fails it if the verdict does not say so."""
    if kind(checked) is Kind.MISSING:
        return checked.verdict
    if unreadable(checked):
        return f"cannot be read: {without_name(checked.verdict, checked.path)}"
    fails = failing(checked, policy)
    found = checked.examination
    if found is None:
        return f"{AS_A_WHOLE}: {_reasons(fails)}" if fails else checked.verdict
    if checked.passed and found.status is Status.ABSENT and _for_release(checked, policy):
        return "weights only, as expected"
    untold = [each for each in fails if each.code not in _TOLD]
    if not untold:
        return checked.verdict
    reasons = _reasons(untold)
    if found.status is not Status.COMPLETE:
        return f"{checked.verdict}; also {reasons}"
    return f"{checked.verdict}{';' if ', but ' in reasons else ', but'} {reasons}"


def without_name(message: str, path: str) -> str:
    """A message without the name of the file at fault, where that is the artifact itself: once is enough."""
    return message.removeprefix(f"{os.path.basename(path.rstrip('/'))}: ")


def _reasons(findings: list[Finding]) -> str:
    """Why, in the words of the only finding, or by the names of the rules."""
    if len(findings) == 1 and len(findings[0].message) <= _SHORT:
        return findings[0].message
    return ", ".join(dict.fromkeys(_name(each.code) for each in findings))


def _for_release(checked: Checked, policy: Policy) -> bool:
    return policy.for_path(checked.path).expect is Purpose.WEIGHTS_ONLY


def _name(code: str) -> str:
    rule = BY_CODE.get(code)
    return f"{rule.name} ({code})" if rule is not None else code


def shown(checked: Checked, policy: Policy) -> tuple[Finding, ...]:
    """The findings that people are shown: how many bytes are optimizer state matters only to a release."""
    return tuple(
        each
        for each in checked.findings
        if not is_aside(each) or (each.code == "P002" and _for_release(checked, policy))
    )


class Tally(NamedTuple):
    """What all results come to.

    Attributes:
        artifacts: Artifacts, and paths where nothing is.
        run_directories: Run directories that were judged as a whole.
        passed: Results that passed, of both kinds.
        failed: Results that did not.
        unreadable: Artifacts that cannot be read.
        missing: Paths where nothing is.
        errors: Findings of this severity; the next two likewise.
        warnings: See `errors`.
        infos: See `errors`.
        ignored: Findings that the policy ignores.
    """

    artifacts: int
    run_directories: int
    passed: int
    failed: int
    unreadable: int
    missing: int
    errors: int
    warnings: int
    infos: int
    ignored: int


def tally(report: CheckReport) -> Tally:
    """Counts results and findings."""
    results = report.results
    kinds = [kind(each) for each in results]
    severities = [finding.severity for each in results for finding in each.findings]
    directories = kinds.count(Kind.RUN_DIRECTORY)
    passed = sum(each.passed for each in results)
    return Tally(
        artifacts=len(results) - directories,
        run_directories=directories,
        passed=passed,
        failed=len(results) - passed,
        unreadable=sum(unreadable(each) for each in results),
        missing=kinds.count(Kind.MISSING),
        errors=severities.count(Severity.ERROR),
        warnings=severities.count(Severity.WARNING),
        infos=severities.count(Severity.INFO),
        ignored=sum(each.ignored for each in results),
    )


def summary_line(report: CheckReport) -> str:
    """`14 artifacts: 12 passed, 2 failed (3 errors, 1 warning)`."""
    count = tally(report)
    subject = counted(count.artifacts, "artifact")
    if count.run_directories:
        directories = counted(count.run_directories, "run directory", "run directories")
        subject = f"{subject} and {directories}" if count.artifacts else directories
    if not report.results:
        return "interrupted: nothing was checked" if report.interrupted else "nothing was checked"
    ends = [f"{count.passed:,} passed"] if count.passed or not count.failed else []
    ends += [f"{count.failed:,} failed"] if count.failed else []
    details = [
        *([counted(count.errors, "error")] if count.errors else []),
        *([counted(count.warnings, "warning")] if count.warnings else []),
        *([f"{count.unreadable:,} unreadable"] if count.unreadable else []),
        *([f"{count.missing:,} not there"] if count.missing else []),
        *([f"{counted(count.ignored, 'finding')} ignored"] if count.ignored else []),
    ]
    line = f"{subject}: {', '.join(ends)}" + (f" ({', '.join(details)})" if details else "")
    return f"interrupted after {line}; the rest was not looked at" if report.interrupted else line


def workspace() -> str:
    """The directory that reports for a code host name paths from: that of the CI job, else the current one."""
    return os.environ.get("GITHUB_WORKSPACE") or os.getcwd()


def inside(path: str, root: str) -> str | None:
    """A path as seen from a directory, with `/` between its parts; None if it is not inside."""
    try:
        relative = os.path.relpath(path, root)
    except ValueError:  # another drive
        return None
    relative = relative.replace(os.sep, "/")
    return None if relative == ".." or relative.startswith("../") else relative


__all__ = [
    "Kind", "Tally", "counted", "failing", "headline",
    "inside", "kind", "shown", "summary_line", "tally", "unreadable", "workspace",
]  # fmt: skip
