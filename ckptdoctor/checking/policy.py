"""The policy: which rules count and how much, and what the artifacts have to hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from ckptdoctor.diagnosis.expected import WEIGHED, Expected, Part, Purpose
from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.diagnosis.rules import BY_CODE, matches

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

ALWAYS = "E"
"""The family that is selected whatever `select` says: who asks for something wants to hear that it is missing."""


_OF_LOADERS = frozenset({"L002", "L003"})
"""What a loader drops or cannot read."""


@dataclass(frozen=True, slots=True)
class Override:
    """Settings for some paths.

    Attributes:
        paths: Globs, relative to `base`, as in .gitignore.
        settings: Fields of `Policy` and their values; `ignore` adds to the policy's, everything else replaces it.
        base: The directory of the configuration file.
    """

    paths: tuple[str, ...]
    settings: Mapping[str, object]
    base: str = ""

    def applies_to(self, path: str) -> bool:
        """Whether a path is one of those."""
        import os

        from ckptdoctor import storage

        if storage.is_remote(path):  # by its bucket or host, and the key
            inside = path.partition("://")[2]
            return _compiled(self.paths).match_file(f"{inside}/" if storage.is_dir(path) else inside)
        inside = os.path.relpath(path, self.base or ".")
        if inside.split(os.sep, 1)[0] == os.pardir:
            return False
        if os.path.isdir(path) and inside != os.curdir:
            inside += os.sep  # a pattern that ends in / means directories only, as SavedModels and runs are
        return _compiled(self.paths).match_file(inside)


@lru_cache(maxsize=64)
def _compiled(patterns: tuple[str, ...]) -> GitIgnoreSpec:
    import warnings

    from pathspec import GitIgnoreSpec

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the regular expression behind a pattern such as [[a]
        return GitIgnoreSpec.from_lines(patterns)


def pattern_problem(pattern: str) -> str | None:
    """Why a pattern is none; None if it is one."""
    import re

    try:
        _compiled((pattern,))
    except (ValueError, re.error, OverflowError, RecursionError) as error:
        return str(error).partition("\n")[0]
    return None


@dataclass(frozen=True, slots=True)
class Policy:
    """What artifacts are judged by.

    Attributes:
        select: Codes or prefixes of the rules that count; empty: all.
        ignore: Codes or prefixes of those that do not; of two that match, the longer one wins over `select`.
        severities: Code or prefix → severity, in place of the rule's own.
        fail_on: The least severity that fails an artifact.
        expect: What the artifacts are for.
        require: What they have to hold.
        min_iterations: The least count of every optimizer; None: any.
        optimizer: The class that their optimizers have to be; None: any.
        optimizers: Name of an optimizer (`g_opt`) → `require`, `min_iterations` and `optimizer` for that one alone.
        loader: What they will be loaded with, as `keras==3.15`; None: nobody said.
        deep: Read every byte.
        overrides: Settings by path; of two that match, the later one wins.
        fixed: Fields that were set on the command line: no override changes them.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    severities: Mapping[str, Severity] = field(default_factory=dict)
    fail_on: Severity = Severity.ERROR
    expect: Purpose = Purpose.RESUMABLE
    require: tuple[Part, ...] = ()
    min_iterations: int | None = None
    optimizer: str | None = None
    optimizers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    loader: str | None = None
    deep: bool = False
    overrides: tuple[Override, ...] = ()
    fixed: frozenset[str] = frozenset()

    def for_path(self, path: str) -> Policy:
        """The policy that holds for one path."""
        policy = self
        for override in self.overrides:
            if override.applies_to(path):
                changes = {name: value for name, value in override.settings.items() if name not in self.fixed}
                if "ignore" in changes:
                    changes["ignore"] = (*policy.ignore, *_codes(changes["ignore"]))
                if "severities" in changes:
                    changes["severities"] = {**policy.severities, **_severities(changes["severities"])}
                policy = replace(policy, **changes)  # type: ignore[arg-type]  # checked when it was read
        return policy

    @property
    def expected(self) -> Expected:
        """What the rules of family E ask for."""
        return Expected(self.require, self.min_iterations, self.optimizer, self.optimizers)

    def ignores(self, code: str) -> bool:
        """Whether `select` and `ignore` leave a rule out."""
        chosen = matches(code, self.select)
        left_out = bool(self.select) and not chosen and not code.startswith(ALWAYS)
        return left_out or matches(code, self.ignore) > chosen

    def severity(self, code: str, given: Severity | None = None) -> Severity | None:
        """The severity in force; None where the rule does not count, or not for this purpose.

        Args:
            code: The rule.
            given: What the rule says that its finding weighs, where that is not the rule's own severity.
        """
        if self.ignores(code):
            return None
        own: Severity | None = given or BY_CODE[code].severity
        if self.loader is not None and code in _OF_LOADERS:
            own = Severity.ERROR  # whoever names the loader will use it
        for table in (WEIGHED[self.expect], self.severities):
            length = matches(code, table)
            if length:
                own = table[code[:length]]
        return own

    def weigh(self, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """The findings that count, with the severities in force, the gravest first."""
        weighed = [
            finding._replace(severity=severity)
            for finding in findings
            if (severity := self.severity(finding.code, finding.severity)) is not None
        ]
        return tuple(sorted(weighed, key=lambda each: each.severity.rank))

    def fails(self, findings: tuple[Finding, ...]) -> bool:
        """Whether one of them is at or above the level that fails an artifact."""
        return any(each.severity.rank <= self.fail_on.rank for each in findings)


def _codes(value: object) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else ()


def _severities(value: object) -> Mapping[str, Severity]:
    return value if isinstance(value, Mapping) else {}
