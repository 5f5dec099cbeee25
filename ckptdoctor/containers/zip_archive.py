"""Zip archives whose members are read where they lie: nothing is extracted, so no member name can escape.

A stored member is a range of the archive; a deflated one has to be unpacked to be seekable, into a spool of bounded
size. What an archive claims about sizes is checked against the archive before it is believed.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from ckptdoctor.containers.crc32 import fastest
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.state import Oddity

if TYPE_CHECKING:
    from typing_extensions import Buffer

MAX_MEMBERS = 100_000
MAX_TEXT = 64 << 20
BOMB_FLOOR = 64 << 20
BOMB_RATIO = 200
"""A member above the floor that unpacks to this many times its packed size is a bomb; weights pack far less."""
SPOOL_MEMORY = 16 << 20
"""Up to here a deflated member is unpacked in memory, above in an unnamed temporary file."""

_BLOCK = 1 << 20
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x1


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


_NO_DIRECTORY = "the zip archive's directory, which is its end, is missing: it is truncated"


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
        self._members: dict[str, zipfile.ZipInfo] = {}
        with self._guarded(os.path.basename(path)):
            self._stream: BinaryIO = open(path, "rb") if stream is None else stream  # noqa: SIM115
            self._size = self._stream.seek(0, os.SEEK_END)
            try:
                self._zip = zipfile.ZipFile(self._stream)
                self._index()
            except BaseException:
                self._stream.close()
                raise

    def __enter__(self) -> ZipArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the archive and whatever was opened from it."""
        self._zip.close()
        self._stream.close()

    @contextmanager
    def _guarded(self, place: str) -> Iterator[None]:
        try:
            yield
        except UnreadableArtifact:
            raise
        except PermissionError as error:
            raise UnreadableArtifact("no permission to read it", self.path, place=place) from error
        except (
            zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError, ValueError, EOFError,
            struct.error, KeyError, OverflowError, MemoryError, IndexError,
        ) as error:  # fmt: skip
            why = _NO_DIRECTORY if str(error) == "File is not a zip file" else f"broken zip archive: {error}"
            raise UnreadableArtifact(why, self.path, place=place) from error

    def _index(self) -> None:
        infos = self._zip.infolist()
        if len(infos) > MAX_MEMBERS:
            raise LimitExceeded(f"has {len(infos):,} members; {MAX_MEMBERS:,} are read", self.path)
        for info in infos:
            name = info.filename
            if name in self._members:
                self.oddities.append(Oddity("X004", f"member {name!r} is there twice; Keras reads the last one"))
            if name.startswith("/") or "\\" in name or ".." in name.split("/") or name[1:2] == ":":
                self.oddities.append(Oddity("X004", f"member {name!r} would be unpacked outside the archive's folder"))
            if info.flag_bits & _ENCRYPTED:
                self.oddities.append(Oddity("X004", f"member {name!r} is marked as encrypted"))
            self._members[name] = info

    @property
    def names(self) -> list[str]:
        """Names of the members, each once."""
        return list(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def _member(self, name: str) -> zipfile.ZipInfo:
        info = self._members.get(name)
        if info is None:
            raise UnreadableArtifact("is not in the archive", self.path, place=name)
        if info.flag_bits & _ENCRYPTED:
            raise UnreadableArtifact("is marked as encrypted", self.path, place=name)
        if info.file_size > BOMB_FLOOR and info.file_size > BOMB_RATIO * max(1, info.compress_size):
            raise LimitExceeded(
                f"would unpack {info.compress_size:,} bytes into {info.file_size:,}", self.path, place=name
            )
        return info

    def read(self, name: str, limit: int = MAX_TEXT) -> bytes:
        """A small member, whole.

        Raises:
            UnreadableArtifact: It is missing, encrypted or damaged.
            LimitExceeded: It is larger than `limit`.
        """
        info = self._member(name)
        if info.file_size > limit:
            raise LimitExceeded(f"is {info.file_size:,} bytes; {limit:,} are read", self.path, place=name)
        with self._guarded(name), self._zip.open(info) as stream:
            data = stream.read(limit + 1)
        if len(data) != info.file_size:
            raise UnreadableArtifact(f"should be {info.file_size:,} bytes and is {len(data):,}", self.path, place=name)
        return data

    def damaged(self, names: Iterable[str] | None = None) -> Iterator[str]:
        """Reads members once (all of them, or these), and says which do not match their checksum or cannot be read."""
        for name in self._members if names is None else names:
            try:
                with self._guarded(name), self._zip.open(self._member(name)) as stream:
                    if self.is_stored(name):
                        self._verify(name)
                        continue
                    while stream.read(_BLOCK):
                        pass
            except UnreadableArtifact as error:
                yield str(error)

    def _verify(self, name: str) -> None:
        """Reads a stored member; `zipfile` would take three times as long, most of it for the checksum."""
        info, offset = self._member(name), self.offset(name)
        crc32 = fastest()
        buffer = memoryview(bytearray(min(_BLOCK, info.file_size)))
        left, crc = info.file_size, 0
        self._stream.seek(offset)
        while left:
            count = self._stream.readinto(buffer[: min(left, len(buffer))])  # type: ignore[attr-defined]
            if not count:
                raise EOFError("it ends early")
            crc = crc32(buffer[:count], crc)
            left -= count
        if crc != info.CRC:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {name!r}")

    def is_stored(self, name: str) -> bool:
        """Whether a member's bytes lie in the archive as they are."""
        return self._member(name).compress_type == zipfile.ZIP_STORED

    def crc(self, name: str) -> int:
        """The CRC-32 of a member, unpacked, as the archive has it."""
        return self._member(name).CRC

    def size(self, name: str) -> int:
        """Bytes of a member, unpacked."""
        return self._member(name).file_size

    def open(self, name: str) -> BinaryIO:
        """A member as a seekable file: in place when it is stored, from a temporary spool when it is packed."""
        info = self._member(name)
        if info.compress_type == zipfile.ZIP_STORED:
            return io.BufferedReader(SubFile(self._stream, self.offset(name), info.file_size))
        import shutil
        import tempfile

        spool: Any = tempfile.SpooledTemporaryFile(max_size=SPOOL_MEMORY)  # noqa: SIM115
        try:
            with self._guarded(name), self._zip.open(info) as packed:
                shutil.copyfileobj(packed, spool, 1 << 20)
                if spool.tell() != info.file_size:
                    raise UnreadableArtifact("is shorter than the archive says", self.path, place=name)
                spool.seek(0)
        except BaseException:
            spool.close()
            raise
        return spool  # type: ignore[no-any-return]

    def offset(self, name: str) -> int:
        """Where the bytes of a stored member begin in the archive, from its local header."""
        info = self._member(name)
        with self._guarded(name):
            self._stream.seek(info.header_offset)
            fields = _LOCAL_HEADER.unpack(self._stream.read(_LOCAL_HEADER.size))
            local_name = self._stream.read(fields[-2])
        if fields[0] != b"PK\x03\x04":
            raise UnreadableArtifact("its local header is not where the archive says", self.path, place=name)
        if local_name != name.encode("utf-8", "replace") and local_name.decode("cp437") != name:
            raise UnreadableArtifact(f"its local header says {local_name!r}", self.path, place=name)
        start = info.header_offset + _LOCAL_HEADER.size + fields[-2] + fields[-1]
        if info.file_size != info.compress_size or start + info.file_size > self._size:
            raise UnreadableArtifact("its bytes are not all in the archive", self.path, place=name)
        return int(start)
