"""Checksums of every archive that tensors lie in: a file, those of a directory, those within a file."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

import ckptdoctor


def _codes(path: Path) -> set[str]:
    (result,) = ckptdoctor.check(path, deep=True).results
    return {each.code for each in result.findings if each.severity.value == "error"}


def _storages(file: Path) -> list[tuple[int, int]]:
    """Where the bytes of each storage are."""
    data = file.read_bytes()
    found = []
    with zipfile.ZipFile(file) as archive:
        for each in archive.infolist():
            if "/data/" in each.filename and each.file_size:
                at = each.header_offset
                skip = sum(int.from_bytes(data[at + place : at + place + 2], "little") for place in (26, 28))
                found.append((at + 30 + skip, each.file_size))
    return found


@pytest.mark.parametrize(
    ("artifact", "file"),
    [
        ("torch2.13/adam.pt", ""),
        ("torch2.13/lightning.ckpt", ""),
        ("torch2.13/trainer", "checkpoint-7/optimizer.pt"),
        ("torch1.12/accelerate-bin", "optimizer.bin"),
    ],
)
def test_archives_of_torch(museum: Path, tmp_path: Path, artifact: str, file: str) -> None:
    """torch.load itself checks no CRC-32: a flipped bit in any storage is told, and nothing where there is none."""
    whole = museum / artifact
    copy = tmp_path / whole.name
    (shutil.copytree if whole.is_dir() else shutil.copy)(whole, copy)
    assert "I004" not in _codes(copy)
    changed = copy / file if file else copy
    sound = changed.read_bytes()
    places = _storages(changed)
    assert len(places) > 3
    for start, nbytes in (places[0], places[len(places) // 2], places[-1]):
        flipped = bytearray(sound)
        flipped[start + nbytes - 1] ^= 1
        changed.write_bytes(flipped)
        assert "I004" in _codes(copy), start


def test_archives_within_a_file(museum: Path, tmp_path: Path) -> None:
    """Each chunk in a `.distcp` is an archive of its own."""
    copy = tmp_path / "run"
    shutil.copytree(museum / "torch2.13/dcp-names", copy)
    assert not _codes(copy)
    (held,) = copy.glob("*.distcp")
    data = bytearray(held.read_bytes())
    header = data.index(b"PK\x03\x04", data.index(b"data/0") - 80)
    skip = sum(int.from_bytes(data[header + place : header + place + 2], "little") for place in (26, 28))
    data[header + 30 + skip] ^= 1
    held.write_bytes(data)
    assert "I004" in _codes(copy)
