"""`ckptdoctor recipe` as users and scripts run it; tests/recipes has the frameworks run what it writes."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from support.objects import write_model

import ckptdoctor
from ckptdoctor.cli import cli


def run(*arguments: str | os.PathLike[str]) -> Result:
    """Runs the command in this process; a traceback is a failure."""
    result = CliRunner().invoke(cli, ["recipe", *(os.fspath(each) for each in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_0(fixtures_dir: Path) -> None:
    """A script on stdout, and nothing else; the API answers with the same."""
    path = fixtures_dir / "keras3.keras"
    result = run(path)
    assert (result.exit_code, result.stderr) == (0, "")
    functions = {each.name for each in ast.walk(ast.parse(result.stdout)) if isinstance(each, ast.FunctionDef)}
    assert functions == {"restore"}
    assert result.stdout == ckptdoctor.recipe(path)


def test_of_a_run_its_latest(fixtures_dir: Path) -> None:
    """A directory stands for its latest checkpoint, and what only the program knows stands at the top."""
    text = run(fixtures_dir / "run-a").stdout
    assert str(fixtures_dir / "run-a" / "ckpt-7") in text
    assert text.index("def build_model():") < text.index("def restore():")
    assert "# hidden/kernel  float32  3x8" in text


def test_1(tmp_path: Path) -> None:
    """What no script restores: one line that says why."""
    np.savez(tmp_path / "odd.npz", iterations=np.int64(7), moments=np.ones((3, 4), "float32"))
    result = run(tmp_path / "odd.npz")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no plain list" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["no/such"], ["a", "b"], ["--no-such-option", "."]])
def test_2(arguments: list[str]) -> None:
    """Wrong use."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def test_3(tmp_path: Path) -> None:
    """What cannot be read has no recipe."""
    prefix = write_model(tmp_path / "ckpt-1")
    os.unlink(f"{prefix}.data-00000-of-00001")
    result = run(prefix)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "ckpt-1.data-00000-of-00001 is missing" in result.stderr


def test_into_a_file(fixtures_dir: Path, tmp_path: Path) -> None:
    """Whole or not at all; never over an artifact."""
    out = tmp_path / "restore.py"
    assert run(fixtures_dir / "keras3.keras", "-o", out).exit_code == 0
    assert out.read_text(encoding="utf-8").endswith("velocity for 4 of 4 variables')\n")
    prefix = write_model(tmp_path / "ckpt-1")
    refused = run(fixtures_dir / "keras3.keras", "-o", f"{prefix}.index")
    assert refused.exit_code == 2
    assert ckptdoctor.inspect(prefix)[0].status.value == "complete"


WITHOUT = {
    "safetensors-optimizer.safetensors": "safetensors.torch.load_file(PATH)",
}
"""Formats, or files, that no script restores, and what does."""


def test_every_artifact_has_a_script_or_a_reason(museum: Path, museum_truth: list[dict[str, Any]]) -> None:
    """One of each format and maker: what is written is Python, whatever stands in the artifact."""
    seen: set[tuple[str, str]] = set()
    for record in museum_truth:
        key = (record["format"], record["path"].partition("/")[0])
        if key in seen:
            continue
        seen.add(key)
        result = run(museum / record["path"])
        why = WITHOUT.get(record["format"], WITHOUT.get(record["path"].rpartition("/")[2]))
        assert result.exit_code == (1 if why is not None else 0), (record["path"], result.stderr)
        ast.parse(result.stdout)
        assert (why or "") in result.stderr
    assert len(seen) > 20
