"""The legacy stream of torch.save, with other values in it; torch before 1.6 reads nothing else."""

import os
import struct
from functools import partial
from typing import BinaryIO, NamedTuple

from ckptdoctor.containers.bytes.copying import Progress, create
from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.bytes.window import copy_range
from ckptdoctor.containers.pickles.machine import Machine
from ckptdoctor.containers.pickles.values import Pairs
from ckptdoctor.containers.tensors.putting import content
from ckptdoctor.containers.torchfiles.archive import MAX_PICKLE, MAX_STEPS
from ckptdoctor.containers.torchfiles.imports import Storage
from ckptdoctor.containers.torchfiles.tree import itemsize
from ckptdoctor.containers.torchfiles.writing.archive import ALIGNED, Splice
from ckptdoctor.containers.torchfiles.writing.opcodes import written
from ckptdoctor.containers.torchfiles.writing.splicing import Script
from ckptdoctor.containers.torchfiles.writing.storages import Remembering, Sizes, Storages
from ckptdoctor.containers.zips.editing import Replacement, create_zip
from ckptdoctor.errors import GraftRefused, UnreadableArtifact

_OF_STREAM = 6
"""Parts of a reference to a storage; an archive's has no last one, which says of what storage it is a view."""
_BEFORE = 3
"""Pickles before the object: magic number, protocol, machine."""
_COUNT = struct.Struct("<q")


class _Stream(NamedTuple):
    """A stream taken apart.

    Attributes:
        head: What comes before the object's pickle.
        pickle: That pickle.
        places: Key → first byte of its count, and bytes from there to its end.
        is_big: Elements are big-endian.
    """

    head: bytes
    pickle: bytes
    places: dict[str, tuple[int, int]]
    is_big: bool


def _taken_apart(source: str) -> _Stream:
    with RegularFile(source) as file:
        cursor = Cursor(file, source)
        ends = [cursor.position]
        imports = Remembering()
        values: list[object] = []
        for _ in range(_BEFORE + 2):
            values.append(Machine(cursor, imports, MAX_STEPS).run())
            ends.append(cursor.position)
        first, last = ends[_BEFORE], ends[_BEFORE + 1]
        if last - first > MAX_PICKLE:
            raise UnreadableArtifact(f"has a pickle of {last - first:,} bytes", source)
        system = values[_BEFORE - 1]
        told = dict(each for each in system.items if isinstance(each[0], str)) if isinstance(system, Pairs) else {}
        places = _places(source, file.size, cursor.position, values[-1], imports.storages)
        is_big = told.get("little_endian") is False
        return _Stream(file.read(0, first), file.read(first, last - first), places, is_big)


def exchange(source: str, output: str, splice: Splice, progress: Progress | None = None) -> Sizes:
    """Writes a stream with another object.

    Args:
        source: The stream.
        output: The file that is written.
        splice: Makes the object's pickle.
        progress: Told how many more bytes are written.

    Raises:
        UnreadableArtifact: The source is broken.
        GraftRefused: A value cannot be written.
    """
    head, pickle, places, is_big = _taken_apart(source)
    storages = Storages(set(places))
    script = Script(pickle, source)
    new = splice(script, lambda node: written(node, storages.keep, legacy=True, free=script.free))
    if is_big and storages.tensors:
        raise GraftRefused("the target has big-endian storages: save it again on the machine that is to go on", source)
    kept = [key for key in places if key in script.storages]
    listed = written([*kept, *storages.tensors], storages.keep)
    with open(create(output), "wb") as stream, open(source, "rb") as reading:
        stream.write(head + new + b"\x80\x02" + listed + b".")
        for key in kept:
            _copy(reading, stream, *places[key], progress)
        for ref in storages.tensors.values():
            stream.write(_COUNT.pack(ref.size))
            for piece in content(ref):
                stream.write(piece)
                if progress is not None:
                    progress(len(piece))
    copied = sum(places[key][1] for key in kept)
    return Sizes(len(new) + storages.nbytes, copied)


def as_archive(source: str, output: str, progress: Progress | None = None) -> Sizes:
    """Writes a stream as the archive that torch has written since 1.6; all of it stays.

    Raises:
        UnreadableArtifact: The source is broken.
        GraftRefused: It names storages in a way that an archive has no place for.
    """
    _, pickle, places, is_big = _taken_apart(source)
    script = Script(pickle, source, whole_tensors=False)
    cut: list[tuple[int, int]] = []
    for reference in script.references:
        *_, view = reference.real.items or [reference]
        if len(reference.real.items) != _OF_STREAM or script.data[view.start : view.end] != b"N":
            raise GraftRefused(
                "the stream has storages that are parts of others: load it with torch, and save it again"
            )
        cut.append((view.start, view.end))
    new = script.exchanged({}, spans=[(start, end, b"") for start, end in sorted(set(cut))])
    members = {"data.pkl": Replacement(new), "byteorder": Replacement(b"big" if is_big else b"little")}
    with open(source, "rb") as reading:
        for key, (start, length) in places.items():
            copy = partial(_copied, reading.fileno(), start + _COUNT.size, length - _COUNT.size, progress)
            members[f"data/{key}"] = Replacement(copy, length)
        members["version"] = Replacement(b"3\n")
        sizes = create_zip(output, {f"archive/{name}": each for name, each in members.items()}, aligned=ALIGNED)
    return Sizes(len(new), sizes.replaced - len(new))


def _copied(source: int, start: int, count: int, progress: Progress | None, target: int, at: int) -> int:
    copy_range(source, start, count, target, at, progress)
    return count


def _places(
    source: str, size: int, start: int, keys: object, storages: dict[str, Storage]
) -> dict[str, tuple[int, int]]:
    """Key → first byte of its count, and bytes from there to its end."""
    found: dict[str, tuple[int, int]] = {}
    at = start
    for key in map(str, keys if isinstance(keys, list) else ()):
        storage = storages.get(key)
        if storage is None:
            raise UnreadableArtifact(f"lists the storage {key[:40]!r}, of which its object says nothing", source)
        length = _COUNT.size + storage.numel * (itemsize(storage.dtype) if storage.dtype else 1)
        found[key] = (at, length)
        at += length
    if at > size:
        raise UnreadableArtifact(f"should be {at:,} bytes and is {size:,}: truncated", source)
    return found


def _copy(reading: BinaryIO, stream: BinaryIO, start: int, count: int, progress: Progress | None) -> None:
    stream.flush()
    at = stream.tell()
    copy_range(reading.fileno(), start, count, stream.fileno(), at, progress)
    stream.seek(at + count, os.SEEK_SET)
