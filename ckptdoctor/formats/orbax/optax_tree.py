"""Trees of JAX programs."""

from __future__ import annotations

from collections.abc import Sequence

from ckptdoctor.formats.orbax.items import Item
from ckptdoctor.state import Format, Producer, TrainingState


def read(path: str, items: Sequence[Item]) -> TrainingState:
    """Reads the items of a checkpoint."""
    return TrainingState(
        path=path,
        format=Format.ORBAX_CHECKPOINT,
        producer=Producer("jax"),
        others=tuple(leaf.tensor for item in items for leaf in item.leaves if leaf.tensor is not None),
    )
