"""Checksums of a zip archive's members, put together from what is read for the tensors in them.

A `.keras` is one large member. Its checksum is of the whole of it; so that no byte is read twice, each tensor's pass
sums up its own range, and only what lies between tensors is read for the checksum alone.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ckptdoctor.containers.bytes.crc32 import combined, fastest
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.bytes.window import Place
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.errors import UnreadableArtifact

_BLOCK = 1 << 20
_WORTH_IT = 4 << 20
"""Reading what is shorter takes no longer than putting its sum together with others does."""


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
    parts: tuple[Place, ...]
    between: tuple[Place, ...]

    def agrees(self, sums: Mapping[Place, int]) -> bool:
        """Whether the sums of its parts come to its checksum; False where one is not known."""
        crc = 0
        for part in self.parts:
            if part not in sums:
                return False
            crc = combined(crc, sums[part], part.nbytes)
        return crc == self.crc


def members(path: str, ranges: Iterable[Place]) -> tuple[Member, ...]:
    """The stored members of an archive in which tensors lie; none where they cannot be found.

    Args:
        path: The archive.
        ranges: Where tensors are, in this file and others.
    """
    wanted = sorted({each for each in ranges if each.path == path and each.nbytes})
    try:
        with ZipArchive(path) as archive:
            stored = [name for name in archive.names if archive.is_stored(name)]
            found = [_member(archive, name, wanted) for name in stored]
    except UnreadableArtifact:
        return ()
    return tuple(each for each in found if len(each.between) < len(each.parts))


def summed(archive: ZipArchive, name: str, sums: Mapping[Place, int]) -> int:
    """The CRC-32 of the bytes of a stored member, of which those are read that have not been summed up.

    Raises:
        UnreadableArtifact: They cannot be.
    """
    known = sorted(each for each in sums if each.path == archive.path and each.nbytes >= _WORTH_IT)
    crc = 0
    for part in _member(archive, name, known).parts:
        crc = combined(crc, sums[part], part.nbytes) if part in sums else checksum(part, crc)
    return crc


def _member(archive: ZipArchive, name: str, wanted: list[Place]) -> Member:
    path, start = archive.path, archive.offset(name)
    end = start + archive.size(name)
    parts: list[Place] = []
    between: list[Place] = []
    within = wanted[bisect_left(wanted, (path, start, 0)) : bisect_left(wanted, (path, end, 0))]
    for each in (*(each for each in within if each.start + each.nbytes <= end), Place(path, end, 0)):
        if each.start < start:
            continue  # it overlaps the one before
        if each.start > start:
            between.append(Place(path, start, each.start - start))
            parts.append(between[-1])
        if each.nbytes:
            parts.append(each)
        start = each.start + each.nbytes
    return Member(name, archive.crc(name), tuple(parts), tuple(between))


def checksum(part: Place, crc: int = 0) -> int:
    """The CRC-32 of a part, or of what had the given one with the part behind it.

    Raises:
        UnreadableArtifact: It cannot be read.
    """
    crc32 = fastest()
    buffer = memoryview(bytearray(min(_BLOCK, part.nbytes)))
    with RegularFile(part.path) as file:
        for start in range(0, part.nbytes, _BLOCK):
            block = buffer[: min(_BLOCK, part.nbytes - start)]
            file.readinto(part.start + start, block)
            crc = crc32(block, crc)
    return crc
