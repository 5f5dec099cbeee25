"""Headers of a new zip archive's members: those before them, and those of its directory."""

import struct
import zipfile
from typing import NamedTuple

from ckptdoctor.containers.zips.directory import LOCAL, MAX32, ZIP64_TAG
from ckptdoctor.containers.zips.signature import SIGNATURE

_CENTRAL = struct.Struct("<4s6H3I5H2I")
CRC_AT, CENTRAL_CRC_AT = 14, 16
"""In a local header, and in one of the directory."""
ZIP64_VERSION = 45


class Entry(NamedTuple):
    """A member of the new archive, for its directory."""

    info: zipfile.ZipInfo
    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


def _date(info: zipfile.ZipInfo) -> tuple[int, int]:
    year, month, day, hour, minute, second = info.date_time
    return hour << 11 | minute << 5 | second // 2, (year - 1980) << 9 | month << 5 | day


def local_header(entry: Entry, extra: bytes, *, wide: bool) -> bytes:
    """A local header; a `wide` one keeps its sizes in a zip64 field."""
    time, date = _date(entry.info)
    packed, size = entry.packed, entry.size
    version = entry.info.extract_version
    if wide:
        extra = struct.pack("<2H2Q", ZIP64_TAG, 16, size, packed) + extra
        packed = size = MAX32
        version = max(version, ZIP64_VERSION)
    header = LOCAL.pack(
        SIGNATURE, version, entry.flags, entry.method, time, date, entry.crc, packed, size, len(entry.name),
        len(extra),
    )  # fmt: skip
    return header + entry.name + extra


def central_header(entry: Entry) -> bytes:
    """A header of the directory, with the member's date, attributes and comment."""
    info = entry.info
    time, date = _date(info)
    large = [value for value in (entry.size, entry.packed, entry.offset) if value >= MAX32]
    extra = without(info.extra, ZIP64_TAG)
    if large:
        extra = struct.pack(f"<2H{len(large)}Q", ZIP64_TAG, 8 * len(large), *large) + extra
    version = max(info.extract_version, ZIP64_VERSION) if large else info.extract_version
    header = _CENTRAL.pack(
        b"PK\x01\x02",
        info.create_system << 8 | max(info.create_version, ZIP64_VERSION if large else 0),
        version,
        entry.flags,
        entry.method,
        time,
        date,
        entry.crc,
        min(entry.packed, MAX32),
        min(entry.size, MAX32),
        len(entry.name),
        len(extra),
        len(info.comment),
        0,
        info.internal_attr,
        info.external_attr,
        min(entry.offset, MAX32),
    )
    return header + entry.name + extra + info.comment


def without(extra: bytes, left_out: int) -> bytes:
    """Extra fields without those of one kind, which are written anew."""
    kept = b""
    while len(extra) >= 4:
        tag, length = struct.unpack_from("<2H", extra)
        if tag != left_out:
            kept += extra[: 4 + length]
        extra = extra[4 + length :]
    return kept
