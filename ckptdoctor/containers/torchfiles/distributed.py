"""Directories of torch.distributed.checkpoint: `.metadata` names each tensor's chunks, `.distcp` files hold them.

Every chunk, and every object that is no tensor, is a whole archive of torch.save within a `.distcp` file. Sources:
torch/distributed/checkpoint/metadata.py and filesystem.py of 2.0 to 2.15.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.pickles.machine import Machine
from ckptdoctor.containers.pickles.values import NotThese, Opaque, Pairs, shape_of
from ckptdoctor.containers.torchfiles.archive import MAX_STEPS
from ckptdoctor.containers.torchfiles.fast import Unusual, fast_load
from ckptdoctor.containers.torchfiles.imports import Dtype, Name, TorchImports
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import Archived, Piece, Pieces, TensorRef

METADATA = ".metadata"
_MOST_AT_ONCE = 256 << 20
_PLAIN = re.compile(r"[^/\\\x00-\x1f]{1,255}\Z")


class Stored(NamedTuple):
    """What the directory has under a key.

    Attributes:
        path: The keys that lead to it, as the planner kept them; where it did not, the one key.
        tensor: The tensor; None for any other object.
        archive: Where the object is; None for a tensor, or where it is lost.
    """

    path: tuple[str | int, ...]
    tensor: TensorRef | None
    archive: Archived | None


class Directory(NamedTuple):
    """A directory.

    Attributes:
        entries: By their keys, in the order in which the program saved them.
        lost: Keys whose data is not there, and the file that should have it.
        names: What the metadata's pickle names; torch loads it with pickle.load.
        called: Those of them that an object was made of.
        saved_as: The directory as the program named it when it saved; "" where that is not kept.
    """

    entries: dict[str, Stored]
    lost: dict[str, str]
    names: tuple[Name, ...] = ()
    called: tuple[Name, ...] = ()
    saved_as: str = ""


def read_directory(path: str) -> Directory:
    """Reads `.metadata`, and looks for the files that it names.

    Raises:
        UnreadableArtifact: It is missing, corrupt, or names files elsewhere.
    """
    where = os.path.join(path, METADATA)
    root, imports = _read(where)
    fields = _fields(root, where)
    tensors, planned = fields.get("state_dict_metadata"), fields.get("planner_data")
    if not isinstance(tensors, Pairs):
        raise UnreadableArtifact("has no state_dict_metadata: it is no metadata of torch.distributed.checkpoint", where)
    places = _places(fields.get("storage_data"), path, where)
    paths = dict(_paths(planned))
    entries: dict[str, Stored] = {}
    lost: dict[str, str] = {}
    described = {key: each for key, each in tensors.items if isinstance(key, str)}
    known: dict[int, _Described] = {}
    for key in dict.fromkeys((*(key for key in paths if key in described), *described)):
        found = _stored(key, described[key], paths.get(key, (key,)), places.get(key, {}), known, where)
        entries[key] = found
        if found.tensor is None and found.archive is None:
            lost[key] = next((name for name, *_ in places.get(key, {}).values()), "")
        elif found.tensor is not None and found.tensor.location is None and found.tensor.size:
            lost[key] = next((name for name, place in places.get(key, {}).values() if place is None), "")
    return Directory(entries, lost, tuple(imports.names), tuple(imports.called), _saved_as(fields))


def _read(where: str) -> tuple[object, TorchImports]:
    """The pickle, read fast where it is whole in memory and usual."""
    with RegularFile(where) as file:
        if file.size <= _MOST_AT_ONCE:
            imports = TorchImports()
            try:
                return fast_load(file.read(0, file.size), 0, imports)[0], imports
            except Unusual:
                pass
        imports = TorchImports()
        return Machine(Cursor(file, where), imports, MAX_STEPS).run(), imports


def _saved_as(fields: dict[str, object]) -> str:
    """`storage_meta.checkpoint_id`: text, or a path, which pickles as its parts."""
    meta = fields.get("storage_meta")
    state = meta.state if isinstance(meta, Opaque) else None
    told = (
        next((each for name, each in state.items if name == "checkpoint_id"), None)
        if isinstance(state, Pairs)
        else None
    )
    if isinstance(told, Opaque) and "Path" in told.name:
        first, *rest = [each for each in told.args if isinstance(each, str)] or [""]
        return "/".join([first.rstrip("/\\"), *rest]) if rest else first
    return told if isinstance(told, str) else ""


def _fields(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, Opaque) or not isinstance(value.state, Pairs):
        raise UnreadableArtifact("is no metadata of torch.distributed.checkpoint", where)
    return {name: each for name, each in value.state.items if isinstance(name, str)}


def _paths(planned: object) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    for key, path in planned.items if isinstance(planned, Pairs) else ():
        if not isinstance(key, str) or not isinstance(path, tuple) or not path:
            continue  # its key is its name
        if all(isinstance(each, (str, int)) for each in path):
            yield key, path


_Place = tuple[str, "Archived | None"]


def _places(storage: object, path: str, where: str) -> dict[str, dict[tuple[int, ...], _Place]]:
    """Key → first element of a chunk → the file and the place in it."""
    found: dict[str, dict[tuple[int, ...], _Place]] = {}
    files: dict[str, tuple[str, int]] = {}
    for index, info in storage.items if isinstance(storage, Pairs) else ():
        at, told = _fields(index, where), _fields(info, where)
        key, name = at.get("fqn"), told.get("relative_path")
        offset, length = told.get("offset"), told.get("length")
        if not isinstance(key, str) or not isinstance(name, str) or type(offset) is not int or type(length) is not int:
            raise UnreadableArtifact("says where something is by what says no place", where)
        if name not in files:
            if not _PLAIN.match(name) or name in {".", ".."}:
                raise UnreadableArtifact(f"names the file {name[:80]!r}, which is not in the directory", where)
            full = os.path.join(path, name)
            files[name] = full, _size(full)
        full, size = files[name]
        inside = offset >= 0 and length > 0 and offset + length <= size
        start = _start(at.get("offset"), where)
        found.setdefault(key, {})[start] = (name, Archived(full, offset, length) if inside else None)
    return found


def _size(path: str) -> int:
    """Bytes of a file; -1 if it is not there, or is none."""
    try:
        with RegularFile(path) as file:
            return file.size
    except UnreadableArtifact:
        return -1


def _start(value: object, where: str) -> tuple[int, ...]:
    try:
        return shape_of(value) if isinstance(value, (tuple, list)) else ()
    except NotThese as error:
        raise UnreadableArtifact(f"has a chunk at no place: {error}", where) from error


class _Described(NamedTuple):
    """What the metadata says of a tensor: of all of one shape, a pickle of PyTorch has this but once."""

    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]


def _described(key: str, described: Opaque, where: str) -> _Described:
    fields = _fields(described, where)
    properties, size, chunks = fields.get("properties"), fields.get("size"), fields.get("chunks")
    state = properties.state if isinstance(properties, Opaque) else None
    dtype = next((each.name for each in state if isinstance(each, Dtype)), "") if isinstance(state, tuple) else ""
    shape = _start(size, where)
    if not dtype or not isinstance(chunks, list):
        raise UnreadableArtifact(f"describes {key[:80]!r} by something that no tensor has", where)
    found = []
    for chunk in chunks:
        told = _fields(chunk, where)
        start, extent = _start(told.get("offsets"), where), _start(told.get("sizes"), where)
        outside = len(start) != len(shape) or len(extent) != len(shape)
        if outside or any(one + length > most for one, length, most in zip(start, extent, shape, strict=True)):
            raise UnreadableArtifact(f"has a chunk of {key[:80]!r} that lies outside of it", where)
        found.append((start, extent))
    return _Described(dtype, shape, tuple(found))


def _stored(
    key: str,
    described: object,
    path: tuple[str | int, ...],
    places: Mapping[tuple[int, ...], _Place],
    known: dict[int, _Described],
    where: str,
) -> Stored:
    if not isinstance(described, Opaque) or not described.name.endswith("TensorStorageMetadata"):
        found = next(iter(places.values()), ("", None))[1]
        return Stored(path, None, found)
    told = known.get(id(described))
    if told is None:
        told = known[id(described)] = _described(key, described, where)
    pieces: list[Piece] = []
    for start, extent in told.chunks:
        place = places.get(start) or (places.get(()) if len(told.chunks) == 1 else None)
        if place is None or place[1] is None:
            return Stored(path, TensorRef(key, told.dtype, told.shape, None), None)
        pieces.append(Piece(start, extent, place[1]))
    covered, elements = sum(_elements(piece.shape) for piece in pieces), _elements(told.shape)
    if covered != elements:
        raise UnreadableArtifact(f"has chunks of {key[:80]!r} with {covered:,} of {elements:,} elements", where)
    pieces.sort(key=lambda piece: piece.start)
    whole = pieces[0].location if len(pieces) == 1 else Pieces(tuple(pieces))
    return Stored(path, TensorRef(key, told.dtype, told.shape, whole), None)


def _elements(shape: tuple[int, ...]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count
