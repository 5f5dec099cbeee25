"""What a graft tells of its progress: bytes, in every format, while it writes and while it compares."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ckptdoctor.grafting import run
from ckptdoctor.grafting.compare import hold_against_plan
from ckptdoctor.grafting.options import Options
from ckptdoctor.state import Generation


@pytest.fixture
def files(tmp_path: Path, fixtures_dir: Path) -> Path:
    """A folder with copies of the fixtures, to graft in."""
    shutil.copytree(fixtures_dir / "run-a", tmp_path / "run-a")
    for name in ("whole-model.h5", "keras3.keras", "lost.weights.h5"):
        shutil.copy(fixtures_dir / name, tmp_path / name)
    return tmp_path


CASES = {
    "HDF5": ("run-a", "whole-model.h5", "out.h5"),
    ".keras": ("run-a", "keras3.keras", "out.keras"),
    ".weights.h5": ("whole-model.h5", "lost.weights.h5", "out.weights.h5"),
    "checkpoint": ("keras3.keras", "run-a/ckpt-7", "out-1"),
}


@pytest.mark.parametrize("sha256", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_bytes_are_counted(files: Path, monkeypatch: pytest.MonkeyPatch, case: str, *, sha256: bool) -> None:
    """The count rises while the target is written, before anything is compared, and never falls or passes the total."""
    donor, target, output = CASES[case]
    seen: list[tuple[int, int]] = []
    written: list[int] = []

    def comparing(*arguments: object) -> None:
        written.append(len(seen))
        hold_against_plan(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("ckptdoctor.grafting.apply.hold_against_plan", comparing)
    generation = Generation.KERAS2 if "weights" in case else None
    run.graft(
        files / donor, files / target, files / output, Options(generation=generation), sha256=sha256,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    counts = [done for done, _ in seen]
    (before,) = written
    assert len(set(counts[:before])) > 3
    assert counts == sorted(counts)
    assert len({total for _, total in seen}) == 1
    assert counts[-1] <= seen[0][1]
    assert counts[before - 1] < counts[-1]
