"""What the directories of zip archives say of the bytes of a range: the CRC-32 of the member that lies there."""

from __future__ import annotations

from bisect import bisect_right

from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.containers.zips.directory import Member
from ckptdoctor.containers.zips.signature import is_zip
from ckptdoctor.errors import UnreadableArtifact

_MOST_OPEN = 64


class ByPlace:
    """The members of an archive by where they lie in it."""

    def __init__(self, archive: ZipArchive) -> None:
        """Sorts them."""
        self._members = sorted(archive.members, key=lambda each: each.offset)
        self._offsets = [each.offset for each in self._members]

    def at(self, place: int) -> Member | None:
        """The last member whose header begins before a place, or there."""
        index = bisect_right(self._offsets, place)
        return self._members[index - 1] if index else None


class StoredSums:
    """Archives, each opened when the first of its ranges is asked for; to be closed."""

    def __init__(self) -> None:
        self._archives: dict[str, tuple[ZipArchive, ByPlace] | None] = {}

    def close(self) -> None:
        """Closes what was opened."""
        while self._archives:
            self._close_first()

    def _close_first(self) -> None:
        opened = self._archives.pop(next(iter(self._archives)))
        if opened is not None:
            opened[0].close()

    def crc(self, path: str, start: int, nbytes: int) -> int | None:
        """The CRC-32 of a range that is a stored member; None where none is known."""
        if path not in self._archives:
            while len(self._archives) >= _MOST_OPEN:
                self._close_first()
            self._archives[path] = self._opened(path)
        opened = self._archives[path]
        if opened is None:
            return None
        archive, members = opened
        member = members.at(start)
        if member is None or member.size != nbytes:
            return None
        try:
            return member.crc if archive.stored_range(member.name) == (start, nbytes) else None
        except UnreadableArtifact:
            return None

    def _opened(self, path: str) -> tuple[ZipArchive, ByPlace] | None:
        """An archive that has checksums; None for any other file."""
        try:
            if is_zip(path):
                archive = ZipArchive(path)
                if not archive.is_unsummed:
                    return archive, ByPlace(archive)
                archive.close()
        except (UnreadableArtifact, OSError):
            pass
        return None
