"""`saved_model.pb` with another object graph: one field is replaced, everything else passes through unread.

Source: tensorflow/core/protobuf/{saved_model,meta_graph,saved_object_graph}.proto. The GraphDef, which may be
gigabytes, is copied in chunks; only the lengths around the changed field are written anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ckptdoctor.containers.bytes.copying import create
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tables.wire import encode_varint, fields, varint
from ckptdoctor.errors import UnreadableArtifact

_BYTES = 2
_META_GRAPHS = 2  # SavedModel
_OBJECT_GRAPH = 7  # MetaGraphDef
_FUNCTIONS, _VALUE, _BOUND = 2, 2, 2  # SavedObjectGraph.concrete_functions, its values, SavedConcreteFunction
_CHUNK = 1 << 18


def read_object_graph_def(path: str) -> bytes | None:
    """The serialized SavedObjectGraph of the first MetaGraph; None if it has none (TensorFlow 1).

    Raises:
        UnreadableArtifact: The file is no SavedModel.
    """
    with RegularFile(path) as file:
        _, _, found = _places(file)
        return None if found is None else file.read(found[1], found[2] - found[1], "the SavedModel's object graph")


def write_with_object_graph(source: str, destination: str, graph: bytes) -> int:
    """Writes a copy of `saved_model.pb` with this object graph in its first MetaGraph; answers its size.

    Raises:
        UnreadableArtifact: The source is no SavedModel, or has no object graph.
    """
    with RegularFile(source) as file, open(create(destination), "wb") as out:
        tag, (start, end), found = _places(file)
        if found is None:
            raise UnreadableArtifact("the SavedModel has no object graph", source)
        field, _, after = found
        body = encode_varint(_OBJECT_GRAPH << 3 | _BYTES) + encode_varint(len(graph)) + graph
        length = (field - start) + len(body) + (end - after)
        _pass(file, out.fileno(), 0, tag)
        _write(out.fileno(), encode_varint(_META_GRAPHS << 3 | _BYTES) + encode_varint(length))
        _pass(file, out.fileno(), start, field)
        _write(out.fileno(), body)
        _pass(file, out.fileno(), after, file.size)
        return os.fstat(out.fileno()).st_size


def bound_nodes(graph: bytes) -> set[int]:
    """Nodes of an object graph that its functions have captured (`SavedConcreteFunction.bound_inputs`)."""
    found: set[int] = set()
    for number, entry in _inside(graph):
        for key, function in _inside(entry) if number == _FUNCTIONS else ():
            for what, value in _inside(function) if key == _VALUE else ():
                if what == _BOUND:
                    position = 0
                    while position < len(value):
                        node, position = varint(value, position)
                        found.add(node)
    return found


def _places(file: RegularFile) -> tuple[int, tuple[int, int], tuple[int, int, int] | None]:
    """Where the first MetaGraph's tag is and its contents, and its object graph: the field's, its contents, its end."""
    before = 0
    for number, kind, at, size in fields(file, 0, file.size):
        if (number, kind) == (_META_GRAPHS, _BYTES):
            return before, (at, at + size), _object_graph(file, at, at + size)
        before = at + size
    raise UnreadableArtifact(f"{os.path.basename(file.path)} holds no MetaGraph", file.path)


def _object_graph(file: RegularFile, start: int, end: int) -> tuple[int, int, int] | None:
    before = start
    for number, kind, at, size in fields(file, start, end):
        if (number, kind) == (_OBJECT_GRAPH, _BYTES):
            return before, at, at + size
        before = at + size
    return None


def _inside(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a message in memory (a number that stands alone comes as its own varint)."""
    position = 0
    while position < len(message):
        tag, position = varint(message, position)
        kind = tag & 7
        if kind == _BYTES:
            size, position = varint(message, position)
            yield tag >> 3, message[position : position + size]
            position += size
        elif kind == 0:
            start = position
            _, position = varint(message, position)
            yield tag >> 3, message[start:position]
        else:
            position += 8 if kind == 1 else 4


def _pass(file: RegularFile, out: int, start: int, end: int) -> None:
    for at in range(start, end, _CHUNK):
        _write(out, file.read(at, min(_CHUNK, end - at), "the SavedModel"))


def _write(out: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(out, view) :]
