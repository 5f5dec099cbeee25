"""Checksums of zip archives that slots come from: a damaged member would be copied under a new, correct checksum."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import Coded, FileRange, H5Data, Location, Pieces, TensorRef

_SIGNATURE = b"PK\x03\x04"


def verify_members(tensors: Iterable[TensorRef], whole: Iterable[str] = ()) -> None:
    """Reads every member that these tensors lie in, once, and holds it against its checksum.

    Args:
        tensors: The tensors.
        whole: Files of which every member counts: of small arrays nothing tells any more which one they were in.

    Raises:
        UnreadableArtifact: One does not match.
    """
    places: dict[str, set[int | str] | None] = dict.fromkeys(whole)
    for ref in tensors:
        for path, place in _places(ref.location):
            found = places.setdefault(path, set())
            if found is not None:
                found.add(place)
    for path, wanted in places.items():
        if not _is_zip(path):
            continue
        with ZipArchive(path) as archive:
            for problem in archive.damaged(None if wanted is None else _names(archive, wanted)):
                raise UnreadableArtifact(f"{problem}: its state cannot be trusted", path)


def _places(location: Location | None) -> Iterator[tuple[str, int | str]]:
    """(file, offset of the data or name of the member) for whatever a tensor is made of."""
    if isinstance(location, H5Data):
        if location.member is not None:
            yield location.path, location.member
    elif isinstance(location, (FileRange, Coded)):
        yield location.path, location.offset
    elif isinstance(location, Pieces):
        for part in location.parts:
            yield from _places(part.location)


def _is_zip(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def _names(archive: ZipArchive, wanted: set[int | str]) -> list[str]:
    starts = sorted((archive.packed_range(name)[0], name) for name in archive.names)
    offsets = [offset for offset, _ in starts]
    found = {place for place in wanted if isinstance(place, str)}
    for place in wanted:
        if isinstance(place, int) and (index := bisect_right(offsets, place)):
            found.add(starts[index - 1][1])
    return sorted(found)
