"""What CI systems take for commands: no name from a file becomes one in text that they show."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.bundles import array, write_bundle
from support.commands import Result, ckptdoctor

NAMES = ("::error file=x::pwn/kernel", "##[error]y", "##vso[task.complete]z", "w" * 60 + " ::error file=a::pwned")


def commands(result: Result) -> list[str]:
    """The lines that a runner of GitHub or an agent of Azure Pipelines would act upon, on either stream."""
    lines = (result.out + result.err).splitlines()
    return [line for line in lines if line.lstrip().startswith("::") or "##[" in line or "##vso[" in line]


@pytest.fixture
def hostile(tmp_path: Path) -> str:
    """A checkpoint of Adam whose variables are called as commands are."""
    tensors = {"beta1_power": array(0.9**8), "beta2_power": array(0.999**8), "global_step": array(7, "int64")}
    for name in NAMES:
        tensors |= {f"{name}{slot}": array([1.0, 2.0]) for slot in ("", "/Adam", "/Adam_1")}
    return write_bundle(tmp_path / "ckpt-7", tensors)


@pytest.mark.parametrize("columns", ["30", "80", "400"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "--tensors", "--stats"],
        ["inspect", "--tensors", "--format", "markdown"],
        ["check", "--deep"],
        ["check", "--format", "markdown"],
        ["diff", "--values", "ckpt-7"],
        ["graft", "--iterations", "9", "--output", "out", "--dry-run", "--into"],
        ["graft", "--output", "out", "--dry-run", "--from", "ckpt-7", "--map", "a=b", "--into"],
    ],
    ids=" ".join,
)
def test_names_in_a_file(hostile: str, arguments: list[str], columns: str) -> None:
    """Names from a file stand where they stood, with an escape where a line would have been a command."""
    result = ckptdoctor(*arguments, hostile, cwd=os.path.dirname(hostile), COLUMNS=columns)
    assert "Traceback" not in result.err
    assert result.out or result.err
    assert commands(result) == []


@pytest.mark.parametrize("path", ["::error::x", "  ::error::x", "##[error]x", "a/##[error]x", " ##vso[x]y"])
@pytest.mark.parametrize("command", ["inspect", "check", "verify"])
def test_paths(tmp_path: Path, path: str, command: str) -> None:
    """Neither does a path, with or without blanks before it, whether something is there or not."""
    assert commands(ckptdoctor(command, "--", path, cwd=tmp_path)) == []
    write_bundle(tmp_path / path, {"w": array([1.0])})
    result = ckptdoctor(command, "--quiet", "--", path, cwd=tmp_path)
    assert commands(result) == []
    assert result.out or result.err


def test_documents_are_whole(hostile: str) -> None:
    """Documents for programs have the names as they are, and GitHub's annotations stay commands."""
    document = json.loads(ckptdoctor("inspect", "--tensors", "--format", "json", hostile).out)
    assert {each["variable"] for each in document["artifacts"][0]["model"]["tensors"]} == set(NAMES)
    annotated = ckptdoctor("check", "--optimizer", "SGD", "--format", "github", hostile).out
    assert annotated.startswith("::error file=")


def test_further_reports(hostile: str, tmp_path: Path) -> None:
    """A report for people is escaped in a file too, which a job may print; one for GitHub is not."""
    ckptdoctor(
        "check", "--optimizer", "SGD", f"--report=text={tmp_path / 'a'}", f"--report=github={tmp_path / 'b'}", hostile
    )
    assert commands(Result(0, (tmp_path / "a").read_text(), "")) == []
    assert (tmp_path / "b").read_text().startswith("::error file=")
