"""What is staged is on the disk before it is put in place, and what the disk refuses stops the graft."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.errors import GraftRefused
from ckptdoctor.grafting import run
from ckptdoctor.grafting.building import flushing
from ckptdoctor.grafting.building.flushing import Flushing


def _recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    synced: list[str] = []
    sync = flushing.fsync_path

    def recording(path: str) -> None:
        synced.append(path)
        sync(path)

    monkeypatch.setattr(flushing, "fsync_path", recording)
    return synced


def test_everything_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file below the folder, and every directory that lists one, is synced when `finish` returns."""
    synced = _recorded(monkeypatch)
    with Flushing(str(tmp_path)) as flushed:
        (tmp_path / "variables").mkdir()
        for name in ("saved_model.pb", "variables/variables.index"):
            (tmp_path / name).write_bytes(b"x" * 5000)
        flushed.finish()
    names = {os.path.relpath(path, tmp_path) for path in synced}
    assert names == {".", "variables", "saved_model.pb", "variables/variables.index"}


def test_large_files_are_synced_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is given a large file while it is still being written, and again at its end."""
    monkeypatch.setattr(flushing, "_WORTH_IT", 1 << 20)
    told = threading.Event()
    sync = flushing.fsync_path

    def telling(path: str) -> None:
        sync(path)
        told.set()

    monkeypatch.setattr(flushing, "fsync_path", telling)
    with Flushing(str(tmp_path)) as flushed, open(tmp_path / "large", "wb") as file:
        file.write(b"x" * (4 << 20))
        file.flush()
        assert told.wait(30)
        told.clear()
        file.write(b"y")
        file.flush()
        flushed.finish()
        assert told.is_set()


def test_a_failure_elsewhere_ends_it(tmp_path: Path) -> None:
    """When the block ends with an error, the thread ends as well, and the error is the block's."""
    before = threading.active_count()
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ValueError, match="mine"), Flushing(str(tmp_path)):
        raise ValueError("mine")
    assert threading.active_count() == before


def test_a_disk_that_does_not_take_it(tmp_path: Path, fixtures_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is found to be full while it is synced ends the graft in one sentence; nothing is put in place."""
    shutil.copytree(fixtures_dir / "run-a", tmp_path / "run-a")

    def full(path: str) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    monkeypatch.setattr(flushing, "fsync_path", full)
    with pytest.raises(GraftRefused, match=r"writing failed \(no space left on device\); nothing is left behind"):
        run.graft(tmp_path / "run-a", tmp_path / "run-a/ckpt-3", tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["run-a"]
