"""The bytes of an HDF5 file, from where it begins in another file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from ckptdoctor import storage
from ckptdoctor.containers.hdf5.opening import Strange

_LONGEST = 16 << 20
"""Bytes of one header, table or heap: a group of a million names has as many in its heap."""
_SMALL = 1 << 18
"""Smaller files are read at once: each of their headers would cost a call of the system."""
_TIMES, _FLOOR = 8, 1 << 20
"""The structure is read no more than so often, and a megabyte: parts of a hostile file lie over one another."""


class Source:
    """A file from where HDF5 begins in it.

    Attributes:
        size: Bytes of the HDF5 file.
    """

    def __init__(self, path: str, stream: BinaryIO, start: int, size: int) -> None:
        self._path = path
        self._stream = stream
        self._start = start
        self._is_remote = storage.is_remote(path)
        self._left = _FLOOR + _TIMES * size
        self._whole = b"" if self._is_remote or size > _SMALL else self._at(0, size)
        self.size = size

    def read(self, at: int, count: int) -> bytes:
        """So many bytes; raises Strange."""
        if at + count > self.size:
            raise Strange
        data = self._whole[at : at + count] if self._whole else self._at(at, count)
        if len(data) != count:
            raise Strange
        return data

    def _at(self, at: int, count: int) -> bytes:
        self._stream.seek(self._start + at)
        return self._stream.read(count)

    def part(self, at: int, count: int) -> bytes:
        """So many bytes of the structure; raises Strange."""
        self._left -= count
        if count > _LONGEST or self._left < 0:
            raise Strange
        return self.read(at, count)

    def front(self, at: int, most: int) -> bytes:
        """So many bytes of the structure at most, fewer at the end; raises Strange."""
        return self.part(at, max(0, min(most, self.size - at)))

    def expect(self, places: Iterable[tuple[int, int]]) -> None:
        """Fetches ranges of a file at a URL that will be read one by one."""
        if self._is_remote:
            fits = ((at, min(count, self.size - at)) for at, count in places if at < self.size)
            storage.expect(self._path, [(self._start + at, count) for at, count in fits])
