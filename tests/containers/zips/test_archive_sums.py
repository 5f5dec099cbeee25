"""Checksums of archives under `--deep`: every byte of a member counts, and is read once."""

from __future__ import annotations

import itertools
import os
import shutil
import zipfile
from pathlib import Path

import pytest

import ckptdoctor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.bytes.window import Place
from ckptdoctor.containers.zips.archive_sums import checksum, members

WEIGHTS = "model.weights.h5"


@pytest.fixture
def archive(tmp_path: Path, fixtures_dir: Path) -> Path:
    """A `.keras` in which nothing is packed, as Keras writes it."""
    return Path(shutil.copy(fixtures_dir / "keras3.keras", tmp_path))


def span(archive: Path) -> tuple[int, int]:
    """Where the weights begin in the archive, and where they end."""
    with zipfile.ZipFile(archive) as opened:
        info = opened.getinfo(WEIGHTS)
        start = archive.read_bytes().index(b"\x89HDF\r\n\x1a\n")
        return start, start + info.file_size


def test_sound(archive: Path) -> None:
    """A sound archive has no damaged member."""
    assert "I004" not in codes(archive)


def test_every_byte_counts(archive: Path) -> None:
    """A flipped bit is seen wherever it is: in a tensor, in the attributes, in what HDF5 does not use."""
    start, end = span(archive)
    sound = archive.read_bytes()
    for place in [*range(start + 2000, end, (end - start) // 30), end - 1]:
        changed = bytearray(sound)
        changed[place] ^= 0x10
        archive.write_bytes(changed)
        assert {"I004", "I001", "I007"} & codes(archive), place


def codes(archive: Path) -> set[str]:
    """The findings under `--deep`."""
    (result,) = ckptdoctor.check(archive, deep=True).results
    return {each.code for each in result.findings}


def test_no_byte_is_read_twice(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors are not read again for the archive's checksum."""
    start, end = span(archive)
    read: list[tuple[int, int]] = []
    original = RegularFile.readinto

    def note(self: RegularFile, offset: int, buffer: memoryview) -> None:
        read.append((offset, offset + len(buffer)))
        original(self, offset, buffer)

    monkeypatch.setattr(RegularFile, "readinto", note)
    from ckptdoctor.checking.deep import scan
    from ckptdoctor.examination import examine

    (examined,) = examine(archive)
    assert examined.state is not None
    read.clear()
    assert scan(examined.state, str(archive)).damaged == ()
    inside = sorted(each for each in read if each[0] >= start and each[1] <= end)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(inside))
    assert sum(one[1] - one[0] for one in inside) == end - start


def test_overlapping_ranges(archive: Path) -> None:
    """Tensors that lie over each other leave no gap and no part twice: the parts are the member."""
    start, end = span(archive)
    ranges = [Place(str(archive), start + at, 100) for at in (0, 50, 150, 150, 400)]
    (member,) = [each for each in members(str(archive), ranges) if each.name == WEIGHTS]
    at = start
    for part in member.parts:
        assert part.start == at
        at += part.nbytes
    assert at == end
    sums = {part: checksum(part) for part in member.parts}
    assert member.agrees(sums)
    assert not member.agrees({**sums, member.parts[0]: 1})
    assert not member.agrees(dict(list(sums.items())[1:]))


def test_outside_of_members(archive: Path) -> None:
    """Ranges of other files, and such as leave a member, are none of its parts."""
    start, end = span(archive)
    ranges = [Place("other", start, 10), Place(str(archive), end - 5, 10), Place(str(archive), start, 0)]
    assert members(str(archive), ranges) == ()
    assert checksum(Place(str(archive), 0, os.path.getsize(archive))) > 0
