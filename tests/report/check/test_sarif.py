"""SARIF: what code scanning is given passes the standard's schema, and says the same of the same thing each time."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import jsonschema
import pytest
from support.checks import (
    HOSTILE,
    INCOMPLETE,
    NEVER,
    NOT_FINITE,
    PART,
    checked,
    directory,
    hostile,
    missing,
    report,
    with_findings,
)
from support.objects import write_model

import ckptdoctor
from ckptdoctor.checking.results import Checked, CheckReport
from ckptdoctor.diagnosis.explanations import page
from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.diagnosis.rules import RULES
from ckptdoctor.report.check import sarif as check_sarif
from ckptdoctor.report.shared.escape import printable

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parent / "schemas" / "sarif-2.1.0.json").read_text(encoding="utf-8")
)
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def _run(whole: CheckReport, root: str = "/srv") -> dict[str, Any]:
    """The only run of the log, after the log has passed the schema and what the standard says beyond it."""
    text = check_sarif.render(whole, root=root)
    assert text.isascii()
    log = json.loads(text)
    VALIDATOR.validate(log)
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    for result in run["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    for note in run["invocations"][0]["toolExecutionNotifications"]:
        assert driver["notifications"][note["descriptor"]["index"]]["id"] == note["descriptor"]["id"]
    for each in (*run["results"], *run["invocations"][0]["toolExecutionNotifications"]):
        for place in each.get("locations", ()):
            where = place["physicalLocation"]["artifactLocation"]
            assert where["uri"].isascii()
            assert urlsplit(where["uri"]).scheme == ("" if "uriBaseId" in where else "file")
            assert where.get("uriBaseId", "%SRCROOT%") in run["originalUriBaseIds"]
    return dict(run)


@pytest.fixture
def good(tmp_path: Path) -> Checked:
    """A checkpoint that resumes."""
    (found,) = checked(write_model(tmp_path / "runs" / "ckpt-7"))
    return found


def test_the_schema_sees_mistakes(good: Checked) -> None:
    """The schema is not one that takes everything."""
    log = json.loads(check_sarif.render(report(with_findings(good, NOT_FINITE))))
    log["runs"][0]["results"][0]["level"] = "info"
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(log)


def test_the_driver() -> None:
    """The tool, its version, and every rule with a name, a description, help and its own level."""
    driver = _run(report())["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("ckptdoctor", ckptdoctor.__version__)
    assert driver["informationUri"].startswith("https://")
    assert [each["id"] for each in driver["rules"]] == [each.code for each in RULES]
    named = {each["id"]: each for each in driver["rules"]}
    assert named["S001"]["name"] == "NoOptimizerState"
    assert named["S001"]["defaultConfiguration"] == {"level": "error"}
    assert named["S010"]["defaultConfiguration"] == {"level": "note"}
    assert named["X001"]["properties"]["tags"] == ["safety", "security"]
    assert named["S001"]["properties"]["tags"] == ["structure"]
    assert named["S001"]["help"]["markdown"] == page("S001")
    assert named["S001"]["fullDescription"]["text"].startswith("Weights only: the next `fit` starts with iteration 0")
    for each in driver["rules"]:
        assert each["shortDescription"]["text"].endswith(".")
        # What GitHub shows of them.
        assert len(each["shortDescription"]["text"]) <= 1024
        assert 0 < len(each["fullDescription"]["text"]) <= 1024
        assert "\n" not in each["fullDescription"]["text"]
        assert each["fullDescription"]["text"].endswith(".")
        assert each["help"]["text"].startswith(f"# {each['id']} ")


def test_results(tmp_path: Path, good: Checked) -> None:
    """Each finding is a result with the severity in force, its hint, and where it is."""
    found = with_findings(good, NOT_FINITE, NEVER, PART._replace(severity=Severity.WARNING), PART)
    results = _run(report(found), str(tmp_path))["results"]
    assert [(each["ruleId"], each["level"]) for each in results] == [
        ("V001", "error"), ("S004", "warning"), ("P003", "warning"), ("P003", "note"),
    ]  # fmt: skip
    assert results[0]["message"]["text"] == ("1 tensor holds values that are not finite: w (3 NaN)\nresume from ckpt-6")
    (place,) = results[0]["locations"]
    assert place["physicalLocation"]["artifactLocation"] == {"uri": "runs/ckpt-7", "uriBaseId": "%SRCROOT%"}


def test_fingerprints(tmp_path: Path, good: Checked) -> None:
    """An alert is the same in the next run, though its figures are others; two of one rule are two."""
    first, second = (
        _run(report(with_findings(good, finding, NOT_FINITE, NEVER)), str(tmp_path))["results"]
        for finding in (NOT_FINITE, NOT_FINITE._replace(message="7 tensors"))
    )
    prints = [[each["partialFingerprints"]["primaryLocationLineHash"] for each in run] for run in (first, second)]
    assert prints[0] == prints[1]
    assert len(set(prints[0])) == 3
    (other,) = _run(report(replace(with_findings(good, NOT_FINITE), path="elsewhere")))["results"]
    assert other["partialFingerprints"]["primaryLocationLineHash"] not in prints[0]


def test_fingerprints_of_moved_workspaces(good: Checked) -> None:
    """Where the workspace lies is no part of an alert."""
    runs = [
        _run(report(replace(with_findings(good, NOT_FINITE), path=f"{root}/runs/ckpt-7")), root)["results"]
        for root in ("/home/runner/a", "/builds/b")
    ]
    assert runs[0] == runs[1]


def test_codes_that_are_no_rules(good: Checked) -> None:
    """A finding whose code the table of rules does not have still has a rule of its own."""
    run = _run(report(with_findings(good, Finding("Z999", Severity.ERROR, "strange"), NOT_FINITE)))
    assert [each["ruleId"] for each in run["results"]] == ["Z999", "V001"]


def test_how_the_run_went(tmp_path: Path, good: Checked) -> None:
    """Findings are no failure of the tool; what it could not look at is one."""
    (went,) = _run(report(with_findings(good, NOT_FINITE)))["invocations"]
    assert (went["executionSuccessful"], went["exitCode"], went["toolExecutionNotifications"]) == (True, 1, [])
    (went,) = _run(report(good, missing("gone")))["invocations"]
    assert (went["executionSuccessful"], went["exitCode"]) == (False, 2)
    (note,) = went["toolExecutionNotifications"]
    assert (note["descriptor"]["id"], note["level"]) == ("missing", "error")
    assert note["message"]["text"] == "gone: there is no such file or directory"
    (tmp_path / "x.h5").write_bytes(b"")
    (went,) = _run(report(*checked(str(tmp_path / "x.h5"))))["invocations"]
    assert (went["executionSuccessful"], went["exitCode"]) == (True, 3)
    assert [each["descriptor"]["id"] for each in went["toolExecutionNotifications"]] == ["unreadable"]
    (went,) = _run(report(good, interrupted=True))["invocations"]
    assert (went["executionSuccessful"], went["exitCode"]) == (False, 130)
    assert [each["descriptor"]["id"] for each in went["toolExecutionNotifications"]] == ["interrupted"]


def test_run_directories() -> None:
    """What is found in a run directory as a whole is at its path."""
    (result,) = _run(report(directory("/srv/run", INCOMPLETE)))["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "run"


@pytest.mark.parametrize("name", HOSTILE)
def test_names(good: Checked, name: str) -> None:
    """Names are percent-encoded where they are places; in messages nothing of them is a link or a placeholder."""
    run = _run(hostile(good, [f"d/{name}"]), os.getcwd())
    (where,) = {
        json.dumps(each["locations"][0]["physicalLocation"]["artifactLocation"], sort_keys=True)
        for each in run["results"]
    }
    place = json.loads(where)
    assert place["uriBaseId"] == "%SRCROOT%"
    if "\ud800" not in name:  # no file system gives such a name
        assert os.fsdecode(unquote_to_bytes(place["uri"])) == os.path.normpath(f"d/{name}")
    for each in run["results"]:
        text = each["message"]["text"]
        assert all(char.isprintable() or char == "\n" for char in text)
        assert text.replace("{{", "").replace("}}", "").count("{") == 0
        assert "[click](" not in text.replace("\\[", "")
        assert text.split("\n")[0].replace("{{", "{").replace("}}", "}").replace("\\[", "[") == (
            f"{printable(f'd/{name}')} of {printable(f'd/{name}')}"
        )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/a b/ü.h5", {"uri": "a%20b/%C3%BC.h5", "uriBaseId": "%SRCROOT%"}),
        ("/srv/c:d", {"uri": "c%3Ad", "uriBaseId": "%SRCROOT%"}),
        ("/srv/50%?#.h5", {"uri": "50%25%3F%23.h5", "uriBaseId": "%SRCROOT%"}),
        ("/srv/\udcff", {"uri": "%FF", "uriBaseId": "%SRCROOT%"}),
        ("/srv", {"uri": ".", "uriBaseId": "%SRCROOT%"}),
        ("/srv/..x", {"uri": "..x", "uriBaseId": "%SRCROOT%"}),
        ("/else where/m.h5", {"uri": "file:///else%20where/m.h5"}),
        ("/srv-other/m.h5", {"uri": "file:///srv-other/m.h5"}),
    ],
)
def test_places(path: str, expected: dict[str, str]) -> None:
    """Inside the root relative to it, elsewhere absolute, byte for byte."""
    assert check_sarif.artifact_location(path, "/srv") == expected
