"""The zip archive of torch.save: `data.pkl` and a member for each storage, under one folder.

Members are stored, not packed, each at a multiple of 64 bytes; `torch.load` checks no CRC-32.
"""

from __future__ import annotations

from itertools import pairwise

from ckptdoctor import storage
from ckptdoctor.containers.bytes.crc32 import fastest
from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.pickles.machine import Machine
from ckptdoctor.containers.torchfiles.fast import Unusual, fast_load
from ckptdoctor.containers.torchfiles.imports import Storage, TorchImports
from ckptdoctor.containers.torchfiles.reading import Loaded
from ckptdoctor.containers.torchfiles.tree import TorchTree
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.containers.zips.directory import DESCRIBED, LOCAL, STORED, Member
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import Coded, FileRange
from ckptdoctor.state import Oddity

MAX_PICKLE = 256 << 20
"""Bytes of data.pkl; 100,000 tensors are 8.5 MB."""
MAX_STEPS = 8_000_000
"""Steps of the machine; 100,000 tensors take 3,000,000."""
_ALIGNED = 64
_DESCRIPTORS = {False: (0,), True: (16, 24)}
"""Bytes of the descriptor behind a member, by whether its flags say that there is one; 24 with sizes of zip64."""
_PADDING = 4 + 63 + 20
"""The most that torch puts between a name and its bytes: a field with up to 63 bytes, and sizes of zip64."""
_NUMBER = 16
"""Bytes of the largest number."""
_HEADER = 256
"""Bytes in which a header with its padding fits."""
_DATA = "data.pkl"


def root_of(names: list[str]) -> str | None:
    """The folder of an archive, with its `/`; None if it is no archive of torch.save."""
    found = [name.removesuffix(_DATA) for name in names if name == _DATA or name.endswith(f"/{_DATA}")]
    return min(found, key=lambda each: (each.count("/"), len(each)), default=None)


def _run(data: bytes, cursor: Cursor) -> tuple[TorchImports, object]:
    """What the pickle builds, and what it names; the cursor stands behind it."""
    imports = TorchImports()
    try:
        value, cursor.position = fast_load(data, 0, imports)
    except Unusual:
        imports = TorchImports()
        value = Machine(cursor, imports, MAX_STEPS).run()
    return imports, value


def load_archive(path: str, archive: ZipArchive | None = None, start: int = 0) -> Loaded:
    """Reads an archive.

    Args:
        path: The file.
        archive: The archive, where it is only a part of the file, as in `.distcp`.
        start: Where it begins in the file.
    """
    with archive or ZipArchive(path) as opened:
        return _load(path, opened, start)


def _load(path: str, archive: ZipArchive, start: int) -> Loaded:
    root = root_of(archive.names)
    if root is None:
        raise UnreadableArtifact("holds no data.pkl: it is no file of torch.save", path)
    oddities = list(archive.oddities)
    roots = {name.removesuffix(_DATA) for name in archive.names if name.endswith(f"/{_DATA}")}
    if len(roots) > 1:
        oddities.append(Oddity("X004", f"holds {len(roots)} data.pkl, and loaders differ in which they take"))
    order = archive.read(f"{root}byteorder") if f"{root}byteorder" in archive else b"little"
    if order not in {b"little", b"big"}:
        raise UnreadableArtifact(f"says {order[:20]!r} of its byte order", path, place=f"{root}byteorder")
    is_big = order == b"big"
    folder = f"{root}data/"
    if folder + "0" not in archive and not any(name.startswith(folder) for name in archive.names):
        folder = f"{root}tensors/"  # torch 1.4 wrote the archive on request
    devices: dict[str, None] = {}
    packed: list[str] = []
    told = _told_by_directory(path, archive.members, start)
    known = frozenset(archive.names)

    def stored(each: Storage) -> FileRange | Coded | None:
        devices[each.location] = None
        name = f"{folder}{each.key}"
        if name not in known:
            return None
        place = told.get(name) or archive.stored_range(name)
        if place is not None:
            return FileRange(path, start + place[0], place[1], None, is_big)
        packed.append(name)
        offset, length = archive.packed_range(name)
        return Coded(path, start + offset, length, "deflate", 0, archive.size(name), big_endian=is_big)

    pickle = f"{root}{_DATA}"
    data = archive.read(pickle, MAX_PICKLE)
    if pickle in told and told[pickle] != archive.stored_range(pickle):
        told = {}
    cursor = Cursor(data, path)
    imports, root_value = _run(data, cursor)
    tree = TorchTree(cursor, stored)
    node = tree.node(root_value, (None, ""))
    if cursor.left:
        oddities.append(Oddity("I007", f"{cursor.left:,} bytes behind the end of the pickle are not read"))
    if archive.is_unsummed:
        oddities.append(Oddity("I009", "the archive was written without checksums (torch's set_crc32_options(False))"))
    if packed:
        oddities.append(
            Oddity(
                "I007",
                f"{len(packed)} storages are packed in the archive, which torch.load(mmap=True) reads as numbers "
                "silently",
                fix="stored",
            )
        )
    beside = tuple(name for name in archive.names if not name.startswith(folder))
    protocol = data[1] if data[:1] == b"\x80" and len(data) > 1 else 0
    return Loaded(
        node, "zip", protocol, tuple(imports.names), tuple(imports.called), tuple(devices), tuple(tree.lost),
        tuple(oddities), tuple(imports.arrays), beside, bool(packed),
    )  # fmt: skip


def _told_by_directory(path: str, members: list[Member], start: int) -> dict[str, tuple[int, int]]:
    """Where large members of a file at a URL lie, without a request for the header of each.

    torch's writer lets the bytes of each begin at a multiple of 64, and a descriptor is all that it puts behind them
    (caffe2/serialize/inline_container.cc, miniz.c): what ends at the next header can so be placed by its size, if all
    members lie so: by chance, one of another writer's does. The rest is fetched, several at once, with its header.
    Numbers, which is what is read of them, have the bytes of another one of the same size and CRC-32: the steps of a
    thousand parameters are one.
    """
    if not storage.is_remote(path):
        return {}
    ordered = sorted(members, key=lambda each: each.offset)
    places = [_begin(*pair) for pair in pairwise(ordered)]
    found = {each.name: (place, each.size) for each, place in zip(ordered, places, strict=False) if place is not None}
    if len(found) < len(places):
        found = {}
    inline: list[tuple[int, int]] = []
    alike: dict[tuple[int, int], list[int]] = {}
    for member in ordered:
        if member.name not in found:
            if member.size <= storage.BLOCK:
                inline.append((start + member.offset, min(storage.BLOCK, member.size + _HEADER)))
        elif 0 < member.size <= _NUMBER:
            alike.setdefault((member.size, member.crc), []).append(start + found[member.name][0])
    ranges = storage.open_range(path)
    ranges.expect([*inline, *((places[0], size) for (size, _), places in alike.items())])
    unlike: list[tuple[int, int]] = []
    for (size, crc), (first, *others) in alike.items():
        data = ranges.read(first, size) if others else b""
        if others and fastest(size)(data, 0) == crc:
            ranges.tell(dict.fromkeys(others, data))
        else:  # torch writes no checksums where it is told so
            unlike += [(each, size) for each in others]
    ranges.expect(unlike)
    return found


def _begin(member: Member, following: Member) -> int | None:
    """Where the bytes of a member begin that torch wrote; None where it did not."""
    least = member.offset + LOCAL.size + len(member.name.encode("utf-8", "replace"))
    ends = (following.offset - behind for behind in _DESCRIPTORS[bool(member.flags & DESCRIBED)])
    begins = (end - member.size for end in ends if member.method == STORED and member.size == member.packed)
    return next((each for each in begins if 0 <= each - least <= _PADDING and each % _ALIGNED == 0), None)
