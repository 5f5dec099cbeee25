"""The sorted string table in which TensorFlow keeps its indexes: LevelDB's format.

Source: tensorflow/core/lib/io/{format,block,table}.cc. A file is data blocks, a meta index block, an index block and a
footer of 48 bytes; every block is followed by its compression type and a masked CRC-32C.
"""

import os
from collections.abc import Iterator
from operator import lt
from typing import NamedTuple

from ckptdoctor.containers.bytes.crc import masked_crc32c, masked_crc32c_in
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tables.wire import CorruptBytes, varint
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact

MAGIC = 0xDB4775248B80FB57
FOOTER = 48
TRAILER = 5
_SNAPPY = 1
_RESTART = 4
_WINDOW = 4096
_UNFOLDED = 32
_UNFOLDED_FLOOR = 1 << 24
"""Keys leave out what they share with the one before. What they leave out may be this many times as long as the file,
and the floor: in real ones it is six times, in a hostile one a megabyte could make gigabytes."""


class Handle(NamedTuple):
    """Where a block lies: its offset and its size without the trailer."""

    offset: int
    size: int


def is_table(tail: bytes) -> bool:
    """Whether the last bytes of a file are a table's footer."""
    return len(tail) >= FOOTER and tail[-8:] == MAGIC.to_bytes(8, "little")


class Table:
    """A table that has been opened: footer and index block are read, data blocks are not.

    Raises:
        UnreadableArtifact: Too short, no footer, or an index block that does not check out.
        LimitExceeded: Its keys unfold to far more than it has bytes.
    """

    def __init__(self, file: RegularFile) -> None:
        self.file = file
        self.name = os.path.basename(file.path)
        if file.size < FOOTER:
            raise self._corrupt(
                "it is empty" if not file.size else f"its {file.size} bytes are too few for a table: it is truncated"
            )
        footer = file.read(file.size - FOOTER, FOOTER)
        if not is_table(footer):
            raise self._corrupt(
                "it does not end in a table's magic number: it is truncated, or it is no TensorFlow index"
            )
        try:
            position = varint(footer, varint(footer, 0)[1])[1]
            offset, position = varint(footer, position)
            size, position = varint(footer, position)
        except CorruptBytes as error:
            raise self._corrupt(f"its footer is corrupt ({error})") from error
        self._left = _UNFOLDED_FLOOR + _UNFOLDED * file.size
        self.handles = self._index(Handle(offset, size))

    def _corrupt(self, message: str) -> UnreadableArtifact:
        return UnreadableArtifact(message, self.file.path, place=self.name)

    def _index(self, handle: Handle) -> tuple[Handle, ...]:
        handles: list[Handle] = []
        free = 0
        for value in self._parse(self.block(handle), handle)[1]:
            try:
                offset, position = varint(value, 0)
                size, _ = varint(value, position)
            except CorruptBytes as error:
                raise self._corrupt(f"the index block at byte {handle.offset:,} is corrupt ({error})") from error
            if offset + size + TRAILER > self.file.size:
                raise self._corrupt(
                    f"a block of {size:,} bytes should lie at byte {offset:,}, but the file ends at "
                    f"{self.file.size:,}: it is truncated or corrupt"
                )
            if offset < free:
                # A writer puts block after block; reading one a thousand times would take a thousand times as long.
                raise self._corrupt(f"the blocks at byte {offset:,} and before it overlap: it is corrupt")
            handles.append(Handle(offset, size))
            free = offset + size + TRAILER
        return tuple(handles)

    def block(self, handle: Handle) -> bytes:
        """Reads a block, verifies its checksum and decompresses it."""
        raw = self.file.read(handle.offset, handle.size + TRAILER, "a table block")
        stored = int.from_bytes(raw[-4:], "little")
        if masked_crc32c(raw[:-4]) != stored:
            raise self._corrupt(f"the checksum of the block at byte {handle.offset:,} does not match: it is corrupt")
        body, kind = raw[:-TRAILER], raw[-TRAILER]
        if kind == 0:
            return body
        if kind != _SNAPPY:
            raise self._corrupt(f"the block at byte {handle.offset:,} has an unknown compression type {kind}")
        try:
            from ckptdoctor.containers.tables.snappy import decompress

            return decompress(body)
        except CorruptBytes as error:
            raise self._corrupt(f"the block at byte {handle.offset:,} is corrupt ({error})") from error

    def blocks(self) -> Iterator[tuple[list[bytes], list[bytes]]]:
        """The keys and the values of one block after another, in key order, each block verified.

        Raises:
            UnreadableArtifact: A block is corrupt, or keys are out of order (TensorFlow's search would miss them).
        """
        last: bytes | None = None
        for handle in self.handles:
            keys, values = self._parse(self.block(handle), handle)
            if not keys:
                continue
            if not all(map(lt, keys, keys[1:])) or (last is not None and keys[0] <= last):
                raise self._corrupt(f"keys are out of order in the block at byte {handle.offset:,}")
            yield keys, values
            last = keys[-1]

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Every key with its value; otherwise as `blocks`."""
        for keys, values in self.blocks():
            yield from zip(keys, values, strict=True)

    def damaged(self) -> Iterator[str]:
        """What is damaged, also where reading the entries needs nothing of it: a sentence each.

        Blocks whose values are tensors (V1 checkpoints) are verified here and nowhere else; so are the empty meta index
        and the zeros that fill the footer, which a writer always leaves alike.
        """
        footer = self.file.read(self.file.size - FOOTER, FOOTER)
        numbers: list[int] = []
        end = 0
        for _ in range(4):  # the meta index's handle, the index's; opening the table has come through here
            number, end = varint(footer, end)
            numbers.append(number)
        for handle in (*self.handles, Handle(*numbers[:2])):
            if not self._is_sound(handle):
                yield f"the checksum of the block at byte {handle.offset:,} of {self.name} does not match"
        shortest = sum(max(1, -(-number.bit_length() // 7)) for number in numbers)
        if end != shortest or any(footer[end:-8]):
            yield f"the footer of {self.name} holds bytes that no writer puts there"

    def _is_sound(self, handle: Handle) -> bool:
        """Whether a block of any size has the checksum that follows it."""
        end = handle.offset + handle.size + TRAILER
        if end > self.file.size:
            return False
        crc = masked_crc32c_in(self.file, handle.offset, end - 4 - handle.offset)
        return crc == int.from_bytes(self.file.read(end - 4, 4), "little")

    def _limit(self, block: bytes, handle: Handle) -> int:
        """Where the entries of a block end and its restart points begin."""
        if len(block) < _RESTART:
            raise self._corrupt(f"the block at byte {handle.offset:,} is too short")
        limit = len(block) - _RESTART * (1 + int.from_bytes(block[-_RESTART:], "little"))
        if limit < 0:
            raise self._corrupt(f"the block at byte {handle.offset:,} claims more restart points than it has bytes")
        return limit

    def _parse(self, block: bytes, handle: Handle) -> tuple[list[bytes], list[bytes]]:
        limit = self._limit(block, handle)
        keys: list[bytes] = []
        values: list[bytes] = []
        add_key, add_value = keys.append, values.append
        position, key = 0, b""
        try:
            while position < limit:
                shared, unshared, size = block[position], block[position + 1], block[position + 2]
                if shared < 0x80 and unshared < 0x80 and size < 0x80:  # the rule, and 90,000 times faster than calls
                    position += 3
                else:
                    shared, position = varint(block, position)
                    unshared, position = varint(block, position)
                    size, position = varint(block, position)
                    self._unfold(shared)
                start = position + unshared
                if shared > len(key) or start + size > limit:
                    raise CorruptBytes(f"an entry runs over at byte {position}")
                key = key[:shared] + block[position:start]
                position = start + size
                add_key(key)
                add_value(block[start:position])
        except (CorruptBytes, IndexError) as error:
            raise self._corrupt(f"the block at byte {handle.offset:,} is corrupt ({error})") from error
        return keys, values

    def _unfold(self, shared: int) -> None:
        """Counts the bytes that a key takes from the one before it; short ones are not worth counting."""
        self._left -= shared
        if self._left < 0:
            raise LimitExceeded(
                f"its keys unfold to more than {_UNFOLDED} times its size: it is corrupt or hostile",
                self.file.path,
                place=self.name,
            )

    def spans(self) -> Iterator[tuple[bytes, int, int]]:
        """Every key with the place of its value in the file: (key, offset, size), without reading the values.

        For tables whose values are tensors (V1 checkpoints). Values are not verified: a checksum needs the whole block.
        """
        for handle in self.handles:
            kind = self.file.read(handle.offset + handle.size, 1)[0]
            if kind:
                raise self._corrupt(f"the block at byte {handle.offset:,} is compressed, which tensor blocks never are")
            yield from self._spans(handle)

    def _spans(self, handle: Handle) -> Iterator[tuple[bytes, int, int]]:
        end = handle.offset + handle.size
        restarts = int.from_bytes(self.file.read(end - _RESTART, _RESTART), "little")
        limit = end - _RESTART * (1 + restarts)
        if limit < handle.offset:
            raise self._corrupt(f"the block at byte {handle.offset:,} claims more restart points than it has bytes")
        position, key = handle.offset, b""
        while position < limit:
            window = self.file.read(position, min(_WINDOW, limit - position))
            try:
                shared, used = varint(window, 0)
                unshared, used = varint(window, used)
                size, used = varint(window, used)
            except CorruptBytes as error:
                raise self._corrupt(f"the entry at byte {position:,} is corrupt ({error})") from error
            start = position + used + unshared
            if shared > len(key) or start + size > limit:
                raise self._corrupt(f"the entry at byte {position:,} runs past its block")
            self._unfold(shared)
            key = key[:shared] + self.file.read(position + used, unshared)
            yield key, start, size
            position = start + size
