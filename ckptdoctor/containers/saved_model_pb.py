"""`saved_model.pb` and `keras_metadata.pb`: the parts that say what the variables are; the graph itself is skipped.

Source: tensorflow/core/protobuf/{saved_model,meta_graph,saved_object_graph}.proto and keras/protobuf/
saved_metadata.proto.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ckptdoctor.containers.files import RegularFile
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.wire import fields
from ckptdoctor.errors import UnreadableArtifact

_BYTES = 2
_META_GRAPH = 2  # SavedModel.meta_graphs
_PYTHON_OPS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
"""tensorflow/core/ops/script_ops.cc; MetaInfoDef.stripped_op_list has the names of all ops as field 1 of an OpDef."""
_META_INFO, _OBJECT_GRAPH = 1, 7  # MetaGraphDef.meta_info_def, .object_graph_def


@dataclass(frozen=True, slots=True)
class SavedModelParts:
    """What is read of a SavedModel.

    Attributes:
        tensorflow_version: The writer's version; "" if it is not recorded.
        tags: Of the first MetaGraph.
        metagraphs: How many there are.
        identifiers: Node → what kind of object it is (`optimizer`, `_tf_keras_layer`).
        metadata: Node → the JSON that Keras up to 2.4 kept there.
        trainable: Node → whether its variable is trainable.
        has_objects: There is an object graph (TensorFlow 2).
        python_ops: Ops of the graph that call back into Python (`EagerPyFunc`).
    """

    tensorflow_version: str = ""
    tags: tuple[str, ...] = ()
    metagraphs: int = 0
    identifiers: Mapping[int, str] = field(default_factory=dict)
    metadata: Mapping[int, str] = field(default_factory=dict)
    trainable: Mapping[int, bool] = field(default_factory=dict)
    has_objects: bool = False
    python_ops: tuple[str, ...] = ()


def read_saved_model(path: str) -> SavedModelParts:
    """Reads `saved_model.pb`, skipping the GraphDef by position.

    Raises:
        UnreadableArtifact: It is no SavedModel.
    """
    from google.protobuf.message import DecodeError

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
    try:
        meta = pb.MetaInfo.FromString(info)
        graph = pb.SavedObjectGraph.FromString(objects)
    except DecodeError as error:
        raise UnreadableArtifact(f"{os.path.basename(path)} is corrupt: {error}", path) from error
    identifiers: dict[int, str] = {}
    metadata: dict[int, str] = {}
    trainable: dict[int, bool] = {}
    for index, node in enumerate(graph.nodes):
        if node.HasField("user_object"):
            identifiers[index] = node.user_object.identifier
            if node.user_object.metadata:
                metadata[index] = node.user_object.metadata
        elif node.HasField("variable"):
            trainable[index] = node.variable.trainable
    return SavedModelParts(
        tensorflow_version=meta.tensorflow_version,
        tags=tuple(tag for tag in meta.tags),
        metagraphs=len(metagraphs),
        identifiers=identifiers,
        metadata=metadata,
        trainable=trainable,
        has_objects=bool(graph.nodes),
        python_ops=tuple(name for name in _PYTHON_OPS if f"\n{chr(len(name))}{name}".encode() in info),
    )


def meta_graph_version(path: str) -> str | None:
    """The TensorFlow version in a `.meta` file, the MetaGraph that a Saver writes beside a checkpoint.

    None where it says none, or is no MetaGraph: a checkpoint does not need it.
    """
    from google.protobuf.message import DecodeError

    try:
        with RegularFile(path) as file:
            for number, kind, at, size in fields(file, 0, file.size):
                if (number, kind) == (_META_INFO, _BYTES):  # the first field, before the graph
                    info = file.read(at, size, "the MetaGraph's information")
                    return pb.MetaInfo.FromString(info).tensorflow_version or None
    except (UnreadableArtifact, DecodeError):
        return None
    return None


def read_keras_metadata(path: str) -> dict[str, str]:
    """Reads `keras_metadata.pb`: node path (`root`, `root.layer-0`) → JSON.

    Raises:
        UnreadableArtifact: It is corrupt.
    """
    from google.protobuf.message import DecodeError

    with RegularFile(path) as file:
        data = file.read(0, file.size, "the Keras metadata")
    try:
        parsed = pb.KerasMetadata.FromString(data)
    except DecodeError as error:
        raise UnreadableArtifact(f"{os.path.basename(path)} is no Keras metadata: it is corrupt", path) from error
    return {node.node_path: node.metadata for node in parsed.nodes}
