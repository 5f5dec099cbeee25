"""What a graft tells of its progress: bytes, in every format, while it writes and while it compares."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ckptdoctor.grafting import run
from ckptdoctor.grafting.building.inputs import files_of
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


@pytest.mark.parametrize("case", CASES)
def test_bytes_are_counted(files: Path, case: str) -> None:
    """The count rises while the target is written, then while it is compared and digested, and never falls."""
    donor, target, output = CASES[case]
    options = Options(generation=Generation.KERAS2 if "weights" in case else None)

    def counted(name: str, *, sha256: bool) -> tuple[list[int], int]:
        seen: list[tuple[int, int]] = []
        run.graft(
            files / donor, files / target, files / name, options, sha256=sha256,
            progress=lambda done, total: seen.append((done, total)),
        )  # fmt: skip
        counts = [done for done, _ in seen]
        assert counts == sorted(counts)
        (total,) = {total for _, total in seen}
        assert counts[-1] <= total
        return counts, total

    before = sum(map(os.path.getsize, files_of(str(files / target))))
    counts, total = counted(output, sha256=False)
    new = (total - before) // 2  # they are counted twice: written, and compared
    assert new > 0
    assert len({count for count in counts if 0 < count < before + new}) > 3
    assert counts[-1] > before + new
    longer, more = counted(f"digested-{output}", sha256=True)
    assert more > total
    assert longer[-1] > total
