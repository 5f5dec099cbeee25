"""What the library will ask of an HDF5 file is known beforehand; what is no structure is left to it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py as _h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.museum import FIXTURES
from support.remote.servers import Web

from ckptdoctor import storage
from ckptdoctor.containers.hdf5.ahead import fetch_structure

h5py: Any = _h5py  # its stubs know no streams


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server."""
    storage.use(None)
    with Web() as server:
        yield server
    storage.use(None)


def _large(path: Path) -> bytes:
    """Groups in groups, long names, an attribute of 40 kB, and a megabyte of values between the headers of any two."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = np.bytes_(b"x" * 40_000)
        for number in range(40):
            group = file.create_group(f"layers/dense_{number}/{'long' * 20}")
            group["kernel"] = np.zeros((500, 500), np.float32)
            group.attrs["name"] = f"dense_{number}"
    return path.read_bytes()


def test_nothing_is_waited_for(web: Web, tmp_path: Path) -> None:
    """Every header is there before the library asks: it causes hardly a request."""
    web.files["/m.h5"] = data = _large(tmp_path / "m.h5")
    url = storage.named(f"{web.url}/m.h5")
    fetch_structure(storage.open_range(url))
    asked = len(web.asked)
    assert 40 <= asked < 200
    seen: list[str] = []
    with storage.open_stream(url) as stream, h5py.File(stream, "r") as file:
        file.visititems(lambda name, each: seen.append(f"{name} {getattr(each, 'shape', None)}"))
    assert len(seen) == 40 * 3 + 1
    assert len(web.asked) - asked <= 3
    fetched = sum(len(each) for each in _bodies(web, data))
    assert fetched < len(data) / 5


def _bodies(web: Web, data: bytes) -> Iterator[bytes]:
    for each in web.asked:
        first, _, last = each.headers["range"].removeprefix("bytes=").partition("-")
        yield data[int(first) : int(last) + 1]


class _Bytes:
    """A file in memory that remembers what was expected of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)
        self.expected = 0

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of it."""
        assert offset >= 0
        assert offset + count <= self.size or count == 0
        return self._data[offset : offset + count]

    def expect(self, ranges: list[tuple[int, int]]) -> None:
        """Remembers how many."""
        self.expected += len(ranges)

    def tell(self, known: Mapping[int, bytes]) -> None:
        """HDF5 says nothing of what it has not read."""
        raise AssertionError(known)


WHOLE = (FIXTURES / "whole-model.h5").read_bytes()


@settings(max_examples=300, deadline=None)
@given(
    places=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=8),
    end=st.integers(0, len(WHOLE)),
)
def test_damaged_files(places: list[tuple[int, int]], end: int) -> None:
    """Whatever stands in it, the walk ends and raises nothing."""
    data = bytearray(WHOLE)
    for place, value in places:
        data[place] = value
    for each in (bytes(data), bytes(data[:end])):
        file = _Bytes(each)
        fetch_structure(file)
        assert file.expected < 100_000


def test_newer_files_are_left_to_the_library() -> None:
    """Groups of the new kind have another structure."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="latest") as file:
        file["a/b"] = np.zeros(3)
    new = _Bytes(buffer.getvalue())
    fetch_structure(new)
    assert new.expected == 0
