"""action.yml, run for real: its steps with bash, in the variables and files of a runner."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.actions import Job, Runner
from support.bundles import array, write_bundle, write_state
from support.commands import ROOT
from support.index import require_index
from support.objects import write_model

from ckptdoctor import __version__

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the steps of the action are for bash")

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A runner that has this checkout installed already."""
    for name in ("workspace", "runner temp"):
        (tmp_path / name).mkdir()
    command = tmp_path / "ckptdoctor"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m ckptdoctor "$@"\n')
    command.chmod(0o755)
    given = {"python": {"python-path": sys.executable}, "install": {"command": str(command)}}
    return Runner(ROOT, tmp_path / "workspace", tmp_path / "runner temp", given)


def good(runner: Runner, name: str = "run/ckpt-7") -> str:
    """A checkpoint from which training resumes, in the workspace."""
    folder, _, prefix = name.rpartition("/")
    write_model(runner.workspace / name)
    write_state(runner.workspace / folder, prefix)
    return name


def bad(runner: Runner, name: str = "weights/ckpt-1") -> str:
    """A checkpoint without optimizer state, in the workspace."""
    write_bundle(runner.workspace / name, {"w": array([1.0])})
    return name


def checked(job: Job) -> list[str]:
    """The artifacts that the job summary lists, as it shows them."""
    return re.findall(r"^\| `?(.*?)`? \| ", job.summary, flags=re.MULTILINE)[2:]


def results(job: Job) -> list[dict[str, Any]]:
    """The results in the SARIF file."""
    log: dict[str, Any] = json.loads(Path(job.outputs["sarif-file"]).read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = log["runs"][0]["results"]
    return found


# ------------------------------------------------------------------------------------------------------------ outcomes


def test_passing(runner: Runner) -> None:
    """What passes: exit code 0, a SARIF file with notes at most, a summary, and no annotation."""
    job = runner(paths=good(runner))
    assert (job.code, job.outputs["passed"], job.outputs["exit-code"]) == (0, "true", "0")
    assert {each["level"] for each in results(job)} <= {"note"}
    assert "ckpt-7" in job.summary
    assert "::error" not in job.log


def test_failing(runner: Runner) -> None:
    """What fails: the step fails, and still says all there is to say, as annotation, SARIF and summary."""
    job = runner(paths=f"{good(runner)}\n{bad(runner)}\n")
    assert (job.code, job.outputs["passed"], job.outputs["exit-code"]) == (1, "false", "1")
    assert [each["ruleId"] for each in results(job) if each["level"] == "error"] == ["S001"]
    assert "::error file=weights/ckpt-1,title=ckptdoctor S001" in job.log
    assert "S001" in job.summary


def test_unreadable(runner: Runner) -> None:
    """What cannot be read fails with its own code."""
    prefix = good(runner)
    os.truncate(runner.workspace / f"{prefix}.index", 100)
    assert (job := runner(paths=prefix)).code == 3
    assert job.outputs["exit-code"] == "3"


def test_missing(runner: Runner) -> None:
    """A path that is not there, and a pattern that nothing matches, fail by name."""
    job = runner(paths="no/such\nruns/*.keras")
    assert (job.code, job.outputs["passed"]) == (2, "false")
    assert "no/such" in job.log
    assert "runs/*.keras" in job.log


@pytest.mark.parametrize("paths", ["", "\n", "  \n\t\n"])
def test_no_paths(runner: Runner, paths: str) -> None:
    """Nothing to check is an error, never a success."""
    job = runner(paths=paths)
    assert (job.code, job.outputs) == (2, {"passed": "false", "exit-code": "2", "sarif-file": ""})
    assert "::error title=ckptdoctor::the input paths" in job.log


def test_the_summary_is_appended_to(runner: Runner) -> None:
    """What earlier steps have written into the job summary stays."""
    runner.summary = "## Trained\n\n"
    assert runner(paths=good(runner)).summary.startswith("## Trained\n\n## ")


@pytest.mark.parametrize(
    ("inputs", "policy", "reason"),
    [
        ({"fail_on": "never"}, "", "Invalid value for '--fail-on': 'never' is not one of 'error', 'warning'."),
        (
            {"expect": "a%0A::b\n::error::c"},
            "",
            "Invalid value for '--expect': 'a%250A::b\\n::error::c' is not one of ",
        ),
        ({"loader": "keras"}, "", "ckptdoctor: loader: what keras restores depends on its version"),
        ({"select": "Q1"}, "", "ckptdoctor: select names no rule: 'Q1'"),
        ({"config": "none.toml"}, "", "Invalid value for '--config': File 'none.toml' does not exist."),
        ({}, "deeep = 1", "ckptdoctor: ckptdoctor.toml: unknown setting 'deeep'; did you mean 'deep'?"),
    ],
)
def test_wrong_use(runner: Runner, inputs: dict[str, str], policy: str, reason: str) -> None:
    """A wrong value is an annotation, as one command whatever stands in it, and in the log as well."""
    (runner.workspace / "ckptdoctor.toml").write_text(policy)
    job = runner(paths=good(runner), **inputs)
    assert (job.code, job.outputs["passed"], job.outputs["sarif-file"]) == (2, "false", "")
    (annotation,) = [line for line in job.log.splitlines() if line.lstrip().startswith("::")]
    assert annotation.startswith("::error title=ckptdoctor::")
    assert reason in annotation
    assert annotation.removeprefix("::error title=ckptdoctor::").replace("%25", "%") in job.log


# --------------------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize("line", ["  {} ", "\t{}\t", "{}   ", "   {}\r"])
@pytest.mark.parametrize("name", ["run/ckpt-7", "run/ckpt-*.index", "run"])
def test_blanks_around_a_line(runner: Runner, name: str, line: str) -> None:
    """Blanks around a path or a pattern, as YAML and editors leave them, are no part of it."""
    good(runner)
    job = runner(paths=line.format(name))
    assert (job.code, len(checked(job))) == (0, 1), job.log


HOSTILE = [
    "with space/ckpt 7",
    " leading and trailing /ckpt-7",
    'quote\'s/"ckpt"-7',
    "$(touch pwned)/ckpt-7",
    "`touch pwned`/ckpt-7",
    "a;touch pwned/ckpt-7",
    "${{ github.token }}/ckpt-7",
    "$HOME/ckpt-7",
    "--config/ckpt-7",
    "-rf/ckpt-7",
    "a\\nb/ckpt-7",
    "[a-z]*/ckpt-7",
    "~/ckpt-7",
    "!history/ckpt-7",
    "%0Aerror/ckpt-7",
    "ключ/ckpt-7",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names(runner: Runner, name: str) -> None:
    """A name is a name, whatever it would mean to a shell: it is checked, and nothing of it is run."""
    job = runner(paths=good(runner, name))
    assert (job.code, len(checked(job))) == (0, 1), job.log
    assert not list(runner.workspace.rglob("pwned*"))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_that_fail(runner: Runner, name: str) -> None:
    """In what fails they neither end an annotation nor begin another command."""
    job = runner(paths=bad(runner, name))
    assert job.code == 1, job.log
    assert [line.split(" ")[0] for line in job.log.splitlines() if line.startswith("::")] == ["::error"]
    assert not list(runner.workspace.rglob("pwned*"))


def test_a_newline_ends_a_path(runner: Runner) -> None:
    """One path a line; blank lines and carriage returns are no paths."""
    names = [good(runner, "a b/ckpt-1"), good(runner, "c/ckpt-2")]
    job = runner(paths=f"\n{names[0]}\r\n\n{names[1]}\n\n")
    assert (job.code, checked(job)) == (0, names)


def test_patterns(runner: Runner) -> None:
    """Patterns are expanded, in names with spaces too, and what they match is not expanded again."""
    good(runner, "runs of $(touch pwned)/first run/ckpt-1")
    good(runner, "runs of $(touch pwned)/second * run/ckpt-2")
    job = runner(paths="runs of */*/ckpt-?.index")
    assert (job.code, len(checked(job))) == (0, 2), job.log
    assert not list(runner.workspace.rglob("pwned*"))


def test_patterns_across_folders(runner: Runner) -> None:
    """`**` goes through folders."""
    good(runner, "a/ckpt-1")
    good(runner, "a/b/c/ckpt-2")
    assert len(checked(runner(paths="**/*.index"))) == 2


def test_a_name_before_a_pattern(runner: Runner) -> None:
    """A line that is a path is that path, though it would be a pattern as well."""
    good(runner, "run[12]/ckpt-7")
    good(runner, "run1/ckpt-7")
    assert checked(runner(paths="run[12]"))[0].startswith("run[12]")


# -------------------------------------------------------------------------------------------------------------- policy


@pytest.mark.parametrize(
    ("inputs", "code"),
    [
        ({"min_iterations": "7"}, 0),
        ({"min_iterations": "8"}, 1),
        ({"optimizer": "Adam"}, 0),
        ({"optimizer": "SGD"}, 1),
        ({"require": "iterations, slots\nhyperparameters"}, 0),
        ({"expect": "weights-only"}, 1),
        ({"expect": "weights-only", "ignore": "P002"}, 0),
        ({"expect": "weights-only", "select": "S\nI"}, 0),
        ({"deep": "true"}, 0),
        ({"all": "true"}, 0),
        ({"loader": "keras==2.10"}, 0),
        ({"loader": "keras==3.15"}, 1),
        ({"expect": "something"}, 2),
        ({"deep": "yes"}, 2),
        ({"min_iterations": "$(touch pwned)"}, 2),
        ({"optimizer": "--help"}, 1),
        ({"ignore": "S001; touch pwned"}, 2),
        ({"config": "no such.toml"}, 2),
        ({"config": "policy of mine.toml"}, 1),
    ],
    ids=str,
)
def test_policy(runner: Runner, inputs: dict[str, str], code: int) -> None:
    """Every input is the option of its name, and its value is never more than that."""
    (runner.workspace / "policy of mine.toml").write_text("min-iterations = 100\n")
    job = runner(paths=good(runner), **inputs)
    assert (job.code, job.outputs["exit-code"]) == (code, str(code)), job.log
    assert not list(runner.workspace.rglob("pwned*"))


def test_every_option_is_an_input() -> None:
    """The action has an input for everything that a policy can say on the command line."""
    options = {"paths", "expect", "require", "min-iterations", "optimizer", "loader", "select", "ignore", "fail-on"}
    assert set(ACTION["inputs"]) == options | {"deep", "all", "config", "python-version", "version"}


def test_no_expression_in_a_script() -> None:
    """Inputs reach a shell as variables only: GitHub would put the text of an expression into the script."""
    steps = ACTION["runs"]["steps"]
    assert [step["id"] for step in steps if "${{" in step.get("run", "")] == []
    assert {name for step in steps for name in step if "run" in step} == {"id", "shell", "env", "run"}


def test_actions_are_pinned() -> None:
    """Other people's actions are used by commit: a tag can be moved."""
    for step in ACTION["runs"]["steps"]:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step.get("uses", "a/b@" + "0" * 40))


def test_for_the_bash_of_macos() -> None:
    """Nothing that came after bash 3.2 is used, which is what runners of macOS have."""
    scripts = "\n".join(step.get("run", "") for step in ACTION["runs"]["steps"])
    later = re.findall(r"\b(?:mapfile|readarray|declare -A)\b|\$\{\w+[,^]|\|&|&>>|\$\{\w+@", scripts)
    assert later == []


# -------------------------------------------------------------------------------------------------------- installation


@pytest.mark.parametrize(
    "version", ["1.0 --index-url=http://example.com", "$(touch pwned)", "1.0\n2.0", "../evil", "@x"]
)
def test_a_version_is_a_version(runner: Runner, version: str) -> None:
    """What is installed is ckptdoctor and nothing else, whatever the input says."""
    runner.given = {"python": {"python-path": sys.executable}}
    job = runner(paths=good(runner), version=version)
    assert (job.code, "the input version should be a version" in job.log) == (2, True)
    assert job.outputs["passed"] != "true"
    assert not list(runner.workspace.rglob("pwned*"))


@pytest.mark.installs
@pytest.mark.nightly
def test_installation(runner: Runner) -> None:
    """The whole action: the checkout is installed into an environment of its own, without TensorFlow, and checks."""
    require_index()
    runner.given = {"python": {"python-path": sys.executable}}
    before = subprocess.run([sys.executable, "-m", "pip", "freeze"], capture_output=True, check=False).stdout
    job = runner(paths=f"{good(runner)}\n{bad(runner)}")
    assert (job.code, job.outputs["passed"]) == (1, "false"), job.log
    (command,) = runner.temporary.rglob("bin/ckptdoctor")
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    assert said == f"ckptdoctor, version {__version__}\n"
    packages = [each.name.lower() for each in runner.temporary.rglob("site-packages/*.dist-info")]
    assert any(name.startswith("ckptdoctor-") for name in packages)
    assert not [name for name in packages if name.startswith(("tensorflow", "keras", "tf_keras"))]
    assert subprocess.run([sys.executable, "-m", "pip", "freeze"], capture_output=True, check=False).stdout == before
