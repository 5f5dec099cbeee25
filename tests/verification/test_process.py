"""The child process: what is said where there is no framework, no answer, or no time."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import ckptdoctor
from ckptdoctor.cli import cli
from ckptdoctor.errors import UsageProblem
from ckptdoctor.verification import Outcome, process

Interpreter = Callable[[str], str]


@pytest.fixture(name="interpreter")
def _interpreter(tmp_path: Path) -> Interpreter:
    """Makes an executable that stands for a Python interpreter."""

    def make(script: str) -> str:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return make


def bare() -> str:
    """A Python without any package."""
    return f'exec "{sys.executable}" -I -S "$@"'


@pytest.mark.parametrize(
    ("artifact", "module"), [("keras3.keras", "keras"), ("whole-model.h5", "tensorflow"), ("tf1", "tensorflow")]
)
def test_no_framework(fixtures_dir: Path, interpreter: Interpreter, artifact: str, module: str) -> None:
    """Without the framework there is one sentence, with the line that installs it, and exit code 2."""
    python = interpreter(bare())
    result = CliRunner().invoke(cli, ["verify", str(fixtures_dir / artifact), "--python", python])
    assert result.exit_code == 2
    assert result.stderr == (
        f"ckptdoctor: {fixtures_dir / artifact}: verify needs {module}, which is not installed for {python}: "
        'pip install "ckptdoctor[tensorflow]"\n'
    )
    assert result.stdout == ""


def test_no_interpreter(fixtures_dir: Path) -> None:
    """An interpreter that is none is wrong use."""
    with pytest.raises(UsageProblem, match="cannot be run"):
        ckptdoctor.verify(fixtures_dir / "keras3.keras", python="/nonexistent/python")


def test_timeout(fixtures_dir: Path, interpreter: Interpreter) -> None:
    """A framework that takes too long has restored nothing, and it is said why."""
    found = ckptdoctor.verify(fixtures_dir / "keras3.keras", python=interpreter("exec sleep 60"), timeout=0.2)
    assert not found.ok
    assert found.error == "the framework did not answer within 0.2 s (--timeout)"


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (
            "echo 'Illegal instruction' >&2; exit 3",
            "the framework's process ended with code 3 and without an answer: Illegal instruction",
        ),
        ("kill -ABRT $$", "the framework's process was ended by signal 6"),
        ("exit 0", "the framework's process ended with code 0 and without an answer"),
    ],
)
def test_crash(fixtures_dir: Path, interpreter: Interpreter, script: str, sentence: str) -> None:
    """A framework that crashes is a sentence and exit code 1, never a traceback."""
    result = CliRunner().invoke(cli, ["verify", str(fixtures_dir / "keras3.keras"), "--python", interpreter(script)])
    assert result.exit_code == 1
    assert "not verified" in result.stdout
    assert " ".join(sentence.split()) in " ".join(result.stdout.split())


def test_nothing_to_restore(fixtures_dir: Path) -> None:
    """Where the artifact holds no optimizer state no framework is asked, and that is no failure."""
    found = ckptdoctor.verify(fixtures_dir / "lost.weights.h5", python="/nonexistent/python")
    assert found.ok
    assert found.nothing_to_restore
    assert found.iterations.outcome is Outcome.ABSENT


def test_a_missing_path_is_wrong_use() -> None:
    """As for every command."""
    assert CliRunner().invoke(cli, ["verify", "/nonexistent"]).exit_code == 2


def test_an_unreadable_artifact(tmp_path: Path) -> None:
    """Exit code 3, before any framework is asked."""
    path = tmp_path / "broken.keras"
    path.write_bytes(b"PK\x03\x04 and nothing more")
    assert CliRunner().invoke(cli, ["verify", str(path)]).exit_code == 3


def test_a_missing_model_is_wrong_use(fixtures_dir: Path) -> None:
    """--model must be there."""
    with pytest.raises(UsageProblem, match="--model"):
        ckptdoctor.verify(fixtures_dir / "keras3.keras", model="/nonexistent")


def test_the_api_stays_callable(fixtures_dir: Path) -> None:
    """The package of the same name does not hide the function, before or after it was imported."""
    for _ in range(2):
        assert ckptdoctor.verify(fixtures_dir / "lost.weights.h5").ok


def test_the_child_is_quiet_and_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow's chatter is off, and no GPU is taken from whoever trains on it."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    environment = process._environment()
    assert environment["TF_CPP_MIN_LOG_LEVEL"] == "3"
    assert environment["CUDA_VISIBLE_DEVICES"] == "-1"


def test_the_child_keeps_to_old_syntax() -> None:
    """The child's modules parse as Python 3.7, import only each other, and nobody else imports a framework."""
    folder = Path(process.__file__).parent / "child"
    for path in folder.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ckptdoctor"):
                assert node.module.startswith("ckptdoctor.verification.child"), path
    parents = [path for path in Path(ckptdoctor.__file__).parent.rglob("*.py") if folder not in path.parents]
    for path in parents:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & {"tensorflow", "keras", "tf_keras"}, path


def test_the_workspace_is_removed() -> None:
    """Nothing stays behind."""
    with process.workspace() as folder:
        assert os.path.isdir(folder)
    assert not os.path.exists(folder)
