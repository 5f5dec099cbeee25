"""JUnit XML: what CI servers read passes their schema, whatever is in the names."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
import xmlschema
from support.checks import (
    HOSTILE,
    INCOMPLETE,
    NEVER,
    NOT_FINITE,
    PART,
    SHARE,
    checked,
    directory,
    hostile,
    missing,
    report,
    with_findings,
)
from support.objects import write_model

from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.results import Checked, CheckReport
from ckptdoctor.diagnosis.expected import Part
from ckptdoctor.report.check import junit as check_junit
from ckptdoctor.report.shared.escape import printable

SCHEMA = xmlschema.XMLSchema(str(Path(__file__).parent / "schemas" / "junit-10.xsd"))


def _suite(whole: CheckReport) -> ET.Element:
    """The only suite of the document, after it has passed the schema; its counts are right."""
    text = check_junit.render(whole)
    assert text.isascii()
    SCHEMA.validate(text)
    root = ET.fromstring(text.encode("ascii"))
    (suite,) = root
    for each in (root, suite):
        assert each.get("tests") == str(len(suite.findall("testcase")))
        assert each.get("failures") == str(len(suite.findall("testcase/failure")))
        assert each.get("errors") == str(len(suite.findall("testcase/error")))
    return suite


@pytest.fixture
def good(tmp_path: Path) -> Checked:
    """A checkpoint that resumes."""
    (found,) = checked(write_model(tmp_path / "ckpt-7"))
    return replace(found, path="run/ckpt-7")


def test_the_schema_sees_mistakes() -> None:
    """The schema is not one that takes everything."""
    with pytest.raises(xmlschema.XMLSchemaException):
        SCHEMA.validate("<testsuites><testsuite name='x'/></testsuites>")


def test_cases(good: Checked) -> None:
    """An artifact is a test case of its format; what passed says why."""
    (case,) = _suite(report(with_findings(good, NEVER, SHARE))).findall("testcase")
    assert case.attrib == {"classname": "tf-checkpoint", "name": "run/ckpt-7"}
    assert case.findtext("system-out") == (
        "resumes at iteration 7 with full Adam state\n"
        "warning S004: Adam never stepped: its count is 0\n    right for a new model"
    )


def test_failures(good: Checked) -> None:
    """What failed has the verdict as its message, and every finding in its text."""
    (case,) = _suite(report(with_findings(good, NOT_FINITE, PART))).findall("testcase")
    failure = case.find("failure")
    assert failure is not None
    assert failure.get("type") == "V001"
    assert failure.get("message") == f"resumes at iteration 7 with full Adam state, but {NOT_FINITE.message}"
    assert (failure.text or "").splitlines() == [
        "error V001: 1 tensor holds values that are not finite: w (3 NaN)",
        "    resume from ckpt-6",
        "info P003: ckpt-7.index is the index; the checkpoint is ckpt-7",
        "    name the prefix",
    ]


def test_run_directories() -> None:
    """A run directory is a case of its own kind."""
    passed, failed = _suite(report(directory("a"), directory("b", INCOMPLETE))).findall("testcase")
    assert passed.get("classname") == failed.get("classname") == "run-directory"
    assert failed.find("failure") is not None


def test_errors(tmp_path: Path) -> None:
    """What cannot be read, and what is not there, are errors, not failures."""
    (tmp_path / "x.h5").write_bytes(b"")
    unreadable, gone = _suite(report(*checked(str(tmp_path / "x.h5")), missing("gone"))).findall("testcase/error")
    assert (unreadable.get("type"), gone.get("type")) == ("I008", "missing")
    assert "an empty file" in (unreadable.get("message") or "")
    assert gone.get("message") == "there is no such file or directory"


def test_interrupted(good: Checked) -> None:
    """An interrupted check does not look as if all had passed."""
    suite = _suite(report(good, interrupted=True))
    assert [each.get("type") for each in suite.findall("testcase/error")] == ["interrupted"]
    assert len(suite.findall("testcase")) == 2


def test_empty() -> None:
    """No results are a document too."""
    assert _suite(report()).get("tests") == "0"


def test_properties(good: Checked) -> None:
    """The policy is recorded beside the results."""
    policy = Policy(ignore=("S010", "P"), require=(Part.SLOTS,), min_iterations=5, deep=True)
    suite = _suite(report(good, policy=policy))
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert properties["policy.ignore"] == "S010, P"
    assert properties["policy.require"] == "slots"
    assert properties["policy.min-iterations"] == "5"
    assert properties["policy.deep"] == "true"
    assert "policy.select" not in properties


@pytest.mark.parametrize("name", HOSTILE)
def test_names(good: Checked, name: str) -> None:
    """Names come out of the XML as they are shown, and no character is in it that XML 1.0 forbids."""
    first, second, third, fourth = _suite(hostile(good, [name])).findall("testcase")
    assert {each.get("name") for each in (first, second, third, fourth)} == {printable(name)}
    failure, error = first.find("failure"), third.find("error")
    assert failure is not None
    assert error is not None
    assert (failure.text or "").splitlines()[0] == f"error X001: {printable(name)} of {printable(name)}"
    assert error.get("message") == f"nothing is at {printable(name)}"
