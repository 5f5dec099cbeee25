"""The bytes of one chunk: unpacked as they are asked for, or whole; and where the chunks of a shard are."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import product
from math import prod

from ckptdoctor.containers.bytes.unpacking import UNPACKERS, Source, exactly, is_corrupt, source_of
from ckptdoctor.containers.tensors.array_bytes import swapped
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import Chunk, Chunked, FileRange, Inline, Shard

_SUM = 4
"""Bytes of a CRC-32C."""
_NO_CHUNK = (1 << 64) - 1
"""Offset and length of a chunk that a shard lacks."""
_SKIPPED = 1 << 20
_DAMAGED = "I004"


class ChunkStream:
    """The elements' bytes of one chunk, from the first to the last."""

    def __init__(self, location: FileRange | Inline, codecs: tuple[str, ...], nbytes: int, key: str) -> None:
        """Opens a chunk.

        Args:
            location: Where its coded bytes are.
            codecs: How they are coded, in the order in which it was done.
            nbytes: How many bytes its elements have.
            key: Of which tensor it is, for errors.
        """
        self._key = key
        self._path = location.path if isinstance(location, FileRange) else None
        self._left = nbytes
        self._source = source_of(location)
        stored = len(location.data) if isinstance(location, Inline) else location.nbytes
        for number in reversed(range(len(codecs))):
            if codecs[number] == "crc32c":
                self._source = _Summed(self._source, nbytes if number == 0 else max(stored - _SUM, 0), self._damaged)
            else:
                self._source = UNPACKERS[codecs[number]](self._source)

    def take(self, count: int) -> bytes:
        """The next `count` bytes.

        Raises:
            UnreadableArtifact: They are not there, or what follows the last of them should not be.
        """
        try:
            data = exactly(self._source, count)
            self._left -= len(data)
            more = self._source.read(1) if not self._left else b""
        except UnreadableArtifact:
            raise
        except Exception as error:
            if is_corrupt(error):
                raise self._damaged("cannot be unpacked") from error
            raise
        if len(data) < count:
            raise self._damaged(f"ends {self._left:,} bytes early")
        if more:
            raise self._damaged("holds more bytes than a chunk has")
        return data

    def skip(self, count: int) -> None:
        """Leaves out the next `count` bytes."""
        while count:
            count -= len(self.take(min(count, _SKIPPED)))

    def _damaged(self, what: str) -> UnreadableArtifact:
        return UnreadableArtifact(f"a chunk of {self._key!r} {what}: it is corrupt", self._path, code=_DAMAGED)


class _Summed:
    """Bytes before their CRC-32C, which is compared at the end."""

    def __init__(self, source: Source, nbytes: int, damaged: Callable[[str], UnreadableArtifact]) -> None:
        import google_crc32c

        self._source, self._left, self._damaged = source, nbytes, damaged
        self._extend, self._sum = google_crc32c.extend, 0

    def read(self, count: int = -1, /) -> bytes:
        if not self._left:
            return b""
        data = exactly(self._source, self._left if count < 0 else min(count, self._left))
        self._left -= len(data)
        self._sum = self._extend(self._sum, data)
        if not data or (not self._left and exactly(self._source, _SUM) != struct.pack("<I", self._sum)):
            raise self._damaged("does not match its checksum")
        return data


def first_element(location: Chunked, dtype: str, key: str) -> bytes:
    """The bytes of the first element, little-endian, without numpy: the value of a scalar."""
    size = ITEMSIZE[dtype]
    location = unsharded(location, key)
    if not location.parts or any(location.parts[0].start):
        return location.fill or bytes(size)
    nbytes = prod(location.chunk) * size
    data = ChunkStream(location.parts[0].location, location.codecs, nbytes, key).take(size)
    return swapped(data, size) if location.big_endian and size > 1 else data


def unsharded(location: Chunked, key: str) -> Chunked:
    """The same array by its inner chunks; their places are read from the shards.

    Raises:
        UnreadableArtifact: A shard's index is corrupt.
    """
    if location.shard is None:
        return location
    shard = location.shard
    if len(shard.chunk) != len(location.chunk) or any(a % b for a, b in zip(location.chunk, shard.chunk, strict=True)):
        raise UnreadableArtifact(f"the shards of {key!r} are no whole number of chunks: it is corrupt")
    grid = tuple(outer // inner for outer, inner in zip(location.chunk, shard.chunk, strict=True))
    parts: list[Chunk] = []
    for part in location.parts:
        entries = _index(part.location, prod(grid), shard, key)
        total = 0
        for place, (offset, nbytes) in zip(product(*map(range, grid)), entries, strict=True):
            if (offset, nbytes) == (_NO_CHUNK, _NO_CHUNK):
                continue
            start = tuple(a + b * c for a, b, c in zip(part.start, place, shard.chunk, strict=True))
            total += nbytes
            if any(at >= extent for at, extent in zip(start, location.shape, strict=True)):
                continue
            parts.append(Chunk(start, _within(part.location, offset, nbytes, key)))
        if total > _size(part.location):
            raise LimitExceeded(f"the chunks of a shard of {key!r} overlap: it is corrupt or hostile")
    return location._replace(chunk=shard.chunk, parts=tuple(parts), codecs=shard.codecs, shard=None)


def _size(location: FileRange | Inline) -> int:
    return len(location.data) if isinstance(location, Inline) else location.nbytes


def _within(location: FileRange | Inline, offset: int, nbytes: int, key: str) -> FileRange | Inline:
    if offset + nbytes > _size(location):
        raise UnreadableArtifact(f"a chunk of {key!r} lies outside of its shard: it is corrupt", code=_DAMAGED)
    if isinstance(location, Inline):
        return Inline(location.data[offset : offset + nbytes])
    return FileRange(location.path, location.offset + offset, nbytes)


def _index(location: FileRange | Inline, count: int, shard: Shard, key: str) -> list[tuple[int, int]]:
    summed = "crc32c" in shard.index_codecs
    nbytes = 16 * count + (_SUM if summed else 0)
    if nbytes > _size(location):
        raise UnreadableArtifact(f"a shard of {key!r} is too short for its index: it is corrupt", code=_DAMAGED)
    place = _within(location, 0 if shard.index_first else _size(location) - nbytes, nbytes, key)
    stream = ChunkStream(place, shard.index_codecs, 16 * count, key)
    numbers = struct.unpack(f"<{2 * count}Q", stream.take(16 * count))
    return list(zip(numbers[::2], numbers[1::2], strict=True))
