"""Checksums of a zip archive's members, put together from what is read for the tensors in them.

A `.keras` is one large member. Its checksum is of the whole of it; so that no byte is read twice, each tensor's pass
sums up its own range, and only what lies between tensors is read for the checksum alone.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ckptdoctor.containers.bytes.crc32 import combined, fastest
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import FileRange

_BLOCK = 1 << 20


class Part(NamedTuple):
    """Bytes of an archive."""

    path: str
    offset: int
    nbytes: int


class Member(NamedTuple):
    """A stored member with tensors in it.

    Attributes:
        name: Its name.
        crc: The checksum that the archive has of it.
        parts: All of its bytes, in order: tensors, and what is between them.
        between: Those that no tensor's pass reads.
    """

    name: str
    crc: int
    parts: tuple[Part, ...]
    between: tuple[Part, ...]

    def agrees(self, sums: Mapping[Part, int]) -> bool:
        """Whether the sums of its parts come to its checksum; False where one is not known."""
        crc = 0
        for part in self.parts:
            if part not in sums:
                return False
            crc = combined(crc, sums[part], part.nbytes)
        return crc == self.crc


def members(path: str, ranges: Iterable[FileRange]) -> tuple[Member, ...]:
    """The stored members of an archive in which tensors lie; none where they cannot be found.

    Args:
        path: The archive.
        ranges: Where tensors are, in this file and others.
    """
    wanted = sorted({Part(path, each.offset, each.nbytes) for each in ranges if each.path == path and each.nbytes})
    try:
        with ZipArchive(path) as archive:
            stored = [name for name in archive.names if archive.is_stored(name)]
            found = [_member(archive, path, name, wanted) for name in stored]
    except UnreadableArtifact:
        return ()
    return tuple(each for each in found if len(each.between) < len(each.parts))


def _member(archive: ZipArchive, path: str, name: str, wanted: list[Part]) -> Member:
    start = archive.offset(name)
    end = start + archive.size(name)
    parts: list[Part] = []
    between: list[Part] = []
    within = wanted[bisect_left(wanted, (path, start, 0)) : bisect_left(wanted, (path, end, 0))]
    for each in (*(each for each in within if each.offset + each.nbytes <= end), Part(path, end, 0)):
        if each.offset < start:
            continue  # it overlaps the one before
        if each.offset > start:
            between.append(Part(path, start, each.offset - start))
            parts.append(between[-1])
        if each.nbytes:
            parts.append(each)
        start = each.offset + each.nbytes
    return Member(name, archive.crc(name), tuple(parts), tuple(between))


def checksum(part: Part) -> int:
    """The CRC-32 of a part.

    Raises:
        UnreadableArtifact: It cannot be read.
    """
    crc32 = fastest()
    buffer = memoryview(bytearray(min(_BLOCK, part.nbytes)))
    crc = 0
    with RegularFile(part.path) as file:
        for start in range(0, part.nbytes, _BLOCK):
            block = buffer[: min(_BLOCK, part.nbytes - start)]
            file.readinto(part.offset + start, block)
            crc = crc32(block, crc)
    return crc
