"""Grafts beside others: two at once, inputs that change meanwhile, directories that go away, a disk that fills up.

Every graft here is a process of its own, as a user starts it; what happens to it is done at a step that the child
announces by changing its directory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.objects import legacy, model, tracked, variables, write_objects

import ckptdoctor

ROOT = Path(ckptdoctor.__file__).parent.parent

KINDS = {
    "checkpoint": ("run-a/ckpt-7", "out-1"),
    "SavedModel": ("savedmodel", "out"),
    "h5": ("whole-model.h5", "out.h5"),
    "keras": ("keras3.keras", "out.keras"),
    "dump": ("optimizer.pkl", "out.pkl"),
}

every_kind = pytest.mark.parametrize("kind", KINDS)


def _command(target: Path, out: Path, *more: str) -> list[str]:
    return ["graft", "--into", str(target), "--iterations", "4242", "--output", str(out), *more]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _start(words: list[str], hook: str = "") -> subprocess.Popen[str]:
    """A graft; `hook` is run in its process first."""
    code = f"{hook}\nimport sys\nfrom ckptdoctor.cli import main\nsys.argv = ['ckptdoctor', *sys.argv[1:]]\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its code, and its one sentence."""
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 1, said
    return process.returncode, said


def _at(step: str, action: str) -> str:
    """Code that does something before the first call of `os.<step>` that a graft makes."""
    return f"""
import os, shutil
real = os.{step}
def first(*arguments, **options):
    os.{step} = real
    {action}
    return real(*arguments, **options)
os.{step} = first
"""


@every_kind
def test_several_grafts_to_one_output(kind: str, fixtures_dir: Path, tmp_path: Path) -> None:
    """One of them wins and the others are refused; the output is whole and nothing lies beside it."""
    target, name = KINDS[kind]
    for _ in range(3):
        started = [_start(_command(fixtures_dir / target, tmp_path / name)) for _ in range(4)]
        ended = [_ended(process) for process in started]
        assert sorted(code for code, _ in ended) == [0, 4, 4, 4]
        for code, said in ended:
            assert code == 0 or "exists already" in said or "appeared meanwhile" in said
        (made,) = ckptdoctor.inspect(tmp_path / name)
        assert (made.status.value, made.optimizers[0].iterations) == ("complete", 4242)
        assert not list(tmp_path.glob(".*"))
        for path in tmp_path.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@every_kind
@pytest.mark.parametrize("step", ["fsync", "mkdir"])
def test_the_directory_goes_away(kind: str, step: str, fixtures_dir: Path, tmp_path: Path) -> None:
    """A directory that is removed while the result is built is a refusal with a sentence."""
    target, name = KINDS[kind]
    place = tmp_path / "place"
    place.mkdir()
    hook = _at(step, f"shutil.rmtree({str(place)!r})")
    code, said = _ended(_start(_command(fixtures_dir / target, place / name), hook))
    assert code == 4, said
    assert said.startswith("ckptdoctor: ")
    assert not place.exists() or not list(place.iterdir())


@every_kind
def test_an_input_that_changes_meanwhile(kind: str, fixtures_dir: Path, tmp_path: Path) -> None:
    """What was read and what is copied would be two different files: refused, and nothing is left."""
    target, name = KINDS[kind]
    first = target.partition("/")[0]
    copied = tmp_path / "in" / first
    if (fixtures_dir / first).is_dir():
        shutil.copytree(fixtures_dir / first, copied)
    else:
        copied.parent.mkdir()
        shutil.copy(fixtures_dir / first, copied)
    files = sorted(path for path in (tmp_path / "in").rglob("*") if path.is_file() and path.stat().st_size > 100)
    others = ("checkpoint", "fingerprint.pb", "ckpt-3.index", "ckpt-3.data-00000-of-00001")
    changed = next(path for path in files if path.name not in others)
    place = tmp_path / "place"
    place.mkdir()
    hook = _at("fsync", f"f = open({str(changed)!r}, 'r+b'); f.seek(64); f.write(bytes(8)); f.close()")
    code, said = _ended(_start(_command(tmp_path / "in" / target, place / name), hook))
    assert (code, "changed while" in said) == (4, True), said
    assert not list(place.iterdir())


@pytest.fixture
def full_disk(tmp_path: Path) -> Path:
    """A file system of one megabyte; skipped where none can be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    return place


def test_a_full_disk(full_disk: Path, tmp_path: Path) -> None:
    """No space left on the device, however much of the result fits: code 4, and the disk is as empty as before."""
    net = model({"layer/kernel": (512, 512), "other/kernel": (256, 256)})
    target = write_objects(tmp_path / "in" / "ckpt-7", tracked(model=net, optimizer=legacy(variables(net))))
    try:
        for filled in (0, 900_000, 1_040_000):
            filler = full_disk / "filler"
            filler.write_bytes(bytes(filled))
            code, said = _ended(_start(_command(Path(target), full_disk / "out")))
            assert code == 4, said
            assert "no space left" in said
            assert os.listdir(full_disk) == ["filler"]
    finally:
        subprocess.run(["umount", "-l", str(full_disk)], check=True)
