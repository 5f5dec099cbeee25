"""Writing the sorted string table of TensorFlow's indexes, byte for byte as TensorFlow's own builder does.

Source: tensorflow/core/lib/io/{table_builder,block_builder,format}.cc and tsl's `table::Options`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO

from ckptdoctor.containers.bytes.crc import masked_crc32c
from ckptdoctor.containers.tables.sstable import MAGIC, TRAILER, Handle
from ckptdoctor.containers.tables.wire import encode_varint

BLOCK_SIZE = 262_144
RESTART_INTERVAL = 16


def common_length(one: bytes, other: bytes) -> int:
    """How many bytes two keys have in common at their front."""
    low, high = 0, min(len(one), len(other))
    if one[:high] == other[:high]:
        return high
    while high - low > 1:  # comparisons of slices are done in C: halving beats counting
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


class _Block:
    """A block under construction: keys share prefixes with the key before, but for every `interval`-th."""

    def __init__(self, interval: int) -> None:
        self.interval = interval
        self.body = bytearray()
        self.restarts = [0]
        self.count = 0
        self.last = b""

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self.count < self.interval:
            if key[:1] == self.last[:1] and key:
                shared = common_length(self.last, key)
        else:
            self.restarts.append(len(self.body))
            self.count = 0
        lengths = shared, len(key) - shared, len(value)
        self.body += bytes(lengths) if max(lengths) < 0x80 else b"".join(encode_varint(each) for each in lengths)
        self.body += key[shared:]
        self.body += value
        self.count += 1
        self.last = key

    @property
    def size(self) -> int:
        return len(self.body) + 4 * (len(self.restarts) + 1)

    def finished(self) -> bytes:
        tail = b"".join(each.to_bytes(4, "little") for each in (*self.restarts, len(self.restarts)))
        return bytes(self.body) + tail


class TableWriter:
    """Writes a table; keys must come in order.

    Args:
        file: Where it goes, from its first byte.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._offset = 0
        self._data = _Block(RESTART_INTERVAL)
        self._index = _Block(1)
        self._pending: Handle | None = None
        self._last: bytes | None = None

    def add(self, key: bytes, value: bytes) -> None:
        """Adds an entry.

        Raises:
            ValueError: The key does not come after the one before: TensorFlow's search would miss entries.
        """
        if self._last is not None and key <= self._last:
            raise ValueError(f"table keys are out of order: {key!r} after {self._last!r}")
        if self._pending is not None:
            self._point(shortest_separator(self._last or b"", key))
        self._data.add(key, value)
        self._last = key
        if self._data.size >= BLOCK_SIZE:
            self._flush()

    def finish(self) -> int:
        """Writes what is left, the index and the footer; answers the size of the table."""
        self._flush()
        meta = self._write(_Block(RESTART_INTERVAL).finished())
        if self._pending is not None:
            self._point(short_successor(self._last or b""))
        index = self._write(self._index.finished())
        footer = b"".join(encode_varint(each) for each in (*meta, *index)).ljust(40, b"\0")
        self._file.write(footer + MAGIC.to_bytes(8, "little"))
        return self._offset + 48

    def _flush(self) -> None:
        if self._data.body:
            self._pending = self._write(self._data.finished())
            self._data = _Block(RESTART_INTERVAL)

    def _point(self, key: bytes) -> None:
        """An index entry: a key that is not before any of its block and before all of the next."""
        assert self._pending is not None  # noqa: S101 - callers have looked
        self._index.add(key, b"".join(encode_varint(each) for each in self._pending))
        self._pending = None

    def _write(self, body: bytes) -> Handle:
        handle = Handle(self._offset, len(body))
        sealed = body + b"\0"  # kNoCompression: TensorFlow has never written another type
        self._file.write(sealed + masked_crc32c(sealed).to_bytes(4, "little"))
        self._offset += len(body) + TRAILER
        return handle


def write_table(file: IO[bytes], entries: Iterable[tuple[bytes, bytes]]) -> int:
    """Writes a table of these entries, which must be in order; answers its size."""
    writer = TableWriter(file)
    for key, value in entries:
        writer.add(key, value)
    return writer.finish()


def shortest_separator(start: bytes, limit: bytes) -> bytes:
    """A short key at least `start` and below `limit` (`BytewiseComparatorImpl::FindShortestSeparator`)."""
    at = common_length(start, limit)
    if at < min(len(start), len(limit)) and start[at] < 0xFF and start[at] + 1 < limit[at]:
        return start[:at] + bytes((start[at] + 1,))
    return start


def short_successor(key: bytes) -> bytes:
    """A short key at least `key` (`BytewiseComparatorImpl::FindShortSuccessor`)."""
    for at, byte in enumerate(key):
        if byte != 0xFF:
            return key[:at] + bytes((byte + 1,))
    return key
