"""SavedModels of tf.keras with another's optimizer state.

The state goes into `variables/`, into the object graph there, into the object graph of `saved_model.pb` under the same
node numbers (tensorflow/python/saved_model/load.py ties the two by number), and the optimizer's configuration into the
root's Keras metadata. `load_model` rebuilds the optimizer from that configuration and ignores the state, in every
version; `load_weights` on `variables/variables` restores it.
"""

import json
import os
from collections.abc import Mapping
from typing import NamedTuple

from ckptdoctor.containers.bundles.object_graph import GRAPH_KEY, parse_object_graph
from ckptdoctor.containers.bundles.reading import read_bundle, read_strings
from ckptdoctor.containers.bundles.saved_model import read_saved_model
from ckptdoctor.containers.bundles.saved_model_writing import (
    bound_nodes,
    read_object_graph_def,
    write_with_object_graph,
)
from ckptdoctor.containers.bundles.writing import NewTensor, Text, write_bundle
from ckptdoctor.containers.bytes.copying import Progress, copy_tree, create
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.protos import parse
from ckptdoctor.containers.tensors.dtypes import TENSORFLOW
from ckptdoctor.errors import GraftRefused, UnreadableArtifact
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.tensorflow.objects import Objects, classify
from ckptdoctor.formats.tensorflow.saved_model import MARKER, variables_prefix
from ckptdoctor.formats.tensorflow.writing.checkpoint import Edited, edit_graph, unlinked
from ckptdoctor.formats.tensorflow.writing.refilling import files_of_bundle
from ckptdoctor.optimizers.keras.serialize import Form, require_agreement, to_config
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Generation

_METADATA = "keras_metadata.pb"
_NUMBERS = {name: number for number, (name, _) in TENSORFLOW.items()}
_DICTIONARIES = frozenset({"_index_dict", "_trainable_variables_indices"})
_OBJECTS = frozenset({"loss_scale", "base_optimizer", "inner_optimizer"})
_IDENTIFIERS = {
    Generation.OPTIMIZER_V2: "optimizer",
    Generation.TF1: "optimizer",
    Generation.KERAS2: "experimentalOptimizer",
}
"""What revives an optimizer (`RestoredOptimizer`, keras/optimizers/optimizer_v2 and optimizers/optimizer.py)."""


class _Root(NamedTuple):
    """The model's own metadata, and where it stands.

    Attributes:
        data: The parsed JSON.
        file: It is in keras_metadata.pb (TensorFlow 2.5 and later), not in saved_model.pb.
    """

    data: dict[str, object]
    file: bool


def write(
    optimizer: PlannedOptimizer, target: str, output: str, *, link: bool = False, progress: Progress | None = None
) -> Written:
    """Writes a SavedModel with this optimizer's state; the same as `write_saved_model`."""
    return write_saved_model(optimizer, target, output, link=link, progress=progress)


def write_saved_model(
    optimizer: PlannedOptimizer,
    target_dir: str,
    out_dir: str,
    *,
    link: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Writes a SavedModel with this optimizer's state.

    Args:
        optimizer: The optimizer.
        target_dir: The SavedModel.
        out_dir: The directory to make; it must not exist.
        link: Share unchanged data files by hard link.
        progress: Told how many bytes have been dealt with.

    Raises:
        GraftRefused: The target has no place for this state.
        UnreadableArtifact: An input is corrupt.
    """
    source = _open(target_dir)
    edited = edit_graph(optimizer, source.data, source.objects, length=len(source.saved.nodes), compact=False)
    _check_functions(edited, source.saved_data)
    where = os.path.relpath(source.prefix, target_dir).replace(os.sep, "/")
    call = f'model.load_weights("OUT/{where}")'
    notes = [*edited.notes]
    if source.root is None:
        notes.append(f"the SavedModel has no Keras metadata: compile a model of the same code, then {call}")
    else:
        notes.append(
            f"{call} after load_model restores the state: load_model itself rebuilds the optimizer from its "
            "configuration and ignores its state, in every version"
        )
    configured = _configure(optimizer, source.root, notes)
    had_one = any(each.path == optimizer.name for each in source.objects.optimizers)
    result = _Result(source, edited, source.root if configured else None, None)
    if configured or had_one:
        # Without a configuration, load_model would hand out an object that cannot train: then the graph stays as it is.
        _mirror(source.saved, edited, source.objects, optimizer)
        if configured and source.root is not None and not source.root.file:
            source.saved.nodes[0].user_object.metadata = json.dumps(source.root.data)
        result = result._replace(saved=source.saved.SerializeToString())
    written = _write_files(target_dir, out_dir, result, link=link, progress=progress)
    return written._replace(notes=(*notes, *written.notes))


def check(optimizer: PlannedOptimizer, directory: str) -> None:
    """Raises what `write` would, before anything is written.

    Raises:
        GraftRefused: The target has no place for this state.
        UnreadableArtifact: It is corrupt.
    """
    source = _open(directory)
    edited = edit_graph(optimizer, source.data, source.objects, length=len(source.saved.nodes), compact=False)
    _check_functions(edited, source.saved_data)
    _configure(optimizer, source.root, [])


class _Source(NamedTuple):
    """The target, read.

    Attributes:
        prefix: Its variables.
        data: Their object graph, serialized.
        objects: The same, classified.
        saved_data: The object graph of `saved_model.pb`, serialized.
        saved: The same, to be edited.
        root: The model's own metadata.
    """

    prefix: str
    data: bytes
    objects: Objects
    saved_data: bytes
    saved: pb.SavedObjectGraph
    root: _Root | None


class _Result(NamedTuple):
    """What the output is made of: the source, and what of it is new.

    Attributes:
        source: The target.
        edited: The object graph with the new optimizer.
        root: Metadata that changed.
        saved: The object graph of `saved_model.pb`, if it changed.
    """

    source: _Source
    edited: Edited
    root: _Root | None
    saved: bytes | None


def _open(directory: str) -> _Source:
    prefix = variables_prefix(directory)
    marker = os.path.join(directory, MARKER)
    saved_data = read_object_graph_def(marker)
    bundle = None if prefix is None else read_bundle(prefix)
    if prefix is None or bundle is None or saved_data is None or GRAPH_KEY not in bundle.tensors:
        raise GraftRefused(
            "the SavedModel has no variables or no object graph (TensorFlow 1): it has no place for an optimizer",
            directory,
        )
    parts = read_saved_model(marker)
    data = read_strings(bundle.tensors[GRAPH_KEY])[0]
    graph = parse_object_graph(data, prefix)
    objects = classify(graph, bundle, identifiers=parts.identifiers, trainable=parts.trainable)
    saved = parse(pb.SavedObjectGraph, saved_data, "the object graph", marker)
    return _Source(prefix, data, objects, saved_data, saved, _root(directory, saved))


def _root(directory: str, saved: pb.SavedObjectGraph) -> _Root | None:
    """The metadata of the model itself; None if this was no Keras model, or not saved as one."""
    path = os.path.join(directory, _METADATA)
    if os.path.exists(path):
        text = next((node.metadata for node in _metadata(path).nodes if node.node_path == "root"), "")
    else:
        text = saved.nodes[0].user_object.metadata if saved.nodes else ""
    try:
        data = json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        raise UnreadableArtifact("the model's metadata is no JSON", directory) from error
    return _Root(data, os.path.exists(path)) if isinstance(data, dict) else None


def _metadata(path: str) -> pb.KerasMetadata:
    with RegularFile(path) as file:
        return parse(pb.KerasMetadata, file.read(0, file.size, "the Keras metadata"), "the metadata", path)


def _check_functions(edited: Edited, saved_data: bytes) -> None:
    """Functions that captured the old optimizer's variables need them."""
    captured = edited.editor.leftover & bound_nodes(saved_data)
    if captured:
        raise GraftRefused(
            f"functions of the SavedModel use {len(captured)} variables of its optimizer, which the new one does not "
            "have: write the same class and generation"
        )


def _configure(optimizer: PlannedOptimizer, root: _Root | None, notes: list[str]) -> bool:
    """Puts the optimizer's configuration into the model's metadata; answers whether the model will have one.

    Without a configuration load_model gives an uncompiled model, which takes the state after `compile`.
    """
    if root is None:
        return False
    training = root.data.get("training_config")
    if isinstance(training, dict) and optimizer.configured:
        return True
    try:
        config = to_config(optimizer, Form.LEGACY)
        require_agreement(config, optimizer)
    except GraftRefused as error:
        notes.append(f"the optimizer's configuration is not in the result ({error}): call model.compile() first")
        return False
    if isinstance(training, dict):
        training["optimizer_config"] = config
        return True
    root.data["training_config"] = {
        "loss": None, "metrics": None, "weighted_metrics": None, "loss_weights": None, "optimizer_config": config,
    }  # fmt: skip
    notes.append(
        "the target was not compiled, so no loss is known: load_model gives a model with this optimizer and without a "
        "loss; model.compile(model.optimizer, loss=...) sets one, before load_weights"
    )
    return True


# ---------------------------------------------------------------------------------------------------- saved_model.pb


def _mirror(saved: pb.SavedObjectGraph, edited: Edited, objects: Objects, optimizer: PlannedOptimizer) -> None:
    """Gives every node that changed in the variables' object graph its twin in that of `saved_model.pb`."""
    editor = edited.editor
    had = len(saved.nodes)
    while len(saved.nodes) < len(editor.nodes):
        _as_object(saved.nodes.add(), "_generic_user_object", 1)
    edges = {child.node_id: child.local_name for node in editor.made for child in editor.nodes[node].children}
    old = {each.number for each in objects.optimizers}
    for index in editor.made:
        twin, node = saved.nodes[index], editor.nodes[index]
        value = editor.attribute(index)
        if value is not None:
            _as_variable(twin, value.full_name, edited.tensors[value.checkpoint_key])
            continue
        if index == edited.node:
            identifier = _IDENTIFIERS.get(optimizer.generation, "_generic_user_object")
            if not (index in old and twin.user_object.identifier == identifier):
                _as_object(twin, identifier, 2 if identifier in _IDENTIFIERS.values() else 1)
        elif index >= had or twin.HasField("variable"):
            _as_object(twin, _identifier(edges.get(index, "")), 1)
        kept = [child for child in twin.children if _is_function(saved.nodes[child.node_id])]
        del twin.children[:]
        del twin.slot_variables[:]
        twin.children.extend(kept)
        twin.children.extend(node.children)
        twin.slot_variables.extend(node.slot_variables)
    for index in editor.leftover:
        if not _is_function(saved.nodes[index]):
            _as_object(saved.nodes[index], "_generic_user_object", 1)
            del saved.nodes[index].children[:]
            del saved.nodes[index].slot_variables[:]
    _attach_new(saved, edited)


def _attach_new(saved: pb.SavedObjectGraph, edited: Edited) -> None:
    """The reference to a new optimizer from the object that was there before."""
    for index, node in enumerate(edited.editor.nodes):
        if index in edited.editor.made:
            continue
        known = {child.local_name for child in saved.nodes[index].children}
        saved.nodes[index].children.extend(
            child for child in node.children if child.node_id in edited.editor.made and child.local_name not in known
        )


def _identifier(name: str) -> str:
    if name in _OBJECTS:
        return "_generic_user_object"
    return "trackable_dict_wrapper" if name in _DICTIONARIES else "trackable_list_wrapper"


def _is_function(node: pb.SavedObject) -> bool:
    """Neither a variable nor an object: something with a graph behind it, which stays."""
    return not node.HasField("variable") and not node.HasField("user_object")


def _as_object(node: pb.SavedObject, identifier: str, producer: int) -> None:
    node.ClearField("variable")
    node.user_object.Clear()
    node.user_object.identifier = identifier
    node.user_object.version.producer = producer
    node.user_object.version.min_consumer = 1


def _as_variable(node: pb.SavedObject, name: str, tensor: NewTensor) -> None:
    if not node.HasField("variable"):
        node.Clear()
    node.variable.dtype = _NUMBERS[tensor.dtype]
    node.variable.shape.CopyFrom(pb.TensorShape(dim=[pb.TensorShape.Dim(size=extent) for extent in tensor.shape]))
    node.variable.name = name


# ------------------------------------------------------------------------------------------------------------- files


def _write_files(target: str, output: str, result: _Result, *, link: bool, progress: Progress | None) -> Written:
    source = result.source
    prefix = os.path.join(output, os.path.relpath(source.prefix, target))
    changed = [MARKER] if result.saved is not None else []
    changed += [_METADATA] if result.root is not None and result.root.file else []
    os.mkdir(output)
    copied = copy_tree(target, output, files_of_bundle(source.prefix, target).union(changed), progress)
    os.makedirs(os.path.dirname(prefix), exist_ok=True)
    graph = NewTensor("string", (), Text(result.edited.graph))
    tensors: Mapping[str, NewTensor] = {**result.edited.tensors, GRAPH_KEY: graph}
    report = write_bundle(prefix, tensors, base=source.prefix, drop=result.edited.gone, link=link, progress=progress)
    new = report.new
    if result.saved is not None:
        new += write_with_object_graph(os.path.join(target, MARKER), os.path.join(output, MARKER), result.saved)
    if result.root is not None and result.root.file:
        new += _write_metadata(os.path.join(target, _METADATA), os.path.join(output, _METADATA), result.root)
    return Written(unlinked(report), new, copied + report.copied, report.linked)


def _write_metadata(source: str, destination: str, root: _Root) -> int:
    parsed = _metadata(source)
    for node in parsed.nodes:
        if node.node_path == "root":
            node.metadata = json.dumps(root.data)
    data = parsed.SerializeToString()
    with open(create(destination), "wb") as file:
        file.write(data)
    return len(data)
