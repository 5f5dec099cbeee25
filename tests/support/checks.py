"""Results of `check` for reports: real artifacts, examined and judged by the rules, and names that want to be code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.results import Checked, CheckReport
from ckptdoctor.checking.run import check_paths
from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.errors import EXIT_FINDINGS, EXIT_OK, EXIT_USAGE

DEFAULT = Policy()

HOSTILE = (
    "\x1b[31mred", "line\nbreak", "a\r\n::set-output name=x::y", "::error::owned", "%0A::set-output name=x::y",
    "##[set-output name=x;]y", "a,title=b::c", "x%25y", "\u202eevil", "\x00\x07\x85\x9b", "\udcff\ud800",
    "\ufffe\uffff", "]]><failure/>", "</testcase>&amp;<!--", "| a | b |", "`tick` ``two``", "a b#c?d=e&f", "a:b",
    "[click](http://evil.example)", "![i](http://evil.example/i.png)", "<script>alert(1)</script>", "{0} {name} }{",
    "ключ 鍵 🔑", "\\", "'\"", "trailing ",
)  # fmt: skip
"""Names of files and variables that would do something in one of the forms, if they were not escaped there."""


def checked(*paths: str, policy: Policy = DEFAULT) -> tuple[Checked, ...]:
    """Real artifacts, checked."""
    return tuple(check_paths(paths, policy))


def with_findings(result: Checked, *findings: Finding, policy: Policy = DEFAULT) -> Checked:
    """A result with other findings."""
    failed = policy.fails(findings)
    return replace(result, findings=findings, passed=not failed, exit_code=EXIT_FINDINGS if failed else EXIT_OK)


def directory(path: str, *findings: Finding) -> Checked:
    """A run directory, judged as a whole."""
    return with_findings(Checked(path, None), *findings)


def missing(path: str) -> Checked:
    """A path where nothing is."""
    return Checked(path, None, passed=False, problem="there is no such file or directory", exit_code=EXIT_USAGE)


def report(*results: Checked, policy: Policy = DEFAULT, interrupted: bool = False) -> CheckReport:
    """A report of some results."""
    return CheckReport(results, policy, interrupted=interrupted)


NOT_FINITE = Finding(
    "V001", Severity.ERROR, "1 tensor holds values that are not finite: w (3 NaN)", "resume from ckpt-6"
)
PART = Finding("P003", Severity.INFO, "ckpt-7.index is the index; the checkpoint is ckpt-7", "name the prefix")
SHARE = Finding("P002", Severity.INFO, "67 % of the bytes are optimizer state (400 of 600)", "save the weights alone")
NEVER = Finding("S004", Severity.WARNING, "Adam never stepped: its count is 0", "right for a new model")
INCOMPLETE = Finding("I006", Severity.ERROR, "ckpt-9, the newest checkpoint, is not complete", "resume from run/ckpt-8")


def hostile(result: Checked, names: Sequence[str] = HOSTILE) -> CheckReport:
    """A report in which every path, message, hint and problem is such a name."""
    results = []
    for name in names:
        finding = Finding("X001", Severity.ERROR, f"{name} of {name}", f"{name}: ckptdoctor graft --into {name}")
        results += [
            replace(with_findings(result, finding), path=name),
            directory(name, finding),
            replace(missing(name), problem=f"nothing is at {name}"),
            replace(with_findings(result), path=name),
        ]
    return report(*results)
