"""What the directories of zip archives say of the bytes of a range: the CRC-32 of the member that lies there."""

from __future__ import annotations

from bisect import bisect_right

from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.containers.zips.directory import Member
from ckptdoctor.containers.zips.signature import is_zip
from ckptdoctor.errors import UnreadableArtifact


class StoredSums:
    """Archives, each opened when the first of its ranges is asked for; to be closed."""

    def __init__(self) -> None:
        self._archives: dict[str, tuple[ZipArchive, list[int], list[Member]] | None] = {}

    def close(self) -> None:
        """Closes what was opened."""
        for opened in self._archives.values():
            if opened is not None:
                opened[0].close()
        self._archives.clear()

    def crc(self, path: str, start: int, nbytes: int) -> int | None:
        """The CRC-32 of a range that is a member as it is; None where it is none, or the file is no archive."""
        opened = self._opened(path)
        if opened is None:
            return None
        archive, offsets, members = opened
        index = bisect_right(offsets, start)
        if not index or members[index - 1].size != nbytes:
            return None
        member = members[index - 1]
        try:
            return member.crc if archive.stored_range(member.name) == (start, nbytes) else None
        except UnreadableArtifact:
            return None

    def _opened(self, path: str) -> tuple[ZipArchive, list[int], list[Member]] | None:
        if path not in self._archives:
            self._archives[path] = None
            try:
                if is_zip(path):
                    archive = ZipArchive(path)
                    members = sorted(archive.members, key=lambda each: each.offset)
                    self._archives[path] = archive, [each.offset for each in members], members
            except (UnreadableArtifact, OSError):
                return None
        return self._archives[path]
