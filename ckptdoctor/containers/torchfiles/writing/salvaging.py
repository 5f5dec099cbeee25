"""What is whole of an archive of torch.save that was cut off, or whose directory is damaged.

Members lie one after the other, `data.pkl` first. Their own headers have no sizes: those of storages follow from the
pickle, and behind each member stands its CRC-32, which tells whether it is whole (PKWARE's APPNOTE.TXT, 4.3.7, 4.3.9).
"""

import struct
from typing import NamedTuple

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.crc32 import fastest
from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.bytes.window import copy_range
from ckptdoctor.containers.pickles.machine import Machine
from ckptdoctor.containers.pickles.reading import Node
from ckptdoctor.containers.torchfiles.archive import MAX_PICKLE, MAX_STEPS
from ckptdoctor.containers.torchfiles.imports import Storage
from ckptdoctor.containers.torchfiles.tree import TorchTree, itemsize
from ckptdoctor.containers.torchfiles.writing.archive import ALIGNED, storages_in
from ckptdoctor.containers.torchfiles.writing.splicing import GONE, Path, Script
from ckptdoctor.containers.torchfiles.writing.storages import Remembering
from ckptdoctor.containers.zips.editing import Producer, Replacement, create_zip
from ckptdoctor.containers.zips.local import LocalHeader, local_header
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import FileRange

_SUMS = (struct.Struct("<4s3I"), struct.Struct("<4sI2Q"))
"""What stands behind a member: signature, CRC-32, and its sizes, which are wide in large archives."""
_PICKLE, _DATA, _ORDER, _VERSION = "data.pkl", "data/", "byteorder", "version"
_SMALL = 4096
_STEP = 1 << 20
_MOST_MEMBERS = 1_000_000


class Salvaged(NamedTuple):
    """What is whole.

    Attributes:
        path: The archive.
        root: Its folder, with a `/`.
        pickle: Its pickle.
        node: What that builds; tensors whose storages are lost have no location.
        places: Storages that are whole: key → first byte and bytes.
        named: Storages that the pickle names.
        is_big: Numbers are big-endian.
    """

    path: str
    root: str
    pickle: bytes
    node: Node
    places: dict[str, tuple[int, int]]
    named: int
    is_big: bool


def salvage(path: str) -> Salvaged | None:
    """Looks for what is whole in an archive; None if it does not begin as one of torch.save.

    Raises:
        UnreadableArtifact: Its pickle is broken.
    """
    with RegularFile(path) as file:
        first = local_header(file, 0)
        if first is None or not first.name.endswith(f"/{_PICKLE}"):
            return None
        cursor = Cursor(file, path, first.start, min(file.size - first.start, MAX_PICKLE))
        named = Remembering()
        value = Machine(cursor, named, MAX_STEPS).run()
        size = cursor.position
        pickle = file.read(first.start, size)
        root = first.name.removesuffix(_PICKLE)
        sizes = {key: each.numel * (itemsize(each.dtype) if each.dtype else 1) for key, each in named.storages.items()}
        places, is_big = _members(file, _behind(file, first, size), root, sizes)

    def stored(storage: Storage) -> FileRange | None:
        place = places.get(storage.key)
        return FileRange(path, *place, big_endian=is_big) if place is not None else None

    node = TorchTree(cursor, stored).node(value, (None, ""))
    return Salvaged(path, root, pickle, node, places, len(sizes), is_big)


def _behind(file: RegularFile, header: LocalHeader, size: int) -> int | None:
    """Where the next member begins, if this one is whole: its bytes are there, and have the CRC-32 that is told."""
    end = header.start + size
    if end > file.size or not header.described:
        return None
    crc, sum_up = 0, fastest()
    for start in range(header.start, end, _STEP):
        crc = sum_up(file.read(start, min(_STEP, end - start)), crc)
    for form in _SUMS:
        if end + form.size <= file.size:
            signature, told, *sizes = form.unpack(file.read(end, form.size))
            if signature == b"PK\x07\x08" and told == crc and sizes == [size, size]:
                return end + form.size
    return None


def _members(
    file: RegularFile, at: int | None, root: str, sizes: dict[str, int]
) -> tuple[dict[str, tuple[int, int]], bool]:
    places: dict[str, tuple[int, int]] = {}
    is_big = False
    for _ in range(_MOST_MEMBERS):
        header = local_header(file, at) if at is not None else None
        if header is None:
            break
        key = header.name.removeprefix(f"{root}{_DATA}")
        size = sizes.get(key) if key != header.name else None
        if size is None:
            size = file.read(header.start, min(_SMALL, file.size - header.start)).find(b"PK\x07\x08")
            is_big = is_big or (header.name == root + _ORDER and file.read(header.start, max(size, 0)) == b"big")
        at = _behind(file, header, size) if size >= 0 else None
        if at is not None and key in sizes:
            places[key] = (header.start, size)
    return places, is_big


def write(found: Salvaged, output: str, lost: list[Path], progress: Progress | None = None) -> None:
    """Writes what is whole as an archive; the entries at `lost` are left out.

    Raises:
        UnreadableArtifact: Something that is lost would still be named.
    """
    text = Script(found.pickle, found.path).exchanged(dict.fromkeys(lost, GONE))
    used = storages_in(text, found.path).storages
    if used.keys() - found.places.keys():
        raise UnreadableArtifact("tensors that are lost are named where nothing can be left out", found.path)
    members = {found.root + _PICKLE: Replacement(text)}
    members[found.root + _ORDER] = Replacement(b"big" if found.is_big else b"little")
    for key in used:
        members[f"{found.root}{_DATA}{key}"] = Replacement(_copied(found, key, progress), found.places[key][1])
    members[found.root + _VERSION] = Replacement(b"3\n")
    create_zip(output, members, aligned=ALIGNED)


def _copied(found: Salvaged, key: str, progress: Progress | None) -> Producer:
    start, size = found.places[key]

    def produce(descriptor: int, at: int) -> int:
        with open(found.path, "rb") as source:
            copy_range(source.fileno(), start, size, descriptor, at, progress)
        return size

    return produce
