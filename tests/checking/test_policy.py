"""The policy: which findings count, with which weight."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptdoctor.checking.policy import Override, Policy
from ckptdoctor.diagnosis.expected import Purpose
from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.diagnosis.rules import BY_CODE, RULES

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(), {"S003": ERROR, "S010": INFO, "E001": ERROR}),
        (Policy(select=("S",)), {"S003": ERROR, "I007": None, "E001": ERROR}),
        (Policy(ignore=("S",)), {"S003": None, "I007": WARNING}),
        (Policy(select=("S003",), ignore=("S",)), {"S003": ERROR, "S001": None}),
        (Policy(select=("S",), ignore=("S003",)), {"S003": None, "S001": ERROR}),
        (Policy(ignore=("E001",)), {"E001": None, "E002": ERROR}),
        (Policy(select=("I",), ignore=("E",)), {"E001": None}),
        (Policy(severities={"S": WARNING, "S003": INFO}), {"S001": WARNING, "S003": INFO, "V001": ERROR}),
        (Policy(expect=Purpose.WEIGHTS_ONLY), {"S001": None, "L001": None, "P002": ERROR, "V001": ERROR}),
        (Policy(expect=Purpose.WEIGHTS_ONLY, severities={"P002": INFO}), {"P002": INFO}),
    ],
)
def test_severity(policy: Policy, expected: dict[str, Severity | None]) -> None:
    """What counts follows from the longest prefix; who expects something always hears of it."""
    assert {code: policy.severity(code) for code in expected} == expected


def test_every_rule_has_a_severity_for_both_purposes() -> None:
    """Resumable artifacts are judged by every rule with its own severity."""
    assert {rule.code: Policy().severity(rule.code) for rule in RULES} == {rule.code: rule.severity for rule in RULES}


def test_weigh_puts_the_gravest_first() -> None:
    """Findings are sorted by weight, otherwise in the order in which they were found."""
    codes = ("S010", "P003", "S003", "I007", "S001")
    found = tuple(Finding(code, BY_CODE[code].severity, "") for code in codes)
    weighed = Policy(ignore=("P",)).weigh(found)
    assert [(each.code, each.severity) for each in weighed] == [
        ("S003", ERROR), ("S001", ERROR), ("I007", WARNING), ("S010", INFO),
    ]  # fmt: skip


def test_a_finding_may_weigh_less_than_its_rule() -> None:
    """What a rule says of one finding holds, unless the policy names the rule."""
    found = (Finding("S002", INFO, ""),)
    assert [each.severity for each in Policy().weigh(found)] == [INFO]
    assert [each.severity for each in Policy(severities={"S0": WARNING}).weigh(found)] == [WARNING]


def test_fail_on() -> None:
    """Warnings fail only where that is asked for."""
    warned = (Finding("I007", WARNING, ""),)
    assert not Policy().fails(warned)
    assert Policy(fail_on=WARNING).fails(warned)
    assert not Policy(fail_on=WARNING).fails((Finding("S010", INFO, ""),))


def test_overrides(tmp_path: Path) -> None:
    """Settings by path: globs relative to the configuration, the later wins, `ignore` adds up."""
    policy = Policy(
        ignore=("P",),
        overrides=(
            Override(("release/**",), {"expect": Purpose.WEIGHTS_ONLY, "ignore": ("X",)}, str(tmp_path)),
            Override(("*.h5",), {"deep": True}, str(tmp_path)),
            Override(("release/debug/*",), {"expect": Purpose.RESUMABLE}, str(tmp_path)),
        ),
    )
    release = policy.for_path(str(tmp_path / "release" / "a" / "model.h5"))
    assert (release.expect, release.ignore, release.deep) == (Purpose.WEIGHTS_ONLY, ("P", "X"), True)
    assert policy.for_path(str(tmp_path / "release" / "debug" / "m.keras")).expect is Purpose.RESUMABLE
    assert policy.for_path(str(tmp_path / "runs" / "ckpt-7")) == policy
    assert policy.for_path(str(tmp_path.parent / "release" / "model.h5")) == policy


def test_the_command_line_is_above_overrides(tmp_path: Path) -> None:
    """What was set on the command line is not changed by a path's override."""
    override = Override(("*",), {"expect": Purpose.WEIGHTS_ONLY, "deep": True}, str(tmp_path))
    policy = Policy(overrides=(override,), fixed=frozenset({"expect"})).for_path(str(tmp_path / "m.h5"))
    assert (policy.expect, policy.deep) == (Purpose.RESUMABLE, True)


@pytest.mark.parametrize("given", ["release", "release/", "release/1", "release/model.h5"])
def test_an_override_of_a_directory(tmp_path: Path, given: str) -> None:
    """A pattern that ends in `/` means the directory itself, as SavedModels and runs are, and all that lies in it."""
    (tmp_path / "release" / "1").mkdir(parents=True)
    policy = Policy(overrides=(Override(("release/",), {"deep": True}, str(tmp_path)),))
    assert policy.for_path(os.path.join(tmp_path, given)).deep
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "release").touch()
    assert not policy.for_path(str(tmp_path / "other" / "release")).deep, "a file of that name is none"


def test_an_override_of_everything(tmp_path: Path) -> None:
    """The directory of the configuration itself, and names that begin with dots, are inside; what is above is not."""
    policy = Policy(overrides=(Override(("*",), {"deep": True}, str(tmp_path)),))
    assert policy.for_path(str(tmp_path)).deep
    assert policy.for_path(str(tmp_path / "..foo" / "m.h5")).deep
    assert not policy.for_path(str(tmp_path.parent)).deep
    assert not policy.for_path(str(tmp_path.parent / "m.h5")).deep
