"""SavedModel directories, of TensorFlow 1 and 2: `saved_model.pb` beside `variables/`, or flattened beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from ckptdoctor import storage
from ckptdoctor.containers.bundles.object_graph import ObjectGraph, read_object_graph
from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.containers.bundles.saved_model import SavedModelParts, read_keras_metadata, read_saved_model
from ckptdoctor.containers.strict_json import parse_json
from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.keras.code import lambda_layers
from ckptdoctor.formats.tensorflow.checkpoint import counters, from_names, left_over, read_objects
from ckptdoctor.formats.tensorflow.names import read_names
from ckptdoctor.formats.tensorflow.objects import Objects, classify
from ckptdoctor.optimizers.dialects import of_keras
from ckptdoctor.optimizers.keras.config import OptimizerConfig, read_config
from ckptdoctor.state import Format, Oddity, OptimizerState, Producer, TrainingState
from ckptdoctor.versions import release

MARKER = "saved_model.pb"
_TEXT_MARKER = "saved_model.pbtxt"


def variables_prefix(directory: str) -> str | None:
    """The checkpoint prefix of a SavedModel's variables; None if it has none."""
    for prefix in (os.path.join(directory, "variables", "variables"), os.path.join(directory, "variables")):
        if storage.exists(f"{prefix}.index"):
            return prefix
    return None


def tables(directory: str) -> tuple[str, ...]:
    """The index of its variables."""
    prefix = variables_prefix(directory)
    return (f"{prefix}.index",) if prefix is not None else ()


def read(directory: str) -> TrainingState:
    """Reads a SavedModel directory.

    Raises:
        UnreadableArtifact: `saved_model.pb`, the metadata or the variables are corrupt or incomplete.
    """
    marker = os.path.join(directory, MARKER)
    if not storage.exists(marker) and storage.exists(os.path.join(directory, _TEXT_MARKER)):
        raise UnreadableArtifact(f"{_TEXT_MARKER} is not read; its variables/variables can be inspected", directory)
    prefix = variables_prefix(directory)
    try:
        parts = read_saved_model(marker)
    except UnreadableArtifact as error:
        if prefix is not None:
            error.message = f"{error}; its variables may still be readable: inspect {prefix}"
        raise
    config, version = _keras(directory, parts)
    code = _code(directory, parts)
    producer = Producer(*_producer(parts, version))
    if prefix is None:
        _require_no_variables(directory, parts)
        return TrainingState(directory, Format.SAVED_MODEL, producer, optimizers=_configured(config), oddities=code)
    bundle = read_bundle(prefix)
    graph = read_object_graph(bundle)
    with kept_open():
        if graph is None:
            named = from_names(directory, Format.SAVED_MODEL, read_names(bundle.tensors, serving=True))
            return named._replace(producer=producer, oddities=(*named.oddities, *code))
        trainable = {**parts.trainable, **dict.fromkeys(_frozen(directory, parts, graph), False)}
        objects = classify(graph, bundle, identifiers=parts.identifiers, trainable=trainable)
        variables, optimizers = read_objects(objects, config)
        return TrainingState(
            path=directory,
            format=Format.SAVED_MODEL,
            producer=producer,
            variables=variables,
            optimizers=optimizers or _configured(config),
            counters=counters(objects),
            counter_tensors=objects.counters,
            others=(*objects.others, *left_over(objects, variables, optimizers)),
            oddities=(*_export_note(objects), *code),
        )


def _frozen(directory: str, parts: SavedModelParts, graph: ObjectGraph) -> Iterator[int]:
    """Variables of frozen layers: their own record says that they are trainable, the layer's that it is not."""
    path = os.path.join(directory, "keras_metadata.pb")
    layers: Mapping[str | int, str] = read_keras_metadata(path) if storage.exists(path) else parts.metadata  # type: ignore[assignment]
    for place, text in layers.items():
        if '"trainable": false' not in text:
            continue
        layer = parse_json(text, directory, "a layer's metadata")
        if not isinstance(layer, Mapping) or layer.get("trainable") is not False:
            continue
        index = place if isinstance(place, int) else _followed(graph, place)
        if index is not None and index < len(graph.nodes):
            yield from (child for child in graph.nodes[index].children.values() if child in parts.trainable)


def _followed(graph: ObjectGraph, place: str) -> int | None:
    """The node that a metadata's path leads to: `root.layer-1`."""
    index = 0
    for name in place.split(".")[1:]:
        child = graph.nodes[index].children.get(name)
        if child is None:
            return None
        index = child
    return index


def _require_no_variables(directory: str, parts: SavedModelParts) -> None:
    if parts.trainable:
        raise UnreadableArtifact(
            f"variables/variables.index is missing, which should hold {len(parts.trainable)} variables: "
            "copy every file of the SavedModel, with its variables folder",
            directory,
        )


def _code(directory: str, parts: SavedModelParts) -> tuple[Oddity, ...]:
    """What would run Python code when somebody loads the model: Lambda layers, ops that call back into Python."""
    path = os.path.join(directory, "keras_metadata.pb")
    texts = read_keras_metadata(path).values() if storage.exists(path) else parts.metadata.values()
    lambdas = sum(
        _is_lambda(text, directory) for text in texts if "Lambda" in text or "lambda" in text or "\\u00" in text
    )
    found = [Oddity("X001", lambda_layers(lambdas))] if lambdas else []
    if parts.python_ops:
        names = ", ".join(parts.python_ops)
        found.append(Oddity("X001", f"its graph has ops that call back into Python: {names}"))
    return tuple(found)


def _is_lambda(text: str, directory: str) -> bool:
    node = parse_json(text, directory, "a layer's metadata")
    return isinstance(node, Mapping) and node.get("class_name") in ("Lambda", "__lambda__")


def _export_note(objects: Objects) -> tuple[Oddity, ...]:
    if {"_all_variables", "_misc_assets"} & objects.node(0).children.keys():
        return (Oddity("S001", "written by Keras 3's model.export(), which never holds an optimizer"),)
    return ()


def _configured(config: OptimizerConfig | None) -> tuple[OptimizerState, ...]:
    """An optimizer that only the training configuration knows."""
    if config is None:
        return ()
    return (
        OptimizerState(
            name="optimizer",
            class_name=config.class_name,
            generation=config.generation,
            hyperparameters=config.hyperparameters,
            schedule=config.schedule,
        ),
    )


_FIRST_TF_KERAS = 16  # tf_keras split off as a package at 2.16


def _producer(parts: SavedModelParts, keras_version: str | None) -> tuple[str | None, str | None]:
    if keras_version:
        return ("tf_keras" if release(keras_version)[1:] >= (_FIRST_TF_KERAS,) else "tf.keras"), keras_version
    return ("tensorflow", parts.tensorflow_version) if parts.tensorflow_version else (None, None)


def _keras(directory: str, parts: SavedModelParts) -> tuple[OptimizerConfig | None, str | None]:
    """The training configuration, from `keras_metadata.pb` or from the root object's own metadata (TF <= 2.4)."""
    path = os.path.join(directory, "keras_metadata.pb")
    root = read_keras_metadata(path).get("root") if storage.exists(path) else parts.metadata.get(0)
    if not root:
        return None, None
    data = parse_json(root, directory, "the model's metadata")
    if not isinstance(data, Mapping):
        return None, None
    version = data.get("keras_version")
    version = version if isinstance(version, str) else None
    training = data.get("training_config")
    if not isinstance(training, Mapping):
        return None, version
    node = training.get("optimizer_config", training.get("optimizer"))
    return read_config(node, version, of_keras(version)), version
