"""What is released: what the distributions hold, and that everything around them says the same."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from support.commands import ROOT
from support.index import require_index

import ckptdoctor

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
RECIPE: dict[str, Any] = yaml.safe_load((ROOT / ".conda" / "recipe.yaml").read_text(encoding="utf-8"))


@pytest.mark.installs
def test_distributions(tmp_path: Path) -> None:
    """The wheel has the package, its pages, schemas and types, and no tests; the sdist has what runs the tests."""
    require_index()
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *map(str, tmp_path.iterdir())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {name.split("/")[0] for name in names} == {"ckptdoctor", f"ckptdoctor-{ckptdoctor.__version__}.dist-info"}
    tracked = subprocess.run(["git", "ls-files", "ckptdoctor"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode == 0:
        assert set(tracked.stdout.split()) <= names
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as sdist:
        held = {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}
    assert {"tests/conftest.py", "fixtures/museum.tar.xz", "CONTRIBUTING.md", "action.yml"} <= held


def test_recipe_says_what_the_project_says() -> None:
    """The same version, the same dependencies; what only pip's markers can say is left to pip."""
    assert RECIPE["context"]["version"] == ckptdoctor.__version__
    wanted = {each.name: str(each.specifier) for each in map(Requirement, PROJECT["project"]["dependencies"])}
    wanted.pop("zlib-ng")  # conda's zlib is that
    told = dict(each.split(" ", 1) for each in RECIPE["requirements"]["run"])
    assert told.pop("python") == PROJECT["project"]["requires-python"]
    assert {name.replace("_", "-"): version for name, version in told.items()} == wanted


@pytest.mark.parametrize("name", ["test.yml", "docs.yml", "release.yml"])
def test_workflows(name: str) -> None:
    """Each can be read, has least rights and an end, and runs files that are there."""
    text = (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    found = yaml.safe_load(text)
    assert set(found) == {"name", True, "permissions", "jobs"} | (
        {"concurrency"} & set(found)
    )  # YAML 1.1: `on` is true
    for job in found["jobs"].values():
        assert job["timeout-minutes"] <= 90
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
    for path in re.findall(r"(?:fixtures/[\w.-]+|\.ci/run|constraints-dev\.txt)", text):
        assert (ROOT / path).exists()


def test_image_runs_what_the_project_has() -> None:
    """The extras of the image are the project's, and what it copies is there."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    extras = re.search(r'"\.\[(.*?)\]"', text)
    assert extras is not None
    assert set(extras[1].split(",")) <= set(PROJECT["project"]["optional-dependencies"])
    for line in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE):
        assert all((ROOT / each).exists() for each in line.split())
    assert "USER ckptdoctor" in text
