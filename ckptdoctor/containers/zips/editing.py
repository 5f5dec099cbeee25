"""A new zip archive from an old one: most members are copied as they are, packed or not, some are replaced.

What is copied keeps its name, date, attributes and comment, and its packed bytes are those of the source; its CRC is
verified on the way. What is replaced is stored. Nothing is held in memory but directories.
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.window import copy_range, summed_up, write_at
from ckptdoctor.containers.zips.archive import BOMB_FLOOR, BOMB_RATIO, ZipArchive
from ckptdoctor.containers.zips.awaited import CRC, Unsummed, awaited
from ckptdoctor.containers.zips.directory import (
    DESCRIBED,
    ENCRYPTED,
    END,
    END64,
    LOCAL,
    LOCATOR64,
    MAX16,
    MAX32,
    UTF8,
    ZIP64_TAG,
)
from ckptdoctor.containers.zips.headers import (
    CENTRAL_CRC_AT,
    CRC_AT,
    ZIP64_VERSION,
    Entry,
    central_header,
    local_header,
    without,
)
from ckptdoctor.containers.zips.signature import SIGNATURE
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact

Producer: TypeAlias = Callable[[int, int], int]
"""Writes a member's bytes to the end of a file: given its descriptor and the first byte's place, answers how many."""


class Replacement(NamedTuple):
    """What a member becomes.

    Attributes:
        content: Its bytes, or what writes them.
        expected: How large it can become, for what is written; decides whether zip64 is needed.
        crc: Its checksum, where another archive has it: what was damaged there stays so that it is found.
        source: First byte in the file that it is copied from; decides where its pages begin.
        is_edited: It is the source's member, edited: its checksums may be left to who compares both (`awaiting`).
    """

    content: bytes | Producer
    expected: int = 0
    crc: int | None = None
    source: int | None = None
    is_edited: bool = False


class ZipSizes(NamedTuple):
    """Bytes of replaced and of copied members, as they are stored."""

    replaced: int
    copied: int


_PAGE = 4096
_PAGED = 1 << 20
"""Larger members begin where their source does within a page: the kernel copies whole pages then."""
_PADDING_TAG = 0x4246
"""`FB`, as torch calls the field that it fills up to a multiple of 64 bytes."""
_DATE_1980 = (1980, 1, 1, 0, 0, 0)


def rewrite(
    source: str,
    output: str,
    replacements: Mapping[str, Replacement],
    progress: Progress | None = None,
    *,
    dropped: Collection[str] = (),
    aligned: int = 1,
) -> ZipSizes:
    """Writes a new archive.

    Args:
        source: The old archive; it is only read, and verified while it is copied.
        output: The path of the new one, which must not exist.
        replacements: Members by name; those that the source lacks are added at the end.
        progress: Told how many more bytes of members are copied; what writes a replacement tells of it itself.
        dropped: Members that are left out.
        aligned: The bytes of each member begin at a multiple of this.

    Raises:
        UnreadableArtifact: The source is broken, or a CRC does not match.
        OSError: The output cannot be written.
    """
    with _guarded(source), zipfile.ZipFile(source) as archive, open(source, "rb") as stream:
        infos = [info for info in archive.infolist() if info.filename not in dropped]
        for info in infos:
            _check(info, source)
        later = awaited()
        edited = _edited(infos, replacements) if later is not None else frozenset()
        with _created(output) as writing:
            unsummed = not any(info.CRC for info in infos)
            writer = _Writer(writing, progress, aligned, unsummed=unsummed, later=edited)
            with ThreadPoolExecutor(max_workers=1) as pool:  # checksums give the interpreter's lock away
                names = dict.fromkeys(info.filename for info in infos if info.filename not in edited)
                verified = pool.submit(_verify, source, names)
                _members(infos, stream.fileno(), writer, replacements)
                verified.result()
            writer.finish(archive.comment)
        if later is not None:
            later.read += [(source, name) for name in edited]
            later.written += [Unsummed(output, *each) for each in writer.left_out]
    return ZipSizes(writer.replaced, writer.copied)


def create_zip(output: str, members: Mapping[str, Replacement], *, aligned: int = 1) -> ZipSizes:
    """Writes an archive of these members.

    Raises:
        OSError: The output cannot be written.
    """
    with _created(output) as writing:
        append_zip(writing, 0, members, aligned=aligned)
        return ZipSizes(os.fstat(writing).st_size, 0)


def append_zip(descriptor: int, start: int, members: Mapping[str, Replacement], *, aligned: int = 1) -> int:
    """Writes an archive of these members into a file, from a place on that is its end; answers how many bytes."""
    writer = _Writer(descriptor, None, aligned, start)
    writer.entries += [writer.replace(zipfile.ZipInfo(name, _DATE_1980), each) for name, each in members.items()]
    writer.finish(b"")
    return writer.size


@contextmanager
def _created(output: str) -> Iterator[int]:
    """A new file's descriptor; what fails is not left behind."""
    writing = os.open(output, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        yield writing
    except BaseException:
        os.unlink(output)
        raise
    finally:
        os.close(writing)


def _edited(infos: list[zipfile.ZipInfo], replacements: Mapping[str, Replacement]) -> frozenset[str]:
    """The members that are edited where they lie: of several by one name, the last is the one that is read."""
    stored = {info.filename: info.compress_type == zipfile.ZIP_STORED for info in infos}
    return frozenset(name for name, each in replacements.items() if each.is_edited and stored.get(name))


def _members(
    infos: list[zipfile.ZipInfo], reading: int, writer: "_Writer", replacements: Mapping[str, Replacement]
) -> None:
    last = {info.filename: info for info in infos}
    # Members lie in the order of their offsets, whatever the order of the directory; both orders are kept.
    entries: dict[int, Entry] = {}
    for info in sorted(infos, key=lambda each: each.header_offset):
        replacement = replacements.get(info.filename)
        if replacement is None:
            entries[id(info)] = writer.copy(info, reading)
        elif last[info.filename] is info:  # of several by one name, the last is the one that is read
            entries[id(info)] = writer.replace(info, replacement)
    writer.entries += [entries[id(info)] for info in infos if id(info) in entries]
    for name, replacement in replacements.items():
        if name not in last:
            writer.entries.append(writer.replace(zipfile.ZipInfo(name, _DATE_1980), replacement))


@contextmanager
def _guarded(source: str) -> Iterator[None]:
    try:
        yield
    except UnreadableArtifact as error:
        error.path = error.path or source
        raise
    except (
        zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, ValueError, EOFError, struct.error, KeyError,
    ) as error:  # fmt: skip
        raise UnreadableArtifact(f"broken zip archive: {error}", source, place=os.path.basename(source)) from error


def _verify(source: str, names: Iterable[str]) -> None:
    """Reads every member to its end, and compares its CRC."""
    with ZipArchive(source) as archive:
        for name in names:
            archive.verify(name)


def _check(info: zipfile.ZipInfo, source: str) -> None:
    """Refuses what must not be unpacked, not even to be verified."""
    if info.flag_bits & ENCRYPTED:
        raise UnreadableArtifact("is marked as encrypted", source, place=info.filename)
    if info.file_size > BOMB_FLOOR and info.file_size > BOMB_RATIO * max(1, info.compress_size):
        raise LimitExceeded(
            f"would unpack {info.compress_size:,} bytes into {info.file_size:,}", source, place=info.filename
        )


class _Writer:
    """An archive that grows.

    Attributes:
        entries: Its members so far, in the order of its directory.
        replaced: Bytes of replaced members.
        copied: Bytes of copied members.
        left_out: Names of members, and where their checksums are to stand, that are not there yet.
    """

    def __init__(
        self,
        descriptor: int,
        progress: Progress | None,
        aligned: int = 1,
        start: int = 0,
        *,
        unsummed: bool = False,
        later: Collection[str] = (),
    ) -> None:
        self.entries: list[Entry] = []
        self.replaced = 0
        self.copied = 0
        self.left_out: list[tuple[str, tuple[int, ...]]] = []
        self._descriptor = descriptor
        self._progress = progress
        self._aligned = aligned
        self._unsummed = unsummed
        self._later = later
        self._start = self._end = start

    @property
    def size(self) -> int:
        """Its bytes so far."""
        return self._end - self._start

    def _append(self, data: bytes) -> None:
        write_at(self._descriptor, data, self._end)
        self._end += len(data)

    def copy(self, info: zipfile.ZipInfo, reading: int) -> Entry:
        """Copies a member's packed bytes."""
        fields = LOCAL.unpack(os.pread(reading, LOCAL.size, info.header_offset))
        if fields[0] != SIGNATURE:
            raise UnreadableArtifact("its local header is not where the archive says", place=info.filename)
        start = info.header_offset + LOCAL.size
        name = os.pread(reading, fields[-2], start)
        extra = os.pread(reading, fields[-1], start + fields[-2])
        # Sizes stand in the header from now on, so nothing needs to follow the data.
        flags = info.flag_bits & ~DESCRIBED
        offset = self.size
        entry = Entry(info, name, flags, info.compress_type, info.CRC, info.compress_size, info.file_size, offset)
        wide = max(info.compress_size, info.file_size) >= MAX32
        begin = start + fields[-2] + fields[-1]
        paged = begin if info.compress_size >= _PAGED else None
        self._append(self._header(entry, without(extra, ZIP64_TAG), wide=wide, paged=paged))
        copy_range(reading, begin, info.compress_size, self._descriptor, self._end, self._progress)
        if self._unsummed and info.compress_type == zipfile.ZIP_STORED:  # or the new one would be damaged by its sums
            entry = entry._replace(crc=self._crc(self._end, info.file_size))
            write_at(self._descriptor, CRC.pack(entry.crc), self._start + offset + CRC_AT)
        self._end += info.compress_size
        self.copied += info.compress_size
        return entry

    def replace(self, info: zipfile.ZipInfo, replacement: Replacement) -> Entry:
        """Stores new bytes under a member's name, with its date and attributes."""
        flags = info.flag_bits & ~DESCRIBED
        name = info.orig_filename.encode("utf-8" if flags & UTF8 or not info.orig_filename.isascii() else "cp437")
        flags |= 0 if info.orig_filename.isascii() else UTF8
        content = replacement.content
        size = len(content) if isinstance(content, bytes) else replacement.expected
        wide, paged = size >= MAX32, replacement.source if size >= _PAGED else None
        offset = self.size
        hoped = Entry(info, name, flags, zipfile.ZIP_STORED, replacement.crc or 0, size, size, offset)
        self._append(self._header(hoped, b"", wide=wide, paged=paged))
        start = self._end
        if isinstance(content, bytes):
            self._append(content)
        else:
            self._end += content(self._descriptor, start)
        size = self._end - start
        if size >= MAX32 and not wide:
            raise UnreadableArtifact(f"became {size:,} bytes, more than was reckoned with", place=info.filename)
        crc = replacement.crc
        if crc is None:
            crc = 0 if info.filename in self._later else self._crc(start, size)
        entry = hoped._replace(crc=crc, packed=size, size=size)
        if entry != hoped:
            write_at(self._descriptor, self._header(entry, b"", wide=wide, paged=paged), self._start + offset)
        self.replaced += size
        return entry

    def _header(self, entry: Entry, extra: bytes, *, wide: bool, paged: int | None) -> bytes:
        """A local header that ends where the bytes may begin; `paged`: within a page where these do in their file."""
        if self._aligned == 1:
            return local_header(entry, extra, wide=wide)
        extra = without(extra, _PADDING_TAG)
        begin, step = entry.offset + len(local_header(entry, extra, wide=wide)) + 4, self._aligned
        if paged is not None and (paged - self._start) % step == 0:
            begin, step = begin + self._start - paged, _PAGE
        padding = -begin % step
        return local_header(entry, extra + struct.pack("<2H", _PADDING_TAG, padding) + b"Z" * padding, wide=wide)

    def _crc(self, start: int, size: int) -> int:
        crc = summed_up(self._descriptor, start, size)
        if crc is None:
            raise OSError("it became shorter while it was written")
        return crc

    def finish(self, comment: bytes) -> None:
        """Writes the directory."""
        start = self.size
        headers = list(map(central_header, self.entries))
        place = self._end
        for entry, header in zip(self.entries, headers, strict=True):
            if entry.info.filename in self._later:
                fields = self._start + entry.offset + CRC_AT, place + CENTRAL_CRC_AT
                self.left_out.append((entry.info.filename, fields))
            place += len(header)
        self._append(b"".join(headers))
        size, count = self.size - start, len(self.entries)
        if count >= MAX16 or start >= MAX32 or size >= MAX32:
            place = self.size
            self._append(
                END64.pack(
                    b"PK\x06\x06", END64.size - 12, ZIP64_VERSION, ZIP64_VERSION, 0, 0, count, count, size, start
                )
            )
            self._append(LOCATOR64.pack(b"PK\x06\x07", 0, place, 1))
        many = min(count, MAX16)
        end = END.pack(b"PK\x05\x06", 0, 0, many, many, min(size, MAX32), min(start, MAX32), len(comment))
        self._append(end + comment)
