"""`saved_model.pb` and `keras_metadata.pb`: the parts that say what the variables are; the graph itself is skipped.

Source: tensorflow/core/protobuf/{saved_model,meta_graph,saved_object_graph}.proto and keras/protobuf/
saved_metadata.proto.
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tables.messages import Message
from ckptdoctor.containers.tables.wire import CorruptBytes, fields
from ckptdoctor.errors import UnreadableArtifact

_BYTES = 2
_META_GRAPH = 2  # SavedModel.meta_graphs
_PYTHON_OPS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
"""tensorflow/core/ops/script_ops.cc; MetaInfoDef.stripped_op_list has the names of all ops as field 1 of an OpDef."""
_META_INFO, _OBJECT_GRAPH = 1, 7  # MetaGraphDef.meta_info_def, .object_graph_def
_TAGS, _VERSION = 4, 5  # MetaInfoDef.tags, .tensorflow_version
_USER_OBJECT, _VARIABLE = 4, 7  # SavedObject.user_object (identifier 1, metadata 3), .variable (trainable 3)


class SavedModelParts(NamedTuple):
    """What is read of a SavedModel.

    Attributes:
        tensorflow_version: The writer's version; "" if it is not recorded.
        tags: Of the first MetaGraph.
        metagraphs: How many there are.
        identifiers: Node → what kind of object it is (`optimizer`, `_tf_keras_layer`).
        metadata: Node → the JSON that Keras up to 2.4 kept there.
        trainable: Node → whether its variable is trainable.
        python_ops: Ops of the graph that call back into Python (`EagerPyFunc`).
    """

    tensorflow_version: str = ""
    tags: tuple[str, ...] = ()
    metagraphs: int = 0
    identifiers: Mapping[int, str] = {}
    metadata: Mapping[int, str] = {}
    trainable: Mapping[int, bool] = {}
    python_ops: tuple[str, ...] = ()


def read_saved_model(path: str) -> SavedModelParts:
    """Reads `saved_model.pb`, skipping the GraphDef by position.

    Raises:
        UnreadableArtifact: It is no SavedModel.
    """
    with RegularFile(path) as file:
        metagraphs = [
            (at, size)
            for number, kind, at, size in fields(file, 0, file.size)
            if (number, kind) == (_META_GRAPH, _BYTES)
        ]
        if not metagraphs:
            raise UnreadableArtifact(
                f"{os.path.basename(path)} ({file.size:,} bytes) holds no MetaGraph: it is truncated, or no SavedModel",
                path,
            )
        start, size = metagraphs[0]
        info, objects = b"", b""
        for number, kind, at, length in fields(file, start, start + size):
            if (number, kind) == (_META_INFO, _BYTES):
                # Of MetaInfoDef too, only what is wanted: its list of ops is long.
                info = file.read(at, length, "the MetaGraph's information")
            elif (number, kind) == (_OBJECT_GRAPH, _BYTES):
                objects = file.read(at, length, "the SavedModel's object graph")
    identifiers: dict[int, str] = {}
    metadata: dict[int, str] = {}
    trainable: dict[int, bool] = {}
    try:
        meta = Message(info)
        version, tags = meta.text(_VERSION), tuple(meta.texts(_TAGS))
        nodes = Message(objects).messages(1)
        for index, node in enumerate(nodes):
            if _USER_OBJECT in node:
                user = node.message(_USER_OBJECT)
                identifiers[index] = user.text(1)
                text = user.text(3)
                if text:
                    metadata[index] = text
            elif _VARIABLE in node:
                trainable[index] = node.message(_VARIABLE).flag(3)
    except CorruptBytes as error:
        raise UnreadableArtifact(f"{os.path.basename(path)} is corrupt: {error}", path) from error
    return SavedModelParts(
        tensorflow_version=version,
        tags=tags,
        metagraphs=len(metagraphs),
        identifiers=identifiers,
        metadata=metadata,
        trainable=trainable,
        python_ops=tuple(name for name in _PYTHON_OPS if f"\n{chr(len(name))}{name}".encode() in info),
    )


def meta_graph_version(path: str) -> str | None:
    """The TensorFlow version in a `.meta` file, the MetaGraph that a Saver writes beside a checkpoint.

    None where it says none, or is no MetaGraph: a checkpoint does not need it.
    """
    try:
        with RegularFile(path) as file:
            for number, kind, at, size in fields(file, 0, file.size):
                if (number, kind) == (_META_INFO, _BYTES):  # the first field, before the graph
                    info = file.read(at, size, "the MetaGraph's information")
                    return Message(info).text(_VERSION) or None
    except (UnreadableArtifact, CorruptBytes):
        return None
    return None


def read_keras_metadata(path: str) -> dict[str, str]:
    """Reads `keras_metadata.pb`: node path (`root`, `root.layer-0`) → JSON.

    Raises:
        UnreadableArtifact: It is corrupt.
    """
    with RegularFile(path) as file:
        data = file.read(0, file.size, "the Keras metadata")
    try:
        nodes = Message(data).messages(1)
        return {node.text(3): node.text(5) for node in nodes}  # node_path, metadata
    except CorruptBytes as error:
        raise UnreadableArtifact(f"{os.path.basename(path)} is no Keras metadata: it is corrupt", path) from error
