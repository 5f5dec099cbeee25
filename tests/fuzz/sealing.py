"""Checksums put right after bytes were changed, so that a fuzzer gets past them as an author of hostile files would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from support.bundles import sealed, table, varint

from ckptdoctor.containers.bytes.crc import masked_crc32c
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.tables import wire
from ckptdoctor.containers.tables.sstable import FOOTER, MAGIC, TRAILER
from ckptdoctor.containers.tables.wire import CorruptBytes

_MOST_BLOCKS = 64


def resealed(data: bytes) -> bytes:
    """A table file whose blocks have the checksums of what is in them, and whose footer ends in the magic number."""
    file = bytearray(data)
    if len(file) < FOOTER:
        return data
    file[-8:] = MAGIC.to_bytes(8, "little")
    footer = bytes(file[-FOOTER:])
    try:
        position = wire.varint(footer, wire.varint(footer, 0)[1])[1]
        index, _ = _handle(footer, position)
    except CorruptBytes:
        return bytes(file)
    # The index block names the others, and its own checksum does not change what it says.
    for offset, size in (index, *_named(bytes(file), *index)):
        end = offset + size + TRAILER
        if end <= len(file):
            file[offset:end] = sealed(bytes(file[offset : offset + size]), file[end - TRAILER])
    return bytes(file)


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    offset, position = wire.varint(data, position)
    size, position = wire.varint(data, position)
    return (offset, size), position


def _named(file: bytes, offset: int, size: int) -> list[tuple[int, int]]:
    """The blocks that an index block names, as far as it can be read."""
    found: list[tuple[int, int]] = []
    block, position = file[offset : offset + size], 0
    try:
        while position < len(block) - 4 and len(found) < _MOST_BLOCKS:
            _, position = wire.varint(block, position)
            unshared, position = wire.varint(block, position)
            length, position = wire.varint(block, position)
            position += unshared
            found.append(_handle(block, position)[0])
            position += length
    except CorruptBytes:
        pass
    return found


# ------------------------------------------------------------------------------- tables as a list of keys and values


def listed(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Keys and values in a row, each behind its length: what a fuzzer changes instead of a table."""
    return b"".join(varint(len(each)) + each for pair in pairs for each in pair)


def pairs_of(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The inverse of `listed`, of any bytes: lengths that run over take what is left."""
    position = 0
    while position < len(data):
        both: list[bytes] = []
        for _ in range(2):
            try:
                length, position = wire.varint(data, position)
            except CorruptBytes:
                return
            both.append(data[position : position + length])
            position += length
        yield both[0], both[1]


def sorted_table(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The table of these keys and values, in order, each key once."""
    return table(sorted(dict(pairs).items()))


def true_checksums(pairs: Iterable[tuple[bytes, bytes]], shard: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Bundle entries with the checksums of what lies where they say."""
    from google.protobuf.message import DecodeError

    for key, value in pairs:
        if not key:
            yield key, value
            continue
        try:
            entry = pb.BundleEntry.FromString(value)
        except DecodeError:
            yield key, value
            continue
        if not entry.slices and 0 <= entry.offset <= entry.offset + entry.size <= len(shard):
            entry.crc32c = masked_crc32c(shard[entry.offset : entry.offset + entry.size])
            yield key, entry.SerializeToString()
        else:
            yield key, value
