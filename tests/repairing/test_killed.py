"""What `repair`, `strip` and `convert` leave when they are killed: at any change to a file, all of it, or as it was.

Each run is a process of its own, which kills itself before its nth change: an opening for writing, a new name, a
removal. The next run, which nothing kills, has to end as if there had been none before it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from support.pytorch import made

import ckptdoctor
from ckptdoctor.containers.torchfiles.writing.archive import create
from ckptdoctor.state import Status

if os.name != "posix":
    pytest.skip("signals of POSIX", allow_module_level=True)

ROOT = Path(ckptdoctor.__file__).parent.parent
FIXTURES = ROOT / "fixtures"
KILLED = """
import os, signal, sys
left, own = int(sys.argv.pop(1)), os.getpid()
CHANGES = {"os.rename", "os.link", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod"}
def watch(event, arguments):
    global left
    writes = event == "open" and (
        bool(set(arguments[1]) & set("wxa+")) if isinstance(arguments[1], str)
        else bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    )
    if (writes or event in CHANGES) and os.getpid() == own:  # and no worker
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
from ckptdoctor.start import main
main()
"""


class Case(NamedTuple):
    """A command that writes.

    Attributes:
        words: The command; the artifact is `work/PATH`.
        artifact: Its name.
        make: Puts it into a folder.
        output: The name of the result; "" where it is mended in place.
    """

    words: tuple[str, ...]
    artifact: str
    make: Callable[[Path], object]
    output: str


def _fixture(name: str) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        source = FIXTURES / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)

    return make


def _torch(folder: Path) -> None:
    create(str(folder / "model.pt"), {"model": made.weights(), "optimizer": made.adam(7)})


def _moved(folder: Path) -> None:
    _fixture("run-a")(folder)
    (folder / "run-a" / "checkpoint").write_text('model_checkpoint_path: "/gone/ckpt-7"\n', encoding="utf-8")


CASES = {
    "repair a file": Case(("repair", "work/model.pt", "--fix", "reset"), "model.pt", _torch, "out.pt"),
    "repair in place": Case(("repair", "work/model.pt", "--fix", "reset", "--in-place"), "model.pt", _torch, ""),
    "repair a run": Case(("repair", "work/run-a", "--fix", "state-file", "--in-place"), "run-a", _moved, ""),
    "strip an archive": Case(("strip", "work/keras3.keras"), "keras3.keras", _fixture("keras3.keras"), "out.keras"),
    "strip a checkpoint": Case(("strip", "work/run-a/ckpt-7"), "run-a", _fixture("run-a"), "out"),
    "convert a file": Case(("convert", "work/model.pt", "--to", "torch-dcp"), "model.pt", _torch, "out"),
    "convert an archive": Case(
        ("convert", "work/keras3.keras", "--to", "tf-checkpoint"), "keras3.keras", _fixture("keras3.keras"), "out"
    ),
}


def _files(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in sorted(folder.rglob("*")) if each.is_file()}


def _run(folder: Path, case: Case, step: int) -> int:
    words = [*case.words, *(["--output", f"results/{case.output}"] if case.output else [])]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(step), *words],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in {0, -signal.SIGKILL}, (words, done.stderr)
    return done.returncode


def _prepared(folder: Path, case: Case) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "work").mkdir(parents=True)
    (folder / "results").mkdir()
    case.make(folder / "work")
    return folder


@pytest.mark.parametrize("stride", [9, pytest.param(1, marks=pytest.mark.nightly)], ids=["every ninth", "every step"])
@pytest.mark.parametrize("name", CASES)
def test_killed_at_any_change(name: str, stride: int, tmp_path: Path) -> None:
    """The artifact is as it was or mended, its copy is whole; the output is whole or absent."""
    case = CASES[name]
    whole = _prepared(tmp_path / "whole", case)
    before = _files(whole / "work")
    assert _run(whole, case, 0) == 0
    after = {kind: _files(whole / kind) for kind in ("work", "results")}
    assert after["results"] if case.output else after["work"] != before
    kills = 0
    for step in range(1, 200, stride):
        folder = _prepared(tmp_path / "killed", case)
        ended = _run(folder, case, step)
        kills += ended != 0
        there, results = _files(folder / "work"), _files(folder / "results")
        shown = {key: data for key, data in results.items() if not key.startswith(".")}
        if case.output:
            assert there == before, f"step {step}: the input was changed"
            # Data files come first: without what names them they are no checkpoint, and the next run replaces them.
            if shown.keys() != after["results"].keys():
                found = ckptdoctor.inspect(folder / "results", all=True)
                assert not any(each.state for each in found), f"step {step}: a part"
                shown = {}
        else:
            _original_or_mended(there, before, after["work"], step)
        if ended == 0:
            break
        if shown or (not case.output and there != before):
            continue  # all of it
        assert _run(folder, case, 0) == 0, f"step {step}: what was left is in the way"
        assert _files(folder / "work").keys() == after["work"].keys(), f"step {step}"
        results = _files(folder / "results")
        assert {key for key in results if not key.startswith(".")} == after["results"].keys(), f"step {step}"
    else:
        pytest.fail("it never came to its end")
    assert kills


def _original_or_mended(there: dict[str, bytes], before: dict[str, bytes], after: dict[str, bytes], step: int) -> None:
    """Each file is the one or the other, and nothing is lost."""
    for key, data in before.items():
        kept = [there.get(key), *(held for name, held in there.items() if name.startswith(f"{key}.bak"))]
        assert data in kept, f"step {step}: {key} is lost"
        assert there.get(key, data) in {data, after.get(key)}, f"step {step}: {key} is neither"


def test_a_mended_file_resumes(tmp_path: Path) -> None:
    """What these tests rest on: the mended file is another one, and is read."""
    folder = _prepared(tmp_path / "here", CASES["repair a file"])
    assert _run(folder, CASES["repair a file"], 0) == 0
    found = ckptdoctor.inspect(folder / "results" / "out.pt")[0]
    assert found.status is not Status.UNREADABLE
    assert ckptdoctor.inspect(folder / "work" / "model.pt")[0].verdict != found.verdict
