"""Ranges that are compared as soon as they are copied."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

from ckptdoctor.containers.bytes.followed import followed, following
from ckptdoctor.containers.bytes.window import Place
from ckptdoctor.containers.tensors.raw_places import RawPlaces
from ckptdoctor.references import FileRange, TensorRef

SIZE = 3 << 20


def _tensor(path: Path, offset: int) -> TensorRef:
    return TensorRef("t", "uint8", (SIZE,), FileRange(str(path), offset, SIZE))


def _copy(source: Path, copied: Path, at: int, mode: int) -> None:
    writing = os.open(copied, mode | os.O_CREAT)
    with RawPlaces() as raw:
        assert raw.copy(_tensor(source, 5), "uint8", SIZE, writing, at)
    os.close(writing)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three MB that repeat nowhere, after five bytes."""
    path = tmp_path / "source"
    path.write_bytes(b"front" + os.urandom(SIZE))
    return path


@pytest.mark.parametrize("summed", [False, True])
def test_a_copy(source: Path, tmp_path: Path, *, summed: bool) -> None:
    """It is known to be the same, and its sum where that was asked for."""
    copied = tmp_path / "copy"
    with following(summed=summed):
        _copy(source, copied, 9, os.O_RDWR)
        follower = followed()
        assert follower is not None
        reading = os.open(copied, os.O_RDONLY)
        found = follower.found(Place(str(source), 5, SIZE), reading, 9)
        assert found is not None
        assert found.same
        assert found.crc == (zlib.crc32(source.read_bytes()[5:]) if summed else None)
        assert follower.found(Place(str(source), 5, SIZE), reading, 8) is None
        os.close(reading)
        with RawPlaces([str(copied)]) as raw:  # which asks for the sum in any case
            assert raw.same(_tensor(source, 5), _tensor(copied, 9))
            assert list(raw.sums.values()) == [zlib.crc32(source.read_bytes()[5:])]
    assert followed() is None


@pytest.mark.parametrize("end", [9 + SIZE, 9 + SIZE // 2])
def test_a_copy_that_went_wrong(source: Path, tmp_path: Path, end: int) -> None:
    """Other bytes, or fewer of them."""
    copied = tmp_path / "copy"
    copied.write_bytes(bytes(end))
    with following(summed=False):
        reading, other = os.open(source, os.O_RDONLY), os.open(copied, os.O_RDONLY)
        follower = followed()
        assert follower is not None
        follower.follow(Place(str(source), 5, SIZE), reading, other, 9)
        os.close(reading)
        os.close(other)
        with RawPlaces() as raw:
            assert raw.same(_tensor(source, 5), _tensor(copied, 9)) is False


def test_what_cannot_be_read(source: Path, tmp_path: Path) -> None:
    """A file that is open for writing alone is compared afterwards."""
    copied = tmp_path / "copy"
    with following(summed=False):
        _copy(source, copied, 0, os.O_WRONLY)
        with RawPlaces() as raw:
            assert raw.same(_tensor(source, 5), _tensor(copied, 0))


def test_many_at_once(source: Path, tmp_path: Path) -> None:
    """Their descriptors do not use up what a process may have."""
    copied = tmp_path / "copy"
    with following(summed=True):
        writing = os.open(copied, os.O_RDWR | os.O_CREAT)
        with RawPlaces() as raw:
            for number in range(100):
                assert raw.copy(_tensor(source, 5), "uint8", SIZE, writing, number * SIZE)
        assert len(os.listdir("/proc/self/fd")) < 200 if os.path.isdir("/proc/self/fd") else True
        os.close(writing)
        with RawPlaces() as raw:
            assert all(raw.same(_tensor(source, 5), _tensor(copied, number * SIZE)) for number in range(100))
