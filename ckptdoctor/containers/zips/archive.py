"""Zip archives whose members are read where they lie: nothing is extracted, so no member name can escape.

A stored member is a range of the archive; a deflated one has to be unpacked to be seekable, into a spool of bounded
size. What an archive claims about sizes is checked against the archive before it is believed.
"""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, BinaryIO

from ckptdoctor import storage
from ckptdoctor.containers.bytes.crc32 import fastest
from ckptdoctor.containers.zips.directory import (
    BZIPPED,
    DEFLATED,
    ENCRYPTED,
    LOCAL,
    LOCAL_LENGTHS,
    STORED,
    Member,
    NoEnd,
    read_directory,
)
from ckptdoctor.containers.zips.signature import SIGNATURE
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.state import Oddity

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_TEXT = 64 << 20
BOMB_FLOOR = 64 << 20
BOMB_RATIO = 200
"""A member above the floor that unpacks to this many times its packed size is a bomb; weights pack far less."""
MAX_ODDITIES = 1000
SPOOL_MEMORY = 16 << 20
"""Up to here a deflated member is unpacked in memory, above in an unnamed temporary file."""

_BLOCK = 1 << 20
_HEADERS = 8 << 10
"""Bytes that are read for a local header, and for those that follow closely."""
_BROKEN = (zlib.error, OSError, ValueError, EOFError, struct.error, OverflowError, MemoryError)
"""What reading a broken archive ends in."""
_ESCAPE = r"(?s)\\|(?:\A|\0)(?:/|[^\0]:)|(?:[/\0]|\A)\.\.(?:[/\0]|\Z)"
"""In a name, or in names with a zero byte between them: it would be unpacked outside of the folder, somewhere."""
_OF_ESCAPES = ("\\", "\0/", ":", "..")
"""One of these is in every such name, with a zero byte before it."""
_NAME, _FLAGS = attrgetter("name"), attrgetter("flags")


class SubFile(io.RawIOBase):
    """A range of an open file, as a seekable read-only file of its own."""

    def __init__(self, stream: BinaryIO, offset: int, size: int) -> None:
        super().__init__()
        self._stream = stream
        self._offset = offset
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves within the range; positions before its start are an error."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the start")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """The position within the range."""
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Reads into `buffer` as much as fits and the range has left."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._position))
        if not count:
            return 0
        self._stream.seek(self._offset + self._position)
        data = self._stream.read(count)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


_NO_END = "the zip archive's directory, which is its end, is missing: it is truncated"


class ZipArchive:
    """A zip archive, opened for reading.

    Attributes:
        path: The archive.
        oddities: Tricks that were met: duplicate or escaping names, encrypted members.
    """

    def __init__(self, path: str, stream: BinaryIO | None = None) -> None:
        """Opens an archive.

        Args:
            path: The file, also named in errors.
            stream: Read from here instead: an archive inside an archive.
        """
        self.path = path
        self.oddities: list[Oddity] = []
        self._members: dict[str, Member] = {}
        self._block, self._block_start = b"", 0
        self._is_remote = storage.is_remote(path)
        with self._guarded(os.path.basename(path)):
            self._stream: BinaryIO = storage.open_stream(path) if stream is None else stream
            self._size = self._stream.seek(0, os.SEEK_END)
            try:
                self._index(read_directory(self._stream, self._size))
            except BaseException:
                self._stream.close()
                raise

    def __enter__(self) -> ZipArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the archive and whatever was opened from it."""
        self._stream.close()

    @contextmanager
    def _guarded(self, place: str) -> Iterator[None]:
        try:
            yield
        except UnreadableArtifact:
            raise
        except _BROKEN as error:
            raise self._broken(error, place) from error

    def _broken(self, error: Exception, place: str) -> UnreadableArtifact:
        if isinstance(error, PermissionError):
            return UnreadableArtifact("no permission to read it", self.path, place=place)
        why = _NO_END if isinstance(error, NoEnd) else f"broken zip archive: {error}"
        return UnreadableArtifact(why, self.path, place=place)

    def _index(self, members: list[Member]) -> None:
        self._members = dict(zip(map(_NAME, members), members, strict=True))
        names = "\0".join(self._members)  # all at once: there may be 100,000
        if (
            len(self._members) < len(members)
            or (any(each in f"\0{names}" for each in _OF_ESCAPES) and re.search(_ESCAPE, names))
            or any(flags & ENCRYPTED for flags in set(map(_FLAGS, members)))
        ):
            self._note_tricks(members)

    def _note_tricks(self, members: list[Member]) -> None:
        known: set[str] = set()
        for member in members:
            name = member.name
            if name in known:
                self._note(f"member {name!r} is there twice; Keras reads the last one")
            if re.search(_ESCAPE, name):
                self._note(f"member {name!r} would be unpacked outside the archive's folder")
            if member.flags & ENCRYPTED:
                self._note(f"member {name!r} is marked as encrypted")
            known.add(name)

    def _note(self, message: str) -> None:
        if len(self.oddities) < MAX_ODDITIES:
            self.oddities.append(Oddity("X004", message))

    @property
    def names(self) -> list[str]:
        """Names of the members, each once."""
        return list(self._members)

    @cached_property
    def is_unsummed(self) -> bool:
        """Whether it was written without checksums: torch is told so by `set_crc32_options(False)`."""
        crcs = [each.crc for each in self._members.values() if each.size]
        return bool(crcs) and not any(crcs)

    @property
    def members(self) -> list[Member]:
        """The members, as the archive's directory has them."""
        return list(self._members.values())

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def _member(self, name: str) -> Member:
        member = self._members.get(name)
        if member is None:
            raise UnreadableArtifact("is not in the archive", self.path, place=name)
        if member.flags & ENCRYPTED:
            raise UnreadableArtifact("is marked as encrypted", self.path, place=name)
        if member.size > BOMB_FLOOR and member.size > BOMB_RATIO * max(1, member.packed):
            raise LimitExceeded(f"would unpack {member.packed:,} bytes into {member.size:,}", self.path, place=name)
        return member

    def read(self, name: str, limit: int = MAX_TEXT) -> bytes:
        """A small member, whole.

        Raises:
            UnreadableArtifact: It is missing, encrypted or damaged.
            LimitExceeded: It is larger than `limit`.
        """
        size = self._member(name).size
        if size > limit:
            raise LimitExceeded(f"is {size:,} bytes; {limit:,} are read", self.path, place=name)
        with self._guarded(name):
            return b"".join(self._blocks(name))

    def _blocks(self, name: str, step: int = _BLOCK) -> Iterator[bytes]:
        """The bytes of a member, unpacked, block by block; its size and checksum are verified at the end."""
        member = self._member(name)
        offset = self._start(member)
        if member.method not in {STORED, *_UNPACKERS}:
            raise UnreadableArtifact(f"is packed by method {member.method}, which is not read", self.path, place=name)
        unpacker = _UNPACKERS[member.method]() if member.method in _UNPACKERS else None
        sum_up, crc, size, left = fastest(member.size), 0, 0, member.packed
        packed = b""
        while left or (unpacker is not None and not unpacker.eof):
            if left and not packed:
                self._stream.seek(offset)
                packed = self._stream.read(min(left, step))
                offset += len(packed)
                left -= len(packed)
                if not packed:
                    raise EOFError("it ends early")
            block, packed = _unpack(unpacker, packed, step)
            if not block and not packed and not left:
                break
            size += len(block)
            if size > member.size:
                raise ValueError(f"it unpacks to more than the {member.size:,} bytes that the archive says")
            crc = sum_up(block, crc)
            yield block
        if size != member.size:
            raise UnreadableArtifact(f"should be {member.size:,} bytes and is {size:,}", self.path, place=name)
        if crc != member.crc and (member.crc or not self.is_unsummed):
            raise ValueError(f"Bad CRC-32 for file {name!r}")

    def damaged(self, names: Iterable[str] | None = None) -> Iterator[str]:
        """Reads members once (all of them, or these), and says which do not match their checksum or cannot be read."""
        for name in self._members if names is None else names:
            problem = self._problem(name)
            if problem is not None:
                yield problem

    def verify(self, name: str) -> None:
        """Reads a member once.

        Raises:
            UnreadableArtifact: It does not match its checksum, or cannot be read.
        """
        with self._guarded(name):
            for _ in self._blocks(name):
                pass

    def _problem(self, name: str) -> str | None:
        try:
            self.verify(name)
        except UnreadableArtifact as error:
            return str(error)
        return None

    def is_stored(self, name: str) -> bool:
        """Whether a member's bytes lie in the archive as they are."""
        return self._member(name).method == STORED

    def packed_range(self, name: str) -> tuple[int, int]:
        """Where the packed bytes of a member begin in the archive, and how many they are."""
        member = self._member(name)
        return self._start(member), member.packed

    def crc(self, name: str) -> int:
        """The CRC-32 of a member, unpacked, as the archive has it."""
        return self._member(name).crc

    def size(self, name: str) -> int:
        """Bytes of a member, unpacked."""
        return self._member(name).size

    def open(self, name: str) -> BinaryIO:
        """A member as a seekable file: in place when it is stored, from a temporary spool when it is packed."""
        member = self._member(name)
        if member.method == STORED:
            # At a URL what is read ahead may be a request; the stream below keeps blocks as it is.
            buffer = 512 if self._is_remote else io.DEFAULT_BUFFER_SIZE
            return io.BufferedReader(SubFile(self._stream, self._whole(member), member.size), buffer)
        import tempfile

        spool: Any = tempfile.SpooledTemporaryFile(max_size=SPOOL_MEMORY)  # noqa: SIM115
        try:
            with self._guarded(name):
                for block in self._blocks(name):
                    spool.write(block)
                spool.seek(0)
        except BaseException:
            spool.close()
            raise
        return spool  # type: ignore[no-any-return]

    def offset(self, name: str) -> int:
        """Where the bytes of a stored member begin in the archive, from its local header."""
        return self._whole(self._member(name))

    def stored_range(self, name: str) -> tuple[int, int] | None:
        """Where the bytes of a stored member begin, and how many they are; None for one that is packed.

        Raises:
            UnreadableArtifact: They are not all there.
        """
        member = self._member(name)
        return (self._whole(member), member.size) if member.method == STORED else None

    def _whole(self, member: Member) -> int:
        start = self._start(member)
        if member.size != member.packed:
            raise UnreadableArtifact("its bytes are not all in the archive", self.path, place=member.name)
        return start

    def _start(self, member: Member) -> int:
        """Where the bytes of a member begin, packed or not."""
        name = member.name
        encoded = name.encode("utf-8", "replace")
        length = LOCAL.size + len(encoded)
        try:
            at = member.offset - self._block_start
            if not 0 <= at <= len(self._block) - length:  # headers are close to each other where there are many
                at, self._block_start = 0, member.offset
                self._stream.seek(member.offset)
                self._block = self._stream.read(length if self._is_remote else _HEADERS)
            magic, names, extras = LOCAL_LENGTHS.unpack_from(self._block, at)
            local_name = self._block[at + LOCAL.size : at + length]
            if names != len(encoded):
                self._stream.seek(member.offset + LOCAL.size)
                local_name = self._stream.read(names)
        except _BROKEN as error:
            raise self._broken(error, name) from error
        if magic != SIGNATURE:
            raise UnreadableArtifact("its local header is not where the archive says", self.path, place=name)
        if local_name != encoded and local_name.decode("cp437") != name:
            raise UnreadableArtifact(f"its local header says {local_name[:80]!r}", self.path, place=name)
        start = member.offset + LOCAL.size + names + extras
        if start + member.packed > self._size:
            raise UnreadableArtifact("its bytes are not all in the archive", self.path, place=name)
        return int(start)


def _bunzip() -> Any:
    from bz2 import BZ2Decompressor

    return BZ2Decompressor()


_UNPACKERS: dict[int, Callable[[], Any]] = {
    DEFLATED: lambda: zlib.decompressobj(-zlib.MAX_WBITS),
    BZIPPED: _bunzip,
}


def _unpack(unpacker: Any, packed: bytes, limit: int) -> tuple[bytes, bytes]:
    """A block of at most `limit` bytes, and what is left to be unpacked; without an unpacker the bytes are stored."""
    if unpacker is None:
        return packed, b""
    block: bytes = unpacker.decompress(packed, limit)
    # zlib hands back what it has not looked at, bz2 keeps it.
    return block, getattr(unpacker, "unconsumed_tail", b"")
