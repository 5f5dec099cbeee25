"""The legacy stream of torch.save, with other values in it; torch before 1.6 reads nothing else."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from ckptdoctor.containers.bytes.copying import Progress, create
from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.bytes.window import copy_range
from ckptdoctor.containers.pickles.machine import Machine
from ckptdoctor.containers.torchfiles.archive import MAX_PICKLE, MAX_STEPS
from ckptdoctor.containers.torchfiles.imports import Storage
from ckptdoctor.containers.torchfiles.tree import itemsize
from ckptdoctor.containers.torchfiles.writing.archive import Splice, storages_in
from ckptdoctor.containers.torchfiles.writing.opcodes import written
from ckptdoctor.containers.torchfiles.writing.splicing import Script
from ckptdoctor.containers.torchfiles.writing.storages import Remembering, Sizes, Storages, content
from ckptdoctor.errors import UnreadableArtifact

_BEFORE = 3
"""Pickles before the object: magic number, protocol, machine."""
_COUNT = struct.Struct("<q")


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
        head, pickle = file.read(0, first), file.read(first, last - first)
        places = _places(source, file.size, cursor.position, values[-1], imports.storages)
    storages = Storages(set(places))
    new = splice(Script(pickle, source), lambda node: written(node, storages.keep, legacy=True))
    used = storages_in(new, source).storages
    kept = [key for key in places if key in used]
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
