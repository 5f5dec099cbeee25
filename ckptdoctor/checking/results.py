"""What a check answers: one result an artifact, and what they come to together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from ckptdoctor.checking.policy import Policy
from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.errors import EXIT_INTERRUPTED, EXIT_OK
from ckptdoctor.examination import Examination

AS_A_WHOLE = "the run directory as a whole"


@dataclass(frozen=True, slots=True)
class Checked:
    """One artifact, judged by the rules and the policy.

    Attributes:
        path: As it was given, or as it was found below what was given.
        examination: What was read; None for a run directory that is judged as a whole, and where nothing is there.
        findings: What the rules found, with the severities in force, the gravest first; what the policy ignores is not
            among them.
        ignored: Number of findings that the policy ignores.
        passed: No finding is at or above the policy's `fail_on` level, and all of it could be read.
        problem: Why nothing could be looked at (there is no such path); None as a rule.
        exit_code: Of this artifact alone.
        members: Of a run directory that is judged as a whole: how many artifacts of it were judged beside it.
        failed_members: How many of those did not pass.
    """

    path: str
    examination: Examination | None
    findings: tuple[Finding, ...] = ()
    ignored: int = 0
    passed: bool = True
    problem: str | None = None
    exit_code: int = EXIT_OK
    members: int = 0
    failed_members: int = 0

    @property
    def verdict(self) -> str:
        """What an engineer acts on, in one line."""
        if self.problem is not None:
            return self.problem
        if self.examination is not None:
            # What fails it is said by whoever shows it.
            return self.examination.verdict if self.passed else self.examination.bare_verdict
        return f"{AS_A_WHOLE}: {self._as_a_whole}"

    @property
    def _as_a_whole(self) -> str:
        """What a run directory comes to, with its artifacts, each of which has a result of its own."""
        counts = Counter(each.severity for each in self.findings)
        parts = [
            f"{count:,} {severity.value}{'s' if count > 1 else ''}"
            for severity in (Severity.ERROR, Severity.WARNING)
            if (count := counts[severity])
        ]
        found = ", ".join(parts)
        if not self.failed_members:
            return found or "nothing is wrong"
        failed = f"{self.failed_members:,} of {self.members:,} artifacts failed"
        return f"{found or 'no findings of its own'}; {failed}"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All results of one check.

    Attributes:
        results: One an artifact or run directory, in the order of the paths.
        policy: What they were judged by, before overrides by path.
        interrupted: Ctrl-C ended it: paths after the last result were not looked at.
    """

    results: tuple[Checked, ...]
    policy: Policy
    interrupted: bool = False

    def __bool__(self) -> bool:
        """`assert ckptdoctor.check(path)` fails where the check does."""
        return self.passed

    @property
    def passed(self) -> bool:
        """Whether everything that was asked for was looked at and passed."""
        return not self.interrupted and all(each.passed for each in self.results)

    @property
    def exit_code(self) -> int:
        """The highest of all; that of Ctrl-C, if it was that."""
        if self.interrupted:
            return EXIT_INTERRUPTED
        return max((each.exit_code for each in self.results), default=EXIT_OK)
