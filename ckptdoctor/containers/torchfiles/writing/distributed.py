"""A directory of torch.distributed.checkpoint with other entries: a new `.distcp` file, and `.metadata` that names it.

Sources: torch/distributed/checkpoint/metadata.py, filesystem.py (`_write_item`), of 2.0 to 2.15.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from itertools import count
from typing import NamedTuple

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.pickles.reading import Node
from ckptdoctor.containers.torchfiles.distributed import METADATA
from ckptdoctor.containers.torchfiles.writing.archive import append
from ckptdoctor.containers.torchfiles.writing.built import Entry, Value
from ckptdoctor.containers.torchfiles.writing.opcodes import key_of
from ckptdoctor.containers.torchfiles.writing.splicing import Script
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import TensorRef

_MODULE = b"ctorch.distributed.checkpoint.metadata\n"
_DESCRIBED, _PLANNED, _STORED = "state_dict_metadata", "planner_data", "storage_data"
_MAX = 256 << 20
FilePath = tuple[str | int, ...]


class Added(NamedTuple):
    """An entry.

    Attributes:
        path: The keys and indices that lead to it.
        value: A tensor, or any object.
    """

    path: FilePath
    value: Node


def exchange(
    source: str, output: str, entries: Mapping[str, Added], gone: Collection[str], progress: Progress | None = None
) -> int:
    """Writes what is new of a directory: `.metadata`, and one file of entries. All other files are the caller's.

    Args:
        source: The directory.
        output: The new one, which is there already.
        entries: Key → what is under it from now on.
        gone: Keys that the new one does not have, or has anew.
        progress: Told how many more bytes are written.

    Returns:
        Bytes that are new.

    Raises:
        UnreadableArtifact: The metadata is broken.
        GraftRefused: A value cannot be written.
    """
    script = opened(source)
    names = set(os.listdir(source))
    name = next(each for each in (f"__0_{number}.distcp" for number in count()) if each not in names)
    places, end = _put(os.path.join(output, name), entries, progress)
    text = _metadata(script, entries, set(gone), places, name)
    with open(os.path.join(output, METADATA), "xb") as stream:
        stream.write(text)
    return end + len(text)


def create(output: str, entries: Mapping[str, Added], progress: Progress | None = None) -> int:
    """Writes a directory, which is there already; answers how many bytes.

    Raises:
        GraftRefused: A value cannot be written.
    """
    name = "__0_0.distcp"
    places, end = _put(os.path.join(output, name), entries, progress)
    described, planned, stored = (b"}" + each for each in _new(entries, places, name))
    fields = {_DESCRIBED: described, _PLANNED: planned, _STORED: stored, "storage_meta": b"N"}
    text = b"\x80\x02" + _object(b"Metadata", fields) + b"."
    with open(os.path.join(output, METADATA), "xb") as stream:
        stream.write(text)
    return end + len(text)


def _put(path: str, entries: Mapping[str, Added], progress: Progress | None) -> tuple[dict[str, tuple[int, int]], int]:
    """Writes a file of entries; answers where each is, and how many bytes it has."""
    places: dict[str, tuple[int, int]] = {}
    end = 0
    writing = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        for key, each in entries.items():
            length = append(writing, end, each.value, progress)
            places[key] = (end, length)
            end += length
    finally:
        os.close(writing)
    return places, end


def _new(entries: Mapping[str, Added], places: Mapping[str, tuple[int, int]], name: str) -> tuple[bytes, bytes, bytes]:
    """What sets new entries in the three dictionaries of the metadata."""
    described = b"".join(key_of(key) + _description(each.value) + b"s" for key, each in entries.items())
    planned = b"".join(key_of(key) + key_of(each.path) + b"s" for key, each in entries.items())
    stored = b"".join(_index(key, each.value) + _place(name, *places[key]) + b"s" for key, each in entries.items())
    return described, planned, stored


def opened(directory: str) -> Script:
    """A directory's `.metadata`, taken apart.

    Raises:
        UnreadableArtifact: It is broken.
    """
    where = os.path.join(directory, METADATA)
    with RegularFile(where) as file:
        if file.size > _MAX:
            raise UnreadableArtifact(f"is {file.size:,} bytes", where)
        return Script(file.read(0, file.size), where)


def entries_of(script: Script) -> Iterator[tuple[object, Entry, bool]]:
    """Everything that the metadata says of its entries: the entry's key, what is said, and whether that is a place."""
    for part in (_DESCRIBED, _PLANNED, _STORED):
        found = script.find((part,))
        for entry in found.real.entries if found is not None else ():
            yield _key(entry.key.real, part), entry, part == _STORED


def _metadata(
    script: Script, entries: Mapping[str, Added], gone: set[str], places: Mapping[str, tuple[int, int]], name: str
) -> bytes:
    dropped = [entry for key, entry, _ in entries_of(script) if key in gone]
    described, planned, stored = _new(entries, places, name)
    return script.exchanged(
        {}, dropped=dropped, added={(_DESCRIBED,): described, (_PLANNED,): planned, (_STORED,): stored}
    )


def _key(value: Value, part: str) -> object:
    """The key of an entry; storage_data has objects for keys, whose `fqn` it is."""
    if part != _STORED:
        return value.constant
    return next((each.value.constant for each in value.entries if each.key.constant == "fqn"), None)


def _object(name: bytes, fields: Mapping[str, bytes], module: bytes = _MODULE) -> bytes:
    """An instance of a dataclass."""
    made = module + name + b"\n)\x81"
    if not fields:
        return made
    return made + b"}(" + b"".join(key_of(each) + content for each, content in fields.items()) + b"ub"


def _size(shape: tuple[int, ...]) -> bytes:
    return b"ctorch\nSize\n" + key_of(shape) + b"\x85R"


def _description(value: Node) -> bytes:
    if not isinstance(value, TensorRef):
        return _object(b"BytesStorageMetadata", {})
    layout = b"ctorch.serialization\n_get_layout\n" + key_of("torch.strided") + b"\x85R"
    memory = _MODULE + b"_MEM_FORMAT_ENCODING\nK\x00\x85R"
    properties = (
        _MODULE
        + b"TensorProperties\n)\x81(ctorch\n"
        + value.dtype.encode()
        + b"\n"
        + layout
        + b"\x89"
        + memory
        + b"\x89tb"
    )
    chunk = _object(b"ChunkStorageMetadata", {"offsets": _size((0,) * len(value.shape)), "sizes": _size(value.shape)})
    return _object(
        b"TensorStorageMetadata",
        {"properties": properties, "size": _size(value.shape), "chunks": b"](" + chunk + b"e"},
    )


def _index(key: str, value: Node) -> bytes:
    if not isinstance(value, TensorRef):
        return _object(b"MetadataIndex", {"fqn": key_of(key)})
    return _object(b"MetadataIndex", {"fqn": key_of(key), "offset": _size((0,) * len(value.shape)), "index": b"K\x00"})


def _place(name: str, offset: int, length: int) -> bytes:
    return _object(
        b"_StorageInfo",
        {"relative_path": key_of(name), "offset": key_of(offset), "length": key_of(length)},
        b"ctorch.distributed.checkpoint.filesystem\n",
    )
