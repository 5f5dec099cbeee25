"""README and documentation are kept true: what they show is what the commands print."""

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
from support.docs.picture import PICTURE, drawn
from support.docs.rules_table import with_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
SESSIONS = dict(
    session
    for text in (README, *PAGES.values())
    for session in re.findall(r"```console\n\$ ([^\n]*)\n(.*?)```", text, flags=re.DOTALL)
)


def test_what_the_readme_is() -> None:
    """It shows the command at work, and is read in one go."""
    assert len(re.findall(r"```console\n", README)) >= 5
    assert README.count("\n") <= 250


def test_the_picture() -> None:
    """It is drawn from what the commands print today."""
    shown, now = (re.findall(r">([^<]*)</text>", each) for each in (PICTURE.read_text(encoding="utf-8"), drawn()))
    assert len(now) > 40
    assert shown == now, "renew it: python tests/support/docs/picture.py"


def test_links() -> None:
    """A link in the README leads to a file of the repository."""
    targets = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(targets) > 8
    assert [each for each in targets if not (ROOT / each).is_file()] == []


def test_the_documentation_is_built(tmp_path: Path) -> None:
    """Mkdocs finds every page and every link between them."""
    pytest.importorskip("mkdocs")
    words = ["mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (tmp_path / "site" / "rules" / "S003" / "index.html").is_file()


@pytest.mark.parametrize(("command", "shown"), SESSIONS.items(), ids=SESSIONS)
def test_session(command: str, shown: str) -> None:
    """A session is what the command prints, at 80 columns."""
    words = shlex.split(command)
    assert words[0] == "ckptdoctor"
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == shown


def test_json_example() -> None:
    """The JSON that is shown is that of its artifact."""
    (example,) = re.findall(r"```python\n(\{.*?\n\})\n```", PAGES["json.md"], flags=re.DOTALL)
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
    """The table of rules is that of the rules; `python tests/support/docs/rules_table.py` brings it up to date."""
    assert with_table(PAGES["rules.md"]) == PAGES["rules.md"]


def test_python_example(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python example runs as printed."""
    example = re.search(r"```python\n(import ckptdoctor\n.*?)```", PAGES["python.md"], flags=re.DOTALL)
    assert example is not None
    monkeypatch.chdir(ROOT)
    exec(compile(example.group(1), "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines()[0].startswith("complete resumes at iteration 7")
