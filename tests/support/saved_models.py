"""SavedModel directories from the object-based checkpoints of `support.objects`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from support.bundles import varint, write_bundle
from support.objects import Node, checkpoint

from ckptdoctor.containers.bundles.object_graph import GRAPH_KEY
from ckptdoctor.containers.protos import checkpoint_pb2 as pb


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def meta_graph(objects: pb.SavedObjectGraph | None, *, version: str, tags: Sequence[str]) -> bytes:
    """A MetaGraphDef: information, a GraphDef of no meaning, objects if there are any."""
    info = pb.MetaInfo(tensorflow_version=version, tags=tags).SerializeToString()
    graph = field(2, b"\0" * 300)
    return field(1, info) + graph + (field(7, objects.SerializeToString()) if objects is not None else b"")


def saved_model(
    objects: pb.SavedObjectGraph | None, *, version: str = "2.10.1", tags: Sequence[str] = ("serve",)
) -> bytes:
    """The bytes of a `saved_model.pb`."""
    return b"\x08\x01" + field(2, meta_graph(objects, version=version, tags=tags))


def write_saved_model(
    directory: str | os.PathLike[str],
    root: Node,
    *,
    config: dict[str, Any] | None = None,
    version: str = "2.10.1",
    keras_version: str = "2.10.0",
    identifiers: Sequence[tuple[str, str]] = (("", "_tf_keras_network"), ("optimizer", "optimizer")),
    flat: bool = False,
) -> str:
    """Writes a SavedModel of these objects; answers its directory.

    Args:
        directory: Where.
        root: The model, with its optimizer among its children.
        config: The optimizer's configuration, in `keras_metadata.pb`; None: there is no such file.
        version: TensorFlow's.
        keras_version: Keras'.
        identifiers: (path, what TensorFlow says that the object is).
        flat: Put the variables beside `saved_model.pb`, as some copies have them.
    """
    path = os.fspath(directory)
    tensors = checkpoint(root, save_counter=None)
    graph = pb.TrackableObjectGraph.FromString(tensors[GRAPH_KEY].strings[0])
    objects = pb.SavedObjectGraph()
    named = {_find(graph, where): what for where, what in identifiers}
    for number, node in enumerate(graph.nodes):
        made = objects.nodes.add()
        if node.attributes:
            made.variable.name = node.attributes[0].full_name
            made.variable.trainable = "moving_" not in node.attributes[0].full_name
        else:
            made.user_object.identifier = named.get(number, "_generic_user_object")
    write_bundle(os.path.join(path, "variables") if flat else os.path.join(path, "variables", "variables"), tensors)
    with open(os.path.join(path, "saved_model.pb"), "wb") as file:
        file.write(saved_model(objects, version=version))
    if config is not None:
        metadata = pb.KerasMetadata()
        content = {"keras_version": keras_version, "training_config": {"optimizer_config": config}}
        metadata.nodes.add(node_path="root", metadata=json.dumps(content))
        with open(os.path.join(path, "keras_metadata.pb"), "wb") as file:
            file.write(metadata.SerializeToString())
    return path


def _find(graph: pb.TrackableObjectGraph, path: str) -> int:
    """The number of the object at a path; -1 if there is none."""
    at = 0
    for name in filter(None, path.split("/")):
        at = next((child.node_id for child in graph.nodes[at].children if child.local_name == name), -1)
        if at < 0:
            return at
    return at
