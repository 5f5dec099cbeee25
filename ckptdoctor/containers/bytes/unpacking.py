"""Compressed bytes, unpacked in bounded memory: zstd, gzip and zlib streams, whole or as they are asked for."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import FileRange, Inline

MAX_WINDOW = 8 << 20
"""Bytes that a zstd decoder may look back: what levels up to 19 need, and the limit of RFC 8878 that every decoder
should support. A frame may ask for 2 GB, and get them."""
_STORED = 1 << 18
"""Bytes that are read at once."""


class Source(Protocol):
    """What bytes are read from, one after another."""

    def read(self, count: int = -1, /) -> bytes:
        """At most `count` bytes; none at the end."""


class _RangeSource:
    """A range of a file; it is open while it is read from, so that many can be read from side by side."""

    def __init__(self, place: FileRange) -> None:
        self._path, self._next, self._end = place.path, place.offset, place.offset + place.nbytes

    def read(self, count: int = -1, /) -> bytes:
        left = self._end - self._next
        count = left if count < 0 else min(count, left)
        with RegularFile(self._path) as file:
            data = file.read(self._next, count, "compressed data")
        self._next += count
        return data


def source_of(location: FileRange | Inline) -> Source:
    """The stored bytes of a location."""
    return io.BytesIO(location.data) if isinstance(location, Inline) else _RangeSource(location)


def zstd(source: Any) -> Source:
    """Unpacks zstd from a `Source`; the package that does it is loaded where the first such frame is met."""
    import zstandard

    # What a frame's header says of its size is not believed: this decoder allocates its window alone.
    unpacker: Source = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).stream_reader(
        source, read_size=_STORED, read_across_frames=True
    )
    return unpacker


class _Inflated:
    """A gzip or zlib stream; which, its first bytes tell."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._inflater: Any = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._waiting = b""

    def read(self, count: int = -1, /) -> bytes:
        while not self._inflater.eof:
            self._waiting = self._waiting or self._source.read(_STORED)
            if not self._waiting:
                raise zlib.error("the stream ends early")
            data: bytes = self._inflater.decompress(self._waiting, max(count, 1))
            self._waiting = self._inflater.unconsumed_tail
            if data:
                return data
        return b""


UNPACKERS: dict[str, Callable[[Source], Source]] = {"zstd": zstd, "gzip": _Inflated, "zlib": _Inflated}
"""Name of a coding → what unpacks it."""


def is_corrupt(error: Exception) -> bool:
    """Whether a library's error says that what it was to unpack is broken; its package need not be loaded for that."""
    return isinstance(error, (zlib.error, EOFError)) or type(error).__name__ == "ZstdError"


def exactly(source: Source, count: int) -> bytes:
    """So many bytes, or as many as there are."""
    parts: list[bytes] = []
    while count:
        part = source.read(count)
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def unpacked(coding: str, data: bytes, limit: int, path: str, what: str) -> bytes:
    """A small thing, whole.

    Raises:
        UnreadableArtifact: It is corrupt.
        LimitExceeded: It unpacks to more than `limit` bytes.
    """
    try:
        whole = exactly(UNPACKERS[coding](io.BytesIO(data)), limit + 1)
    except Exception as error:
        if is_corrupt(error):
            raise UnreadableArtifact(f"{what} is corrupt: its {coding} data cannot be unpacked", path) from error
        raise
    if len(whole) > limit:
        raise LimitExceeded(f"{what} would unpack {len(data):,} bytes into more than the {limit:,} that are read", path)
    return whole
