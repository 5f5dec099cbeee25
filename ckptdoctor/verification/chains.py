"""What the child is asked of a chain of optax: which leaf of the restored tree should hold which slot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ckptdoctor.formats.registry import record
from ckptdoctor.state import OptimizerState, Role, TrainingState
from ckptdoctor.verification.trained import Expected, Trained

KIND = "chain"


def package(state: TrainingState) -> str:
    """The package that restores the tree."""
    return "flax" if record(state.format).verify == KIND else "orbax"


def item_of(holding: Sequence[OptimizerState], path: str) -> str:
    """The directory of the item that holds the state; the path itself where that stands alone."""
    first = next((key.partition("/")[0] for each in holding for key in _keys(each)), "")
    inside = os.path.join(path, first)
    return inside if first and os.path.exists(os.path.join(inside, "_METADATA")) else path


def leaves(
    optimizer: OptimizerState, slots: Sequence[Expected], trained: Sequence[Trained], path: str
) -> dict[str, Any]:
    """Kind, variable and path of each slot, and the path of the count, from the root of the item's tree."""
    item = item_of([optimizer], path)
    front = "" if item == path else f"{os.path.basename(item)}/"
    labels = [each.label for each in trained]
    return {
        "leaves": [
            [
                each.slot.name if each.slot.role is Role.OTHER else each.slot.role.value,
                labels.index(each.variable),
                each.slot.tensor.key.removeprefix(front),
            ]
            for each in slots
        ],
        "count": (optimizer.iterations_key or "").removeprefix(front),
    }


def _keys(optimizer: OptimizerState) -> list[str]:
    return [slot.tensor.key for slot in optimizer.slots] + (
        [optimizer.iterations_key] if optimizer.iterations_key else []
    )
