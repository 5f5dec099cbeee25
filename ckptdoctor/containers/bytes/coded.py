"""Tensor bytes that stand in a file under a coding: deflated archive members, and bytes that a pickle made text."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Iterator

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import Coded
from ckptdoctor.words import counted

_STORED_CHUNK = 1 << 16
_ALIGNED = 16
"""The size of the largest element."""


def chunks(location: Coded, size: int = 1 << 20) -> Iterator[bytes]:
    """Yields a tensor's bytes as stored (its byte order, its element order), in pieces of `size` and a last one.

    Pieces end between elements.

    Raises:
        UnreadableArtifact: The coding is broken, or what it holds is not as long as it should be.
    """
    size -= size % _ALIGNED
    with RegularFile(location.path) as file:
        skip, left = location.skip, location.nbytes
        waiting = b""
        for piece in _decoded(file, location, size):
            waiting += piece[skip : skip + left]
            left -= len(piece[skip : skip + left])
            skip = max(0, skip - len(piece))
            while len(waiting) >= size or (waiting and not left):
                yield waiting[:size]
                waiting = waiting[size:]
            if not left:
                return
    if left:
        raise UnreadableArtifact(
            f"the {location.coding} data ends {counted(left, 'byte')} early: truncated or corrupt",
            location.path,
            place=f"byte {location.offset:,}",
        )


def _decoded(file: RegularFile, location: Coded, size: int) -> Iterator[bytes]:
    try:
        if location.coding == "deflate":
            yield from _inflated(file, location, size)
        else:
            decoder = codecs.getincrementaldecoder(location.coding)()
            for raw, last in _stored(file, location):
                yield decoder.decode(raw, last).encode("latin-1")
    except (zlib.error, UnicodeError) as error:
        raise UnreadableArtifact(
            f"the {location.coding} data is corrupt: {error}", location.path, place=f"byte {location.offset:,}"
        ) from error


def _inflated(file: RegularFile, location: Coded, size: int) -> Iterator[bytes]:
    # A raw stream, as in zip archives; `max_length` keeps a bomb from growing beyond one piece.
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for raw, _ in _stored(file, location):
        waiting = raw
        while waiting and not inflater.eof:
            yield inflater.decompress(waiting, size)
            waiting = inflater.unconsumed_tail
    yield inflater.flush(size)


def _stored(file: RegularFile, location: Coded) -> Iterator[tuple[bytes, bool]]:
    end = location.offset + location.stored
    for offset in range(location.offset, end, _STORED_CHUNK):
        count = min(_STORED_CHUNK, end - offset)
        yield file.read(offset, count), offset + count == end
