"""Workflow commands: the runner of GitHub Actions understands each line as one command, and no name as another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from support.checks import (
    HOSTILE,
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
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.report.check import github as check_github
from ckptdoctor.report.shared.escape import printable


class Command(NamedTuple):
    """A command as the runner understands it."""

    name: str
    properties: dict[str, str]
    data: str


def _understood(line: str) -> Command | None:
    """What the runner makes of a line of output: `ActionCommand.TryParseV2` of actions/runner, in its own order."""
    line = line.lstrip()
    if not line.startswith("::") or (end := line.find("::", 2)) < 0:
        return None
    name, _, listed = line[2:end].partition(" ")
    properties = {}
    for pair in filter(None, listed.strip().split(",")):
        key, _, value = pair.partition("=")
        properties[key] = _unescaped(value, {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"})
    return Command(name, properties, _unescaped(line[end + 2 :], {"%0D": "\r", "%0A": "\n", "%25": "%"}))


def _unescaped(text: str, escapes: dict[str, str]) -> str:
    for escape, char in escapes.items():
        text = text.replace(escape, char)
    return text


def _commands(whole: CheckReport, root: str | None = None) -> list[Command]:
    """The commands of a report; its last line is a plain one."""
    text = check_github.render(whole, root=root)
    assert text.endswith("\n")
    *lines, last = text.removesuffix("\n").split("\n")
    assert _understood(last) is None
    assert "##[" not in last
    commands = []
    for line in lines:
        assert line == line.lstrip()
        assert not set(line) & set("\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), "a line for whoever splits it"
        found = _understood(line)
        assert found is not None, line
        commands.append(found)
    return commands


@pytest.fixture
def good(tmp_path: Path) -> Checked:
    """A checkpoint that resumes."""
    (found,) = checked(write_model(tmp_path / "runs" / "ckpt-7"))
    return found


def test_an_error(tmp_path: Path, good: Checked) -> None:
    """An error is an annotation of the file, whose message says all of it: the log shows nothing else."""
    (found,) = _commands(report(with_findings(good, NOT_FINITE)), str(tmp_path))
    assert found == (
        "error",
        {"file": "runs/ckpt-7", "title": "ckptdoctor V001 not-finite"},
        f"{good.path}: 1 tensor holds values that are not finite: w (3 NaN)\nresume from ckpt-6",
    )


def test_levels(good: Checked) -> None:
    """Warnings are warnings, unless they fail the artifact; notes are left out; errors come first."""
    found = with_findings(good, NEVER, PART, SHARE)
    other = with_findings(good, NOT_FINITE)
    assert [each.name for each in _commands(report(found, other))] == ["error", "warning"]
    strict = Policy(fail_on=Severity.WARNING)
    failed = with_findings(good, NEVER, PART, policy=strict)
    assert [each.name for each in _commands(report(failed, policy=strict))] == ["error"]


def test_what_fails_is_always_told(tmp_path: Path, good: Checked) -> None:
    """A path where nothing is, and an artifact whose finding is ignored, are errors too."""
    (tmp_path / "x.h5").write_bytes(b"")
    (unreadable,) = checked(str(tmp_path / "x.h5"))
    commands = _commands(report(good, missing("gone"), replace(unreadable, findings=(), ignored=1)))
    assert [each.name for each in commands] == ["error", "error"]
    assert commands[0].data == "gone: there is no such file or directory"
    assert "cannot be read" in commands[1].data


def test_paths(tmp_path: Path, good: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are named from the workspace where they lie in it, and in full elsewhere."""
    found = with_findings(good, NOT_FINITE)
    assert _commands(report(found), str(tmp_path / "runs"))[0].properties["file"] == "ckpt-7"
    assert _commands(report(found), str(tmp_path / "run"))[0].properties["file"] == good.path
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    assert _commands(report(found))[0].properties["file"] == "runs/ckpt-7"
    monkeypatch.delenv("GITHUB_WORKSPACE")
    monkeypatch.chdir(tmp_path / "runs")
    assert _commands(report(found))[0].properties["file"] == "ckpt-7"
    assert _commands(report(replace(found, path="ckpt-7")))[0].properties["file"] == "ckpt-7"


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_becomes_a_command(good: Checked, name: str) -> None:
    """Whatever a name says, there is one annotation a finding, with its file and its message."""
    commands = _commands(hostile(good, [name]), "/nowhere")
    assert [each.name for each in commands] == ["error"] * 3
    for each in commands:
        assert set(each.properties) == {"file", "title"}
        assert each.properties["file"] == printable(name)
        assert each.data.startswith(f"{printable(name)}: ")
    shown = printable(name)
    assert commands[0].data == f"{shown}: {shown} of {shown}\n{shown}: ckptdoctor graft --into {shown}"


def test_the_escapes_are_those_of_the_toolkit() -> None:
    """Data escapes per cent signs and line ends, properties colons and commas too."""
    assert check_github.command("error", "50%\r\n::x", file="a:b,c%0A\r\n") == (
        "::error file=a%3Ab%2Cc%250A%0D%0A::50%25%0D%0A::x"
    )


def test_summary(good: Checked) -> None:
    """The last line counts; of an empty or interrupted check it says so."""
    assert check_github.render(report(good)) == "1 artifact: 1 passed\n"
    assert check_github.render(report()) == "nothing was checked\n"
    assert check_github.render(report(directory("run"), interrupted=True)).startswith(
        "interrupted after 1 run directory"
    )
