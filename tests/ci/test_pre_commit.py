"""The hook for pre-commit: which files it is for, and that it works where pre-commit installs it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.bundles import array, write_bundle
from support.commands import ROOT, Result, ckptdoctor
from support.index import require_index
from support.objects import write_model

HOOK: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))[0]


def wanted(path: str) -> bool:
    """Whether pre-commit gives a file to the hook; it searches, as Python does."""
    return re.search(HOOK["files"], path) is not None and re.search(HOOK["exclude"], path) is None


@pytest.mark.parametrize(
    "path",
    [
        "model.keras",
        "models/Model.KERAS",
        "a b/weights.h5",
        "model.weights.h5",
        "model.weights.json",
        "old.hdf5",
        "run/ckpt-7.index",
        "run/ckpt-7.data-00000-of-00001",
        "export/1/saved_model.pb",
        "saved_model.pbtxt",
    ],
)
def test_wanted(path: str) -> None:
    """Files by which an artifact is known."""
    assert wanted(path)


@pytest.mark.parametrize(
    "path",
    [
        "train.py",
        "index",
        "config.json",
        "run/checkpoint",
        "export/1/variables/variables.index",
        "export/1/variables/variables.data-00000-of-00001",
        "export/1/fingerprint.pb",
        "not_saved_model.pb",
        "notes.h5.txt",
    ],
)
def test_not_wanted(path: str) -> None:
    """Files that are none, and those that are read with another one."""
    assert not wanted(path)


def git(folder: Path, *arguments: str) -> None:
    """Runs git with an identity of its own."""
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with artifacts from which training resumes: a checkpoint in two shards, a SavedModel, a `.keras`."""
    folder = tmp_path / "repository"
    write_model(folder / "run with spaces" / "ckpt-7")
    for name in ("savedmodel", "keras3.keras"):
        source = ROOT / "fixtures" / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "train.py").write_text("pass\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    return folder


def try_repo(repository: Path, home: Path) -> tuple[int, str]:
    """`pre-commit try-repo`: the hook as it is in this checkout, installed by pre-commit."""
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "try-repo", str(ROOT), "ckptdoctor", "--all-files", "--color=never"],
        cwd=repository,
        env={**{k: v for k, v in os.environ.items() if not k.startswith("GIT_")}, "PRE_COMMIT_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    return done.returncode, done.stdout + done.stderr


def release(repository: Path) -> None:
    """Adds a checkpoint without optimizer state."""
    write_bundle(repository / "release" / "ckpt-1", {"w": array([1.0])})
    git(repository, "add", "--all")


@pytest.mark.installs
@pytest.mark.nightly
def test_try_repo(repository: Path, tmp_path: Path) -> None:
    """Installed by pre-commit it passes what is good, and fails what is bad with the reason, each artifact once."""
    if not (ROOT / ".git").exists():
        pytest.skip("pre-commit installs hooks from a git repository, and this is no checkout")
    require_index()
    release(repository)
    code, said = try_repo(repository, tmp_path / "home")
    assert (code, "ckptdoctor check" in said) == (1, True), said
    assert said.count("S001") == 1
    assert "4 artifacts: 3 passed, 1 failed" in said
    assert "ok      run with spaces/ckpt-7" in said


def test_entry(repository: Path) -> None:
    """Without what is bad, or with a policy for it, the hook passes: the command on the files that it is given."""
    assert hook(repository).code == 0
    release(repository)
    assert hook(repository).code == 1
    (repository / "pyproject.toml").write_text(
        "[tool.ckptdoctor]\n[[tool.ckptdoctor.overrides]]\npaths = ['release/']\nexpect = 'weights-only'\n"
    )
    assert hook(repository).code == 0


def test_shards(repository: Path, museum: Path) -> None:
    """Weights in shards are judged once, whichever of their files have changed."""
    for each in museum.rglob("k3.15tf-adam-wjson*.weights.*"):
        shutil.copy(each, repository)
    git(repository, "add", "--all")
    assert "4 artifacts: 4 passed" in hook(repository).out
    git(repository, "rm", "--quiet", "--cached", "*.weights.json")
    assert "4 artifacts: 4 passed" in hook(repository).out


def hook(repository: Path) -> Result:
    """What pre-commit runs."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, check=True, capture_output=True, text=True)
    files = [name for name in listed.stdout.split("\0") if name and wanted(name)]
    program, *arguments = HOOK["entry"].split()
    assert program == "ckptdoctor"
    return ckptdoctor(*arguments, *files, cwd=repository)
