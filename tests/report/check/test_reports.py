"""All reports of `check` by their names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from support.checks import checked, directory, hostile, missing, report
from support.commands import ckptdoctor, environment
from support.objects import write_model

from ckptdoctor.checking.results import CheckReport
from ckptdoctor.report.check.reports import FORMS, render


@pytest.fixture
def whole(tmp_path: Path) -> CheckReport:
    """A report with a result of each kind."""
    return report(*checked(write_model(tmp_path / "ckpt-7")), directory("run"), missing("gone"))


@pytest.mark.parametrize("form", FORMS)
def test_every_form(whole: CheckReport, form: str) -> None:
    """Every form renders whatever there is, ends in a newline, and is the same each time."""
    for each in (whole, report(), report(interrupted=True), hostile(whole.results[0])):
        text = render(each, form)
        assert text.endswith("\n")
        assert text == render(each, form)
        text.encode("utf-8")


def test_unknown_forms(whole: CheckReport) -> None:
    """A form that does not exist is an error that names those that do."""
    with pytest.raises(ValueError, match=r"'xml': text, json, markdown, github, sarif, junit, html are"):
        render(whole, "xml")


def test_quiet(whole: CheckReport) -> None:
    """Where a person reads it, quiet leaves a line an artifact, of those that passed too."""
    for form in ("text", "markdown"):
        shown = render(whole, form, quiet=True)
        lines = [line for line in shown.splitlines() if line.startswith(("ok", "failed", "| `"))]
        assert len(lines) == len(whole.results)
    assert "ckpt-7" in render(whole, "json", quiet=True)


def test_all_at_once(tmp_path: Path) -> None:
    """One run of the command writes every report, and each is that of the same results."""
    write_model(tmp_path / "good" / "ckpt-7")
    (tmp_path / "empty.h5").write_bytes(b"")
    wanted = [f"--report={form}={form}.out" for form in FORMS if form != "text"]
    done = ckptdoctor("check", "good/ckpt-7", "empty.h5", *wanted, cwd=tmp_path, GITHUB_WORKSPACE="")
    assert done.code == 3
    assert done.out.splitlines()[0] == "ok      good/ckpt-7: resumes at iteration 7 with full Adam state"
    assert done.out.splitlines()[-1] == "2 artifacts: 1 passed, 1 failed (1 error, 1 unreadable)"
    texts = {form: (tmp_path / f"{form}.out").read_text(encoding="utf-8") for form in FORMS if form != "text"}
    assert [each["passed"] for each in json.loads(texts["json"])["artifacts"]] == [True, False]
    (run,) = json.loads(texts["sarif"])["runs"]
    assert [each["ruleId"] for each in run["results"] if each["level"] == "error"] == ["I008"]
    assert run["results"][-1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "empty.h5"
    assert ET.fromstring(texts["junit"]).get("errors") == "1"
    assert texts["github"].startswith("::error file=empty.h5,title=ckptdoctor I008 not-an-artifact::empty.h5: ")
    assert "| `empty.h5` | ❌ failed |" in texts["markdown"]


@pytest.mark.parametrize(("form", "kept_out"), [("json", "rich"), ("text", "rich"), ("github", "json.decoder,rich")])
def test_start_up(form: str, kept_out: str) -> None:
    """A report in a pipe costs no library that it does not need."""
    program = (
        "import sys\n"
        "from ckptdoctor.checking.policy import Policy\n"
        "from ckptdoctor.checking.results import CheckReport\n"
        "before = set(sys.modules)\n"
        f"from ckptdoctor.report.check.reports import render; render(CheckReport((), Policy()), {form!r})\n"
        f"assert not (set(sys.modules) - before) & set({kept_out!r}.split(',')), 'imported'\n"
        "assert 'xml.etree.ElementTree' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stderr
