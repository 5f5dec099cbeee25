"""The zip archive of torch.save, with other values in it: storages that stay are copied by the kernel.

Sources: torch/csrc/jit/serialization/inline_container.cc, caffe2/serialize/inline_container.h; measured with torch 1.6
to 2.15, which need `data.pkl`, the storages and `version`, stored and not packed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.window import Place, write_at
from ckptdoctor.containers.pickles.machine import Machine
from ckptdoctor.containers.pickles.reading import Node
from ckptdoctor.containers.tensors.putting import nbytes_of, put
from ckptdoctor.containers.tensors.raw_places import RawPlaces
from ckptdoctor.containers.torchfiles.archive import MAX_PICKLE, MAX_STEPS, root_of
from ckptdoctor.containers.torchfiles.fast import Unusual, fast_load
from ckptdoctor.containers.torchfiles.writing.opcodes import written
from ckptdoctor.containers.torchfiles.writing.splicing import Script
from ckptdoctor.containers.torchfiles.writing.storages import (
    Remembering,
    Sizes,
    Storages,
)
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.containers.zips.editing import Producer, Replacement, append_zip, create_zip, rewrite
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import FileRange, TensorRef

ALIGNED = 64
"""Storages begin at multiples of so many bytes: what maps them into memory wants that."""
_ROOT = "archive/"
_FORMAT = ".format_version"
_VERSION = b"3\n"
_PIECE = 1 << 20

Splice = Callable[[Script, "Callable[[Node], bytes]"], bytes]
"""Makes the new pickle of the old one; is given what writes a value."""


def exchange(source: str, output: str, splice: Splice, progress: Progress | None = None) -> Sizes:
    """Writes an archive with another pickle.

    Args:
        source: The archive.
        output: The file that is written.
        splice: Makes the pickle.
        progress: Told how many more bytes are written.

    Raises:
        UnreadableArtifact: The source is broken.
        GraftRefused: A value cannot be written.
    """
    with ZipArchive(source) as opened:
        names = list(opened.names)
        root = root_of(names)
        if root is None:
            raise UnreadableArtifact("holds no data.pkl: it is no file of torch.save", source)
        is_big = f"{root}byteorder" in opened and opened.read(f"{root}byteorder") == b"big"
        pickle = opened.read(f"{root}data.pkl", MAX_PICKLE)
    folder = f"{root}tensors/"  # torch 1.4, on request
    if not any(name.startswith(folder) for name in names):
        folder = f"{root}data/"
    there = {name.removeprefix(folder) for name in names if name.startswith(folder)}
    storages = Storages(set(there))
    script = Script(pickle, source)
    new = splice(script, lambda node: written(node, storages.keep, free=script.free))
    replaced = {f"{root}data.pkl": Replacement(new), **_unreckoned(root, names)}
    if is_big and storages.tensors:
        raise UnreadableArtifact("has big-endian storages: save it again on the machine that is to go on", source)
    dropped = {f"{folder}{key}" for key in there - script.storages}
    with RawPlaces() as raw:
        replaced |= _storages(storages, folder, raw, progress)
        sizes = rewrite(source, output, replaced, progress, dropped=dropped, aligned=ALIGNED)
    return Sizes(sizes.replaced, sizes.copied)


def unpack(source: str, output: str, progress: Progress | None = None) -> None:
    """Writes an archive whose members are all stored, as torch writes them.

    Raises:
        UnreadableArtifact: The source is broken, or a CRC does not match.
    """
    with ZipArchive(source) as opened:
        packed = {name: opened.size(name) for name in opened.names if not opened.is_stored(name)}
        replaced = _unreckoned(root_of(opened.names) or "", opened.names)
    replaced |= {name: Replacement(_unpacking(source, name, progress), size) for name, size in packed.items()}
    rewrite(source, output, replaced, progress, aligned=ALIGNED)


def _unreckoned(root: str, names: Collection[str]) -> dict[str, Replacement]:
    """Of a file of torch 2.7 and later: its storages do not lie as torch lays them any more.

    From version 1 on, torch.load may reckon where a storage is instead of reading that (fake and meta tensors, and with
    `config.load.calculate_storage_offsets`), and would take other bytes. Source: torch/serialization.py, `_load`.
    """
    name = f"{root}{_FORMAT}"
    return {name: Replacement(b"0")} if name in names else {}


def _unpacking(source: str, name: str, progress: Progress | None) -> Producer:
    def write(descriptor: int, start: int) -> int:
        at = start
        with ZipArchive(source) as opened, opened.open(name) as member:
            while piece := member.read(_PIECE):
                write_at(descriptor, piece, at)
                at += len(piece)
                if progress is not None:
                    progress(len(piece))
        return at - start

    return write


def create(output: str, node: Node, progress: Progress | None = None) -> Sizes:
    """Writes a value as a new archive.

    Raises:
        GraftRefused: It cannot be written.
    """
    with RawPlaces() as raw:
        return Sizes(create_zip(output, _members(node, raw, progress), aligned=ALIGNED).replaced, 0)


def append(descriptor: int, start: int, node: Node, progress: Progress | None = None) -> int:
    """Writes a value as an archive at the end of a file, as `.distcp` has one a tensor; answers how many bytes.

    Raises:
        GraftRefused: It cannot be written.
    """
    with RawPlaces() as raw:
        return append_zip(descriptor, start, _members(node, raw, progress), aligned=ALIGNED)


def _members(node: Node, raw: RawPlaces, progress: Progress | None) -> dict[str, Replacement]:
    storages = Storages(set())
    pickle = b"\x80\x02" + written(node, storages.keep) + b"."
    members = {f"{_ROOT}data.pkl": Replacement(pickle), f"{_ROOT}byteorder": Replacement(b"little")}
    members |= _storages(storages, f"{_ROOT}data/", raw, progress)
    members[f"{_ROOT}version"] = Replacement(_VERSION)
    return members


def storages_in(pickle: bytes, path: str) -> Remembering:
    """The storages that a pickle names."""
    found = Remembering()
    try:
        fast_load(pickle, 0, found)
    except Unusual:
        found = Remembering()
        Machine(Cursor(pickle, path), found, MAX_STEPS).run()
    return found


def _storages(storages: Storages, folder: str, raw: RawPlaces, progress: Progress | None) -> dict[str, Replacement]:
    return {
        f"{folder}{key}": Replacement(partial(_put, ref, raw, progress), nbytes_of(ref), _crc_of(ref, raw), _first(ref))
        for key, ref in storages.tensors.items()
    }


def _crc_of(ref: TensorRef, raw: RawPlaces) -> int | None:
    """The checksum of a tensor that is a whole member of another archive."""
    location = ref.location
    if not isinstance(location, FileRange) or location.big_endian or location.fortran_order or not location.nbytes:
        return None
    return raw.crc(Place(location.path, location.offset, location.nbytes))


def _first(ref: TensorRef) -> int | None:
    return ref.location.offset if isinstance(ref.location, FileRange) else None


def _put(ref: TensorRef, raw: RawPlaces, progress: Progress | None, descriptor: int, start: int) -> int:
    return put(ref, descriptor, start, progress, raw)
