"""What the documentation shows for pipelines is run: the workflow, the GitLab job, the pytest file, the policy file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from support.actions import Runner
from support.commands import ROOT, ckptdoctor, environment

PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    """The one block of code in the page with this text."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.DOTALL | re.MULTILINE)
    (only,) = [each for each in found if containing in each]
    text: str = only
    return text


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with what the examples name: a run directory and models, and the command itself."""
    folder = tmp_path / "project"
    fixtures = ROOT / "fixtures"
    shutil.copytree(fixtures / "run-a", folder / "runs" / "latest")
    (folder / "models").mkdir()
    shutil.copy(fixtures / "keras3.keras", folder / "models" / "good.keras")
    programs = tmp_path / "programs"
    programs.mkdir()
    command = programs / "ckptdoctor"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m ckptdoctor "$@"\n')
    command.chmod(0o755)
    return folder


def spoil(project: Path) -> None:
    """Adds a model that is none."""
    (project / "models" / "bad.keras").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


@pytest.mark.skipif(shutil.which("bash") is None, reason="the steps of the action are for bash")
def test_workflow(project: Path, tmp_path: Path) -> None:
    """The workflow uses the action's inputs and outputs by their names, and they do what it says."""
    steps: list[dict[str, Any]] = yaml.safe_load(block("yaml", "runs-on:"))["jobs"]["check"]["steps"]
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    (used,) = [step for step in steps if step["uses"].endswith("/ckptdoctor")]
    assert set(used["with"]) <= set(action["inputs"])
    named = set(re.findall(rf"steps\.{used['id']}\.outputs\.([\w-]+)", str(steps)))
    assert named == {"sarif-file"} <= set(action["outputs"])

    (tmp_path / "temporary").mkdir()
    given = {"python": {}, "install": {"command": str(tmp_path / "programs" / "ckptdoctor")}}
    # YAML's `true` and `1` reach an action as text.
    inputs = {
        name.replace("-", "_"): value if isinstance(value, str) else str(value).lower()
        for name, value in used["with"].items()
    }
    runner = Runner(ROOT, project, tmp_path / "temporary", given)
    job = runner(**inputs)
    assert (job.code, Path(job.outputs["sarif-file"]).is_file()) == (0, True), job.log
    spoil(project)
    assert runner(**inputs).outputs["passed"] == "false"


@pytest.mark.skipif(shutil.which("bash") is None, reason="GitLab runs scripts with bash")
def test_gitlab(project: Path, tmp_path: Path) -> None:
    """The job's script writes the report that GitLab collects, passing or not."""
    job: dict[str, Any] = yaml.safe_load(block("yaml", "junit:"))["checkpoints"]
    install, *script = job["script"]
    assert install.startswith("pip install ")
    variables = environment(PATH=f"{tmp_path / 'programs'}{os.pathsep}{os.environ['PATH']}")

    def run() -> tuple[int, list[str]]:
        done = subprocess.run(["bash", "-e", "-c", "\n".join(script)], cwd=project, env=variables, check=False)
        report = ET.parse(project / job["artifacts"]["reports"]["junit"]).getroot()
        return done.returncode, [each.tag for each in report.iter() if each.tag in {"failure", "error"}]

    assert run() == (0, [])
    spoil(project)
    code, failures = run()
    assert (code, len(failures)) == (3, 1)
    assert job["artifacts"]["when"] == "always"


def test_pytest_example(project: Path) -> None:
    """The test file passes what is good, and fails what is bad with its findings."""
    spoil(project)
    (project / "test_models.py").write_text(block("python", "def test_"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_models.py"],
        cwd=project, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert re.search(r"AssertionError: \['I008 ", done.stdout)


def test_policy_file(project: Path) -> None:
    """`--explain-config` says of the policy file what the page shows."""
    (project / "pyproject.toml").write_text(block("toml", "[tool.ckptdoctor]\nmin"))
    command, _, shown = block("text", "--explain-config").partition("\n")
    arguments = command.removeprefix("$ ckptdoctor ").split()
    result = ckptdoctor(*arguments, cwd=project)
    assert (result.code, result.err, result.out) == (0, "", shown)


def test_policy_in_force(project: Path) -> None:
    """Its overrides hold where they say."""
    (project / "pyproject.toml").write_text(block("toml", "[tool.ckptdoctor]\nmin"))
    for place in ("release/lost.h5", "models/lost-weights.h5", "models/lost.h5"):
        (project / place).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "fixtures" / "lost.weights.h5", project / place)
    assert ckptdoctor("check", "release/lost.h5", "models/lost-weights.h5", cwd=project).code == 0
    assert ckptdoctor("check", "models/lost.h5", cwd=project).code == 1
    assert ckptdoctor("check", "release/lost.h5", "--expect", "resumable", cwd=project).code == 1


def test_pre_commit_example() -> None:
    """The configuration for pre-commit names the hook that is there."""
    (repository,) = yaml.safe_load(block("yaml", "hooks:"))["repos"]
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert [each["id"] for each in repository["hooks"]] == [each["id"] for each in hooks]
    assert ckptdoctor("check", *repository["hooks"][0]["args"], ROOT / "fixtures" / "lost.weights.h5").code == 0
