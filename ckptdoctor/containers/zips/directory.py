"""The directory of a zip archive: where each member lies, decoded in one pass over its bytes.

Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.12 to 4.3.16 and 4.5.3. As in Python's zipfile, bytes before the
archive are passed over, and of several ends the last one counts. One with bytes before and behind it is a member of
another archive, whose own end is cut off.
"""

import os
import struct
from typing import BinaryIO, NamedTuple

STORED, DEFLATED, BZIPPED = 0, 8, 12
ENCRYPTED, DESCRIBED, UTF8 = 0x1, 0x8, 0x800
"""Flags: a member is encrypted; its sums and sizes follow its bytes; its name is UTF-8."""
MAX_DIRECTORY = 64 << 20
"""Bytes of a directory: a member takes 46 and its name, so that this is a million of them."""

LOCAL = struct.Struct("<4s5H3I2H")
"""The header before a member's bytes: lengths of name and extra fields, which follow it, are its last two."""
LOCAL_LENGTHS = struct.Struct("<4s22x2H")
"""Of the same, how it begins and those two."""
_ENTRY = struct.Struct("<4s4x2H4x3L3H4x4xL")
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR64 = struct.Struct("<4sLQL")
_BEGIN = b"PK\x01\x02"
_LONGEST_COMMENT = 0xFFFF
MAX16 = 0xFFFF
MAX32 = 0xFFFF_FFFF
ZIP64_TAG = 1


class NoDirectory(ValueError):
    """Not a zip archive, or one whose end is missing, or whose directory contradicts itself."""


class NoEnd(NoDirectory):
    """Its end, which has the directory, is missing."""


class Member(NamedTuple):
    """A member, as the directory has it.

    Attributes:
        name: Its name; bytes that are no UTF-8 as code page 437 has them.
        flags: General purpose bits.
        method: How it is packed.
        crc: CRC-32 of its bytes, unpacked.
        packed: Bytes in the archive.
        size: Bytes, unpacked.
        offset: Where its local header begins in the file.
    """

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


def read_directory(stream: BinaryIO, size: int) -> list[Member]:
    """The members of an archive, in the order of its directory.

    Args:
        stream: The archive.
        size: Its bytes.

    Raises:
        NoDirectory: It is none, or its directory is missing or corrupt.
    """
    data, before, count, is_wide = _whole(stream, size)
    found: list[Member] = []
    at = 0
    while at < len(data):
        at = _entry(data, at, before, found)
        at = _like_the_last(data, at, before, found)
    # Old writers that knew no zip64 counted no further than 65,535 and began anew.
    if count != (len(found) if is_wide else len(found) & MAX16):
        raise NoDirectory(f"it says that it has {count:,} members; its directory has {len(found):,}")
    return found


def directory_bytes(stream: BinaryIO, size: int) -> bytes:
    """The directory as it is, in which names can be looked for.

    Raises:
        NoDirectory: The file has none.
    """
    return _whole(stream, size)[0]


def _whole(stream: BinaryIO, size: int) -> tuple[bytes, int, int, bool]:
    """The directory's bytes, how many are before the archive, its count of members, whether it has a zip64 end."""
    length, start, end, behind, count, wide_end = _directory(stream, size)
    if length > MAX_DIRECTORY:
        raise NoDirectory(f"its directory takes {length:,} bytes; {MAX_DIRECTORY:,} are read")
    before = end - length - start  # bytes that somebody put before the archive
    if before < 0:
        raise NoDirectory("its directory is not where the archive says")
    if before and behind:
        raise NoEnd("the end that it has is that of an archive within it")
    if wide_end is not None and wide_end + before != end:  # readers that go by the locator find nothing there
        raise NoDirectory("its zip64 end is not where the archive says")
    stream.seek(end - length)
    data = stream.read(length)
    if len(data) != length:
        raise NoDirectory("its directory ends early")
    return data, before, count, wide_end is not None


def _entry(data: bytes, at: int, before: int, found: list[Member]) -> int:
    """Adds the member whose entry begins here, and answers where the entry ends."""
    try:
        magic, flags, method, crc, packed, unpacked, names, extras, comments, offset = _ENTRY.unpack_from(data, at)
    except struct.error as error:
        raise NoDirectory("its directory ends within an entry") from error
    name = at + _ENTRY.size
    extra = name + names
    end = extra + extras + comments
    if magic != _BEGIN or end > len(data):
        raise NoDirectory("its directory is corrupt")
    if MAX32 in (packed, unpacked, offset):
        unpacked, packed, offset = _wide(data[extra : extra + extras], unpacked, packed, offset)
    text = data[name:extra].decode("utf-8" if flags & UTF8 else "cp437", "replace")
    found.append(Member(text.partition("\0")[0], flags, method, crc, packed, unpacked, offset + before))
    return int(end)


def _like_the_last(data: bytes, at: int, before: int, found: list[Member]) -> int:
    """Adds the members whose entries follow and are like the last one's, and answers where they end.

    There may be 100,000: entries as long as each other, whose names are ASCII and of which nothing stands in other
    fields, are taken apart several at once.
    """
    length, known, new = len(found[-1].name), len(found), tuple.__new__
    entry = struct.Struct(f"{_ENTRY.format}{length}s")
    alike = memoryview(data)[at : at + (len(data) - at) // entry.size * entry.size]
    for magic, flags, method, crc, packed, size, names, extras, comments, offset, name in entry.iter_unpack(alike):
        if (
            magic != _BEGIN or names != length or extras or comments or not name.isascii() or b"\0" in name
            or MAX32 in (packed, size, offset)
        ):  # fmt: skip
            break
        found.append(new(Member, (name.decode("ascii"), flags, method, crc, packed, size, offset + before)))
    return at + (len(found) - known) * entry.size


def _directory(stream: BinaryIO, size: int) -> tuple[int, int, int, int, int, int | None]:
    """The directory's length, where the archive says that it begins, where it ends, how many bytes follow it.

    And how many members it says there are, and where its zip64 end should be, if it has one.
    """
    start = max(size - END.size - _LONGEST_COMMENT, 0)
    stream.seek(start)
    tail = stream.read(size - start)
    at = tail.rfind(b"PK\x05\x06")
    while at >= 0 and at + END.size > len(tail):
        at = tail.rfind(b"PK\x05\x06", 0, at)
    if at < 0:
        raise NoEnd("it has no end")
    _, _, _, _, count, length, offset, comment = END.unpack_from(tail, at)
    wide_end: int | None = None
    behind = len(tail) - at - END.size - comment
    end = start + at
    place = end - LOCATOR64.size
    if place >= 0:
        stream.seek(place)
        locator = stream.read(LOCATOR64.size)
        if locator[:4] == b"PK\x06\x07":
            end = place - END64.size
            stream.seek(max(end, 0), os.SEEK_SET)
            wide = stream.read(END64.size)
            if end < 0 or wide[:4] != b"PK\x06\x06":
                raise NoDirectory("its zip64 end is not where the archive says")
            *_, here, count, length, offset = END64.unpack(wide)
            if here != count:
                raise NoDirectory(f"its zip64 end says {here:,} members and {count:,}")
            wide_end = LOCATOR64.unpack(locator)[2]
    return length, offset, end, behind, count, wide_end


def _wide(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset where some stand in the zip64 field, in this order."""
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == ZIP64_TAG:
            values = list(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))[::-1]
            try:
                size = values.pop() if size == MAX32 else size
                packed = values.pop() if packed == MAX32 else packed
                offset = values.pop() if offset == MAX32 else offset
            except IndexError as error:
                raise NoDirectory("its zip64 fields are cut") from error
            break
        at += 4 + length
    return size, packed, offset
