"""The README is kept true: what it shows is what the commands print."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.rules_table import with_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SESSIONS = re.findall(r"```console\n\$ ([^\n]*)\n(.*?)```", README, flags=re.DOTALL)


def test_there_are_sessions() -> None:
    """The README shows the command at work."""
    assert len(SESSIONS) >= 4


@pytest.mark.parametrize(("command", "shown"), SESSIONS, ids=[command for command, _ in SESSIONS])
def test_session(command: str, shown: str) -> None:
    """A session in the README is what the command prints, at 80 columns."""
    words = shlex.split(command)
    assert words[0] == "ckptdoctor"
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == shown


def test_json_example() -> None:
    """The JSON in the README is that of its artifact, as far as it is shown."""
    (example,) = re.findall(r"```python\n(\{.*?\n\})\n```", README, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-m", "ckptdoctor", "inspect", "--format", "json", "fixtures/run-a"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert _shown(ast.literal_eval(example), json.loads(done.stdout)) == ast.literal_eval(example)


def _shown(example: Any, real: Any) -> Any:
    """The part of the real document that an example shows: its keys, and the first entry of lists."""
    if isinstance(example, dict):
        return {name: _shown(value, real[name]) for name, value in example.items()}
    if isinstance(example, list) and example and isinstance(example[0], dict):
        return [_shown(example[0], real[0])]
    return "…" if example == "…" else real


def test_rules() -> None:
    """The table of rules is that of the rules; `python tests/support/rules_table.py` brings it up to date."""
    assert with_table(README) == README


def test_python_example(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python example runs as printed."""
    example = re.search(r"```python\n(import ckptdoctor\n.*?)```", README, flags=re.DOTALL)
    assert example is not None
    monkeypatch.chdir(ROOT)
    exec(compile(example.group(1), "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[0].startswith("complete resumes at iteration 7")
