"""Checksums of what is copied into other files: what is damaged would get a new one there, which is right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

from ckptdoctor.containers.bytes.window import Place
from ckptdoctor.containers.tensors.scan import scan_tensor
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.containers.zips.archive_sums import summed
from ckptdoctor.containers.zips.awaited import Awaited, awaiting
from ckptdoctor.containers.zips.signature import is_zip
from ckptdoctor.containers.zips.stored_sums import ByPlace
from ckptdoctor.errors import GraftRefused, UnreadableArtifact
from ckptdoctor.references import Archived as Inner
from ckptdoctor.references import Coded, FileRange, H5Data, Location, Pieces, Quantized, Recast, Strided, TensorRef

_Wanted = dict[str, "set[int | str] | None"]
"""Archive → what has to be as its checksum says: first bytes of tensors and names of members; None: all of it."""


class Archived:
    """State that lies in zip archives.

    What is packed, or read by a library, is verified before anything is put in place. What lies there as it is may be
    verified afterwards, by the checksums of what was compared: it is then read once, and not twice.

    Attributes:
        plain: The archives in which tensors lie as they are.
    """

    def __init__(self, tensors: Iterable[TensorRef], whole: Iterable[str] = ()) -> None:
        """Finds the archives.

        Args:
            tensors: The state.
            whole: Files of which every member counts: of small arrays nothing tells any more which one they were in.
        """
        self._before: _Wanted = dict.fromkeys(whole)
        self._after: _Wanted = {}
        self._inner: dict[Inner, None] = {}
        self._awaited = Awaited()
        self._is_stored = cache(_is_stored)
        for ref in tensors:
            self._inner.update(dict.fromkeys(each for each in _parts(ref.location) if isinstance(each, Inner)))
            wanted = self._after if self._lies_there(ref.location) else self._before
            for path, place in _places(ref.location):
                found = wanted.setdefault(path, set()) if path not in self._before else self._before[path]
                if found is not None:
                    found.add(place)
        self.plain = frozenset(filter(is_zip, self._after))

    def _lies_there(self, location: Location | None) -> bool:
        """Whether a tensor's bytes may be in an archive as they are, be it within an HDF5 file that is stored in it."""
        if isinstance(location, H5Data) and location.member is not None:
            return self._is_stored(location.path, location.member)
        return isinstance(location, FileRange)

    def verify_before(self) -> None:
        """Reads what is packed, and the archives that are parts of files.

        Raises:
            UnreadableArtifact: A member does not match its checksum.
        """
        for path in filter(is_zip, self._before):
            _verify(path, self._before[path], {})
        for each in self._inner:
            from ckptdoctor.containers.torchfiles.inner import damaged

            _require_none(damaged(each), each.path)

    @contextmanager
    def verified_beside(self) -> Iterator[Awaited]:
        """Does so while the block runs; what is damaged is told of rather than what that did to the block.

        Gives what the block leaves to be summed up, which is verified with the rest.

        Raises:
            UnreadableArtifact: A member does not match its checksum.
        """
        with ThreadPoolExecutor(max_workers=1) as pool, awaiting() as self._awaited:
            verified = pool.submit(self.verify_before)  # checksums give the interpreter's lock away
            try:
                yield self._awaited
            except (GraftRefused, UnreadableArtifact):
                self.verify_after({})
                raise
            finally:
                verified.result()

    def verify_after(self, sums: Mapping[Place, int]) -> None:
        """Holds the rest against its checksums, and reads what was not summed up.

        Raises:
            UnreadableArtifact: A member does not match its checksum.
        """
        for path in self.plain:
            _verify(path, self._after[path], sums)
        self._awaited.verify(sums)


def _verify(path: str, wanted: set[int | str] | None, sums: Mapping[Place, int]) -> None:
    with ZipArchive(path) as archive:
        _require_none(archive.damaged(None if wanted is None else _names(archive, wanted, sums)), path)


def _require_none(problems: Iterable[str], path: str) -> None:
    for problem in problems:
        raise UnreadableArtifact(f"{problem}: its state cannot be trusted", path)


def require_as_saved(tensors: Iterable[TensorRef]) -> None:
    """Holds tensors against the checksums that they have; of chunks of zarr these are seen to whenever they are read.

    Raises:
        UnreadableArtifact: One is damaged.
    """
    refs = list(tensors)
    archived = Archived(refs)
    archived.verify_before()
    archived.verify_after({})
    for ref in refs:
        summed = next(
            (each for each in _parts(ref.location) if isinstance(each, FileRange) and each.crc32c is not None), None
        )
        if summed is not None and scan_tensor(ref).checksum_ok is False:
            _require_none([f"the checksum of {ref.key!r} does not match"], summed.path)


def _is_stored(path: str, member: str) -> bool:
    with ZipArchive(path) as archive:
        return archive.is_stored(member)


def _parts(location: Location | None) -> Iterator[Location]:
    """Whatever lies somewhere that a tensor is made of."""
    if isinstance(location, (Strided, Recast)):
        yield from _parts(location.base)
    elif isinstance(location, Pieces):
        for part in location.parts:
            yield from _parts(part.location)
    elif isinstance(location, Quantized):
        for each in (location.codes, location.scale, location.table):
            yield from _parts(None if each is None else each.location)
    elif location is not None:
        yield location


def _places(location: Location | None) -> Iterator[tuple[str, int | str]]:
    """(file, offset of the data or name of the member) for whatever a tensor is made of."""
    for part in _parts(location):
        if isinstance(part, H5Data) and part.member is not None:
            yield part.path, part.member
        elif isinstance(part, (FileRange, Coded)):
            yield part.path, part.offset


def _names(archive: ZipArchive, wanted: set[int | str], sums: Mapping[Place, int]) -> list[str]:
    """The members that have to be read: those of which not all bytes were summed up, or to something else."""
    members = ByPlace(archive)
    names = {each for each in wanted if isinstance(each, str) and not _agrees(archive, each, sums)}
    for place in (place for place in wanted if isinstance(place, int)):
        member = members.at(place)
        if member is not None and sums.get(Place(archive.path, place, member.size)) != member.crc:
            names.add(member.name)
    return sorted(names)


def _agrees(archive: ZipArchive, name: str, sums: Mapping[Place, int]) -> bool:
    """Whether a member is as its checksum says, of which only what was not summed up is read."""
    return bool(sums) and archive.is_stored(name) and summed(archive, name, sums) == archive.crc(name)
