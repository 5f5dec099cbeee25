"""Tensors held against one another by bytes, and by the checksum of the archive that the first one lies in."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from ckptdoctor.containers.bytes.window import Place
from ckptdoctor.containers.tensors import raw_places
from ckptdoctor.containers.tensors.raw_places import RawPlaces
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.references import FileRange, TensorRef

SIZES = (4096, 2 << 20, (17 << 20) + 12)
"""Bytes: compared; summed up; summed up by two threads."""


def ref(path: Path, start: int, nbytes: int) -> TensorRef:
    """The bytes of a file as a tensor."""
    return TensorRef("t", "uint8", (nbytes,), FileRange(str(path), start, nbytes))


@pytest.fixture(params=SIZES)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, bytes, int, int]:
    """An archive of three members, the bytes of the second, where they are, and their CRC-32."""
    data = np.random.default_rng(7).bytes(request.param)
    path = tmp_path / "one.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (("before", b"123"), ("tensor", data), ("after", b"4" * 99)):
            archive.writestr(name, content)
    with ZipArchive(str(path)) as opened:
        return path, data, opened.offset("tensor"), opened.crc("tensor")


def test_the_same_bytes(stored: tuple[Path, bytes, int, int], tmp_path: Path) -> None:
    """Its sum is known then, however it was found out."""
    path, data, start, crc = stored
    other = tmp_path / "other"
    other.write_bytes(b"x" + data)
    with RawPlaces({str(path)}) as places:
        assert places.same(ref(path, start, len(data)), ref(other, 1, len(data)))
    assert places.sums == {Place(str(path), start, len(data)): crc}


def test_other_bytes(stored: tuple[Path, bytes, int, int], tmp_path: Path) -> None:
    """One bit, at the beginning, in the middle, at the end; and a file that ends before."""
    path, data, start, _ = stored
    other = tmp_path / "other"
    for at in (0, len(data) // 2, len(data) - 1):
        changed = bytearray(data)
        changed[at] ^= 1
        other.write_bytes(changed)
        with RawPlaces({str(path)}) as places:
            assert places.same(ref(path, start, len(data)), ref(other, 0, len(data))) is False
        assert not places.sums
    other.write_bytes(data[:-1])
    with RawPlaces() as places:
        assert places.same(ref(path, start, len(data)), ref(other, 0, len(data))) is False


def test_a_damaged_first(stored: tuple[Path, bytes, int, int], tmp_path: Path) -> None:
    """A copy of what is damaged is the same; that its archive says otherwise is there to be seen."""
    path, data, start, crc = stored
    changed = bytearray(data)
    changed[len(data) // 3] ^= 1
    whole = bytearray(path.read_bytes())
    whole[start : start + len(data)] = changed
    path.write_bytes(whole)
    other = tmp_path / "other"
    other.write_bytes(changed)
    with RawPlaces({str(path)}) as places:
        assert places.same(ref(path, start, len(data)), ref(other, 0, len(data)))
    assert places.sums.keys() == {Place(str(path), start, len(data))}
    assert crc not in places.sums.values()


def test_a_part_of_a_member(stored: tuple[Path, bytes, int, int], tmp_path: Path) -> None:
    """The sum is that of the whole: a part is compared, wherever it begins."""
    path, data, start, _ = stored
    other = tmp_path / "other"
    other.write_bytes(data)
    with RawPlaces() as places:
        assert places.same(ref(path, start + 8, len(data) - 8), ref(other, 8, len(data) - 8))
        assert places.same(ref(path, start + 8, len(data) - 8), ref(other, 0, len(data) - 8)) is False
        assert places.same(ref(path, start + 1, len(data)), ref(other, 0, len(data))) is False


def test_the_first_is_not_read(stored: tuple[Path, bytes, int, int], tmp_path: Path) -> None:
    """What is summed up is read once: with the first one's bytes gone, the second's still match the sum."""
    path, data, start, _ = stored
    other = tmp_path / "other"
    other.write_bytes(data)
    whole = bytearray(path.read_bytes())
    whole[start : start + len(data)] = bytes(len(data))
    path.write_bytes(whole)
    with RawPlaces() as places:
        found = places.same(ref(path, start, len(data)), ref(other, 0, len(data)))
    assert found is (len(data) >= raw_places._BY_SUM)
