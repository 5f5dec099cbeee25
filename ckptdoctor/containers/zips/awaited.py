"""Checksums that come of a comparison: of a large member whose tensors are all compared once it has been written.

A graft compares them in any case. While `awaiting` runs, `rewrite` neither verifies the member that it edits nor sums
up what becomes of it; both follow from what the comparison summed up, so that these bytes are read once.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from struct import Struct
from typing import NamedTuple

from ckptdoctor.containers.bytes.window import Place
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.containers.zips.archive_sums import summed

CRC = Struct("<I")


class Unsummed(NamedTuple):
    """A member that was written without its checksum.

    Attributes:
        path: The archive.
        name: Its name.
        fields: Where in the archive its checksum is to stand.
    """

    path: str
    name: str
    fields: tuple[int, ...]


class Awaited:
    """Members whose checksums are to come.

    Attributes:
        read: Archive and name of those that are to be verified.
        written: Those that have none yet.
    """

    def __init__(self) -> None:
        """Begins with none."""
        self.read: list[tuple[str, str]] = []
        self.written: list[Unsummed] = []

    @property
    def paths(self) -> frozenset[str]:
        """The archives that they are in."""
        return frozenset([path for path, _ in self.read] + [each.path for each in self.written])

    def verify(self, sums: Mapping[Place, int]) -> None:
        """Verifies what was read; what has not been summed up is read now.

        Raises:
            UnreadableArtifact: It does not match its checksum.
        """
        for path, name in self.read:
            with ZipArchive(path) as archive:
                if summed(archive, name, sums) != archive.crc(name):
                    archive.verify(name)  # which says what is wrong

    def fill_in(self, sums: Mapping[Place, int]) -> None:
        """Gives what was written its checksum."""
        for each in self.written:
            with ZipArchive(each.path) as archive, open(each.path, "r+b") as file:
                crc = CRC.pack(summed(archive, each.name, sums))
                for field in each.fields:
                    file.seek(field)
                    file.write(crc)


_awaited: ContextVar[Awaited | None] = ContextVar("_awaited", default=None)


@contextmanager
def awaiting() -> Iterator[Awaited]:
    """Within it checksums may be left to the caller, who verifies and fills in what is then noted."""
    noted = Awaited()
    before = _awaited.set(noted)
    try:
        yield noted
    finally:
        _awaited.reset(before)


def awaited() -> Awaited | None:
    """Where to note what is left to the caller; None if nothing is."""
    return _awaited.get()
