"""Parts of directories that are broken, or are not there though their names are: which one it is, and what it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ckptdoctor

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 1234\n"
IN_PLACE = {
    b"": "is an empty file", LFS: "is a Git LFS pointer to 1,234 bytes", b"<!DOCTYPE html><html>": "is an HTML page",
    bytes(64): "is nothing but zero bytes",
}  # fmt: skip
PARTS = [
    ("trainer/checkpoint-7", "optimizer.pt"),
    ("trainer/checkpoint-7", "scheduler.pt"),
    ("trainer/checkpoint-7", "model.safetensors"),
    ("deepspeed-1/global_step7", "mp_rank_00_model_states.pt"),
    ("deepspeed-1/global_step7", "*_optim_states.pt"),
]


def _copied(museum: Path, artifact: str, name: str, folder: Path) -> Path:
    shutil.copytree(museum / "torch2.13" / artifact, folder / "copy")
    return next((folder / "copy").glob(name))


@pytest.mark.parametrize(("artifact", "name"), PARTS)
@pytest.mark.parametrize("data", IN_PLACE, ids=IN_PLACE.values())
def test_what_stands_in_its_place(museum: Path, artifact: str, name: str, data: bytes, tmp_path: Path) -> None:
    """The part is named, and what lies there by what it is: as it is of a single file."""
    part = _copied(museum, artifact, name, tmp_path)
    part.write_bytes(data)
    (found,) = ckptdoctor.inspect(part.parent)
    assert found.state is None
    assert f"{part.name} {IN_PLACE[data]}" in str(found.findings)
    assert "I008" in {each.code for each in found.findings}


@pytest.mark.parametrize(("artifact", "name"), PARTS)
def test_cut(museum: Path, artifact: str, name: str, tmp_path: Path) -> None:
    """A part that is cut is named too."""
    part = _copied(museum, artifact, name, tmp_path)
    part.write_bytes(part.read_bytes()[:700])
    (found,) = ckptdoctor.inspect(part.parent)
    assert found.state is None
    assert part.name in str(found.findings)
    assert "I001" in {each.code for each in found.findings}
