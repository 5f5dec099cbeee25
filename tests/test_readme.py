"""The README is kept true: what it shows is what the commands print."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

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
