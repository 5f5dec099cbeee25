"""TensorFlow checkpoints: V2 bundles, object-based or name-based, and V1 tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ckptdoctor import storage
from ckptdoctor.containers.bundles.object_graph import GRAPH_KEY, read_object_graph
from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.containers.tensors.values import kept_open, read_scalar
from ckptdoctor.optimizers.keras.config import OptimizerConfig
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, Generation, ModelVariable, Oddity, OptimizerState, Producer, TrainingState

# A checkpoint is object-based or name-based: what reads the other kind is not imported.
if TYPE_CHECKING:
    from ckptdoctor.formats.tensorflow.names import Names
    from ckptdoctor.formats.tensorflow.objects import Objects

_KERAS3_PARTS = ("/_operations/", "/_kernel/.ATTRIBUTES/")


def bundle(prefix: str) -> str:
    """The prefix of a checkpoint's variables: its own."""
    return prefix


def tables(prefix: str) -> tuple[str, ...]:
    """Its index."""
    return (f"{prefix}.index",)


def program(state: TrainingState) -> Generation | None:
    """Keras 3, where its layers or its models have attributes that no earlier Keras has: they stand in keys."""
    keys = (f"/{variable.tensor.key}" for variable in state.variables)
    return Generation.KERAS3 if any(part in key for key in keys for part in _KERAS3_PARTS) else None


def read(prefix: str) -> TrainingState:
    """Reads the V2 checkpoint with this prefix.

    Raises:
        UnreadableArtifact: Its index or its object graph is corrupt, or data is missing.
    """
    stored = read_bundle(prefix)
    graph = read_object_graph(stored)
    with kept_open():
        if graph is None:
            from ckptdoctor.formats.tensorflow.names import read_names

            return _with_producer(from_names(prefix, Format.TF_CHECKPOINT, read_names(stored.tensors)), prefix)
        from ckptdoctor.formats.tensorflow.objects import classify

        objects = classify(graph, stored)
        variables, optimizers = read_objects(objects)
        return TrainingState(
            path=prefix,
            format=Format.TF_CHECKPOINT,
            variables=variables,
            optimizers=optimizers,
            counters=counters(objects),
            counter_tensors=objects.counters,
            others=(*objects.others, *left_over(objects, variables, optimizers)),
            by_objects=True,
        )


def read_v1_checkpoint(path: str) -> TrainingState:
    """Reads a V1 checkpoint, given its file or one of its shards.

    Raises:
        UnreadableArtifact: It is corrupt, or a shard is missing.
    """
    from ckptdoctor.containers.bundles.v1 import read_v1
    from ckptdoctor.formats.tensorflow.names import read_names

    checkpoint = read_v1(path)
    with kept_open():
        return from_names(path, Format.TF_CHECKPOINT_V1, read_names(checkpoint.tensors))


def _with_producer(state: TrainingState, prefix: str) -> TrainingState:
    """With the version that a Saver's `.meta` file records, where it lies beside the checkpoint."""
    meta = f"{prefix}.meta"
    if not storage.is_file(meta):
        return state

    from ckptdoctor.containers.bundles.saved_model import meta_graph_version

    version = meta_graph_version(meta)
    return state if version is None else state._replace(producer=Producer("tensorflow", version))


def read_objects(
    objects: Objects, config: OptimizerConfig | None = None
) -> tuple[tuple[ModelVariable, ...], tuple[OptimizerState, ...]]:
    """The model variables and the optimizers of an object graph.

    Variables that only slots know of, in a checkpoint of the optimizer alone, are among them without a location.
    """
    from ckptdoctor.formats.tensorflow.optimizers import read_optimizer

    found = [read_optimizer(objects, node, config) for node in objects.optimizers]
    unstored = {variable.path: variable for each in found for variable in each.unstored}
    return (*objects.variables, *unstored.values()), tuple(each.optimizer for each in found)


def left_over(
    objects: Objects, variables: tuple[ModelVariable, ...], optimizers: tuple[OptimizerState, ...]
) -> tuple[TensorRef, ...]:
    """Tensors that nobody has taken, such as the empty slots that Adafactor keeps for what it does not factor."""
    tensors = objects.bundle.tensors
    taken = [each.tensor for each in variables if each.tensor.place is not None]
    for each in optimizers:
        taken += [slot.tensor for slot in each.slots]
        taken += [other.tensor for other in (*each.other, *(each.wrapper.variables if each.wrapper else ()))]
        taken += [each.iterations_tensor] if each.iterations_tensor is not None else []
    # To look at every name would cost more than it is worth where the numbers say that none is left.
    if len(taken) + len(objects.counters) + len(objects.others) == len(tensors) - (GRAPH_KEY in tensors):
        return ()
    keys = {GRAPH_KEY, *(each.key for each in (*taken, *objects.counters.values(), *objects.others))}
    return tuple(ref for key, ref in tensors.items() if key not in keys)


def counters(objects: Objects) -> dict[str, int]:
    """The values of an object graph's counters."""
    values = {name: read_scalar(ref) for name, ref in objects.counters.items()}
    return {name: value for name, value in values.items() if isinstance(value, int)}


def from_names(path: str, kind: Format, names: Names) -> TrainingState:
    """A name-based checkpoint as a training state."""
    oddities: tuple[Oddity, ...] = ()
    if names.averages:
        oddities = (Oddity("S012", f"moving averages of {names.averages} variables, and no optimizer"),)
    return TrainingState(
        path=path,
        format=kind,
        variables=tuple(names.variables),
        optimizers=tuple(names.optimizers),
        counters=names.counters,
        counter_tensors=names.counter_tensors,
        others=tuple(names.others),
        oddities=oddities,
    )
