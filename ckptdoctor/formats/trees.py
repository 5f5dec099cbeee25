"""Trees of JAX programs as training state: parameters, optax' states and counts, wherever they stand."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from math import prod

from ckptdoctor.containers.msgpack import Array
from ckptdoctor.optimizers.optax.reading import read_optax
from ckptdoctor.optimizers.optax.tree import Leaf, Path, take_apart
from ckptdoctor.references import Inline, TensorRef
from ckptdoctor.state import Format, ModelVariable, Oddity, OptimizerState, Producer, TrainingState


def state_of(
    path: str, kind: Format, leaves: Sequence[Leaf], producer: Producer, oddities: Iterable[Oddity] = ()
) -> TrainingState:
    """The training state of a tree.

    Args:
        path: The artifact.
        kind: Its format.
        leaves: Its leaves.
        producer: What wrote it.
        oddities: What was noticed.
    """
    found = take_apart(leaves)
    steps = [name for name in found.counters if name.rpartition("/")[2] == "step"]
    beside = (found.counters[steps[0]], found.counter_tensors[steps[0]]) if len(steps) == 1 else None
    optimizers = tuple(read_optax(root, own, found.variables, beside) for root, own in found.states.items())
    return TrainingState(
        path=path,
        format=kind,
        producer=producer,
        variables=found.variables or _known_from_slots(optimizers),
        optimizers=optimizers,
        counters=found.counters,
        counter_tensors=found.counter_tensors,
        others=found.others,
        oddities=tuple(oddities),
        leaves=tuple(leaves),
    )


def _known_from_slots(optimizers: Iterable[OptimizerState]) -> tuple[ModelVariable, ...]:
    """Parameters of which a tree holds the state alone; they have the shape of their largest slot."""
    shapes: dict[str, tuple[int, ...]] = {}
    for slot in chain.from_iterable(each.slots for each in optimizers):
        if slot.variable is not None:
            shapes[slot.variable] = max(shapes.get(slot.variable, ()), slot.tensor.shape, key=prod)
    return tuple(ModelVariable(name, TensorRef("", "", shape, None), trainable=True) for name, shape in shapes.items())


def leaves_of(value: object) -> list[Leaf]:
    """The leaves of nested dictionaries and lists; an empty one stands for a node that keeps nothing."""
    found: list[Leaf] = []
    _add(value, (), "", found)
    return found


def _add(value: object, path: Path, name: str, found: list[Leaf]) -> None:
    items: Iterable[tuple[object, object]] | None = None
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)) and not isinstance(value, (Array, TensorRef)):
        items = enumerate(value)
    if items is None or not value:
        tensor = as_tensor(name, value)
        found.append(Leaf(path, tensor, is_empty=tensor is None))
        return
    front = f"{name}/" if path else ""
    for key, each in items:
        _add(each, (*path, str(key)), f"{front}{key}", found)


def as_tensor(key: str, value: object) -> TensorRef | None:
    """An array, or a number as one; None for what is neither."""
    if isinstance(value, TensorRef):
        return value
    if isinstance(value, Array):
        return TensorRef(key, value.dtype, value.shape, value.location)
    if isinstance(value, bool):
        return TensorRef(key, "bool", (), Inline(bytes([value])))
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return TensorRef(key, "int64", (), Inline(struct.pack("<q", value)))
    if isinstance(value, float):
        return TensorRef(key, "float64", (), Inline(struct.pack("<d", value)))
    return None
