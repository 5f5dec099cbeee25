"""Trees of JAX programs: parameters, optax' states and counts, wherever they stand in the items of a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

from ckptdoctor.formats.orbax.items import Item
from ckptdoctor.formats.orbax.metadata import EMPTY
from ckptdoctor.formats.trees import state_of
from ckptdoctor.optimizers.optax.tree import Leaf
from ckptdoctor.state import Format, Producer, TrainingState


def read(path: str, items: Sequence[Item]) -> TrainingState:
    """Reads the items of a checkpoint as one tree."""
    leaves = [
        Leaf(
            (item.name, *leaf.path) if item.name else leaf.path,
            leaf.tensor,
            is_empty=leaf.kind in EMPTY,
            indices=(False, *leaf.indices) if item.name else leaf.indices,
        )
        for item in items
        for leaf in item.leaves
    ]
    return state_of(path, Format.ORBAX_CHECKPOINT, leaves, Producer("jax"))
