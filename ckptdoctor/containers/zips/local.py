"""The headers before the members of a zip archive, which are left where its end is lost (APPNOTE.TXT, 4.3.7)."""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from ckptdoctor.containers.bytes.crc32 import fastest
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.zips.directory import DESCRIBED, LOCAL, MAX32, STORED, ZIP64_TAG
from ckptdoctor.containers.zips.signature import SIGNATURE

_STEP = 1 << 20
_MOST = 10_000


class LocalHeader(NamedTuple):
    """A stored member's own header.

    Attributes:
        name: Its name.
        start: Its first byte.
        described: Its checksum and size stand behind it.
        crc: Its CRC-32, where they stand here.
        size: Its size, likewise.
    """

    name: str
    start: int
    described: bool
    crc: int
    size: int


def local_header(file: RegularFile, at: int) -> LocalHeader | None:
    """The header of a stored member at this place; None if none is there."""
    if at + LOCAL.size > file.size:
        return None
    signature, _, flags, method, _, _, crc, _, size, length, extra = LOCAL.unpack(file.read(at, LOCAL.size))
    start = at + LOCAL.size + length + extra
    if signature != SIGNATURE or method != STORED or start > file.size:
        return None
    name = file.read(at + LOCAL.size, length).decode("utf-8", "replace")
    if size == MAX32 and extra >= 20:
        tag, _, wide = struct.unpack("<2HQ", file.read(at + LOCAL.size + length, 12))
        size = wide if tag == ZIP64_TAG else size
    return LocalHeader(name, start, bool(flags & DESCRIBED), crc, size)


def members_in_order(file: RegularFile) -> Iterator[tuple[LocalHeader, bool]]:
    """The members whose headers have their sizes, one behind the other, and whether each is whole."""
    at = 0
    for _ in range(_MOST):
        header = local_header(file, at)
        if header is None or header.described:
            return
        end = header.start + header.size
        if end > file.size:
            yield header, False
            return
        crc, sum_up = 0, fastest()
        for start in range(header.start, end, _STEP):
            crc = sum_up(file.read(start, min(_STEP, end - start)), crc)
        yield header, crc == header.crc
        at = end
