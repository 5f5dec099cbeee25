"""The pages of the rules, against the frameworks of today.

Their code runs and leaves what the page promises, their commands run on real artifacts, and every symbol that they name
exists.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path

import pytest
from support.commands import ckptdoctor
from support.frameworks import child
from support.pages import OF_TORCH, blocks, commands, prose
from support.pages import TEXTS as EVERY

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        importlib.util.find_spec("tf_keras") is None, reason="TensorFlow and tf_keras are not installed"
    ),
]

TEXTS = {page: text for page, text in EVERY.items() if page not in OF_TORCH}
CODE = {page: [block.code for block in blocks(text) if block.language == "python"] for page, text in TEXTS.items()}
NOT_RUN = {"verify", "--map", "--explain-config"}
"""Commands with one of these words are parsed elsewhere, but name what is not there or take long."""
COMMANDS: dict[tuple[str, ...], str] = {}
"""Each command line, and a page that has it: several have the same."""
for _page, _text in TEXTS.items():
    COMMANDS |= {(*each,): _page for each in commands(_text) if not NOT_RUN & {*each} and each[2:]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `made` holds what the pages speak of."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "made").mkdir()
    child("page_code.py", "make", folder / "made")
    return folder


def test_code_runs(made: Path) -> None:
    """Every block of Python runs, page by page, and leaves what the page promises."""
    found = child("page_code.py", "run", made, given={page: code for page, code in CODE.items() if code})
    assert len(found) > 20
    assert {page: wrong for page, wrong in found.items() if wrong} == {}


def test_symbols_exist() -> None:
    """Every dotted name of a framework exists, in prose too."""
    text = "\n".join(prose(text) for text in TEXTS.values())
    inline = " ".join(re.findall(r"`([^`]+)`", text)) + " ".join(code for page in CODE.values() for code in page)
    names = sorted(set(re.findall(r"\b(?:tf|keras|tf_keras|h5py|numpy)(?:\.\w+)+", inline)))
    assert len(names) > 20
    assert child("page_code.py", "resolve", given=names) == []


@pytest.mark.parametrize("words", COMMANDS, ids=[f"{page}-{words[1]}" for words, page in COMMANDS.items()])
def test_commands_run(made: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    """Every command line does what it is shown for, on artifacts of the names that stand in it."""
    folder = shutil.copytree(made / "made", tmp_path / "made")
    result = ckptdoctor(*words[1:], cwd=folder)
    # A check may find what the page is about; what it must not be is a misuse or unreadable.
    assert result.code in ({0, 1} if words[1] == "check" else {0}), result.err
    if words[1] == "graft":
        state = ckptdoctor("inspect", "--quiet", words[words.index("--output") + 1], cwd=folder)
        count = words[words.index("--iterations") + 1] if "--iterations" in words else None
        assert f"at iteration {int(count):,} with" if count else "resumes at iteration" in state.out, state.out
