"""Trees of JAX programs: parameters, optax' states and counts, wherever they stand in the items of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from ckptdoctor.formats.orbax.items import Item
from ckptdoctor.formats.orbax.metadata import EMPTY
from ckptdoctor.optimizers.optax.reading import read_optax
from ckptdoctor.optimizers.optax.tree import Leaf, take_apart
from ckptdoctor.state import Format, Producer, TrainingState


def read(path: str, items: Sequence[Item]) -> TrainingState:
    """Reads the items of a checkpoint as one tree."""
    leaves = [
        Leaf((item.name, *leaf.path) if item.name else leaf.path, leaf.tensor, is_empty=leaf.kind in EMPTY)
        for item in items
        for leaf in item.leaves
    ]
    found = take_apart(leaves)
    steps = [name for name in found.counters if name.rpartition("/")[2] == "step"]
    beside = (found.counters[steps[0]], found.counter_tensors[steps[0]]) if len(steps) == 1 else None
    return TrainingState(
        path=path,
        format=Format.ORBAX_CHECKPOINT,
        producer=Producer("jax"),
        variables=found.variables,
        optimizers=tuple(read_optax(root, own, found.variables, beside) for root, own in found.states.items()),
        counters=found.counters,
        counter_tensors=found.counter_tensors,
        others=found.others,
    )
