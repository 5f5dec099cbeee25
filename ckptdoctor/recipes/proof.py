"""What a script proves: the count, and the norm of one slot, as they stand in the artifact."""

import math
from typing import NamedTuple

from ckptdoctor.containers.tensors.values import chunks, kept_open
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.state import OptimizerState, Role, Slot

_MOST = 1 << 22
"""Elements of a slot that is worth reading for its norm."""
_ENOUGH = 64
"""So many slots are tried for one that is not zero."""
TOLERANCE = 1e-4
"""Frameworks sum in float32, each in its own order."""


class Sample(NamedTuple):
    """A slot and its norm."""

    slot: Slot
    norm: float


def sample(optimizer: OptimizerState) -> Sample | None:
    """A slot that is not zero, a first moment if there is one; None if there is none."""
    first = (Role.FIRST_MOMENT, Role.MOMENTUM)
    fitting = [each for each in optimizer.slots if "float" in each.tensor.dtype and 0 < each.tensor.size <= _MOST]
    for slot in sorted(fitting, key=lambda each: (each.role not in first, -each.tensor.size))[:_ENOUGH]:
        norm = _norm(slot)
        if norm is not None:
            return Sample(slot, norm)
    return None


def _norm(slot: Slot) -> float | None:
    """Its norm; None where it is zero, not finite, or cannot be read."""
    import numpy as np

    total = 0.0
    try:
        with kept_open():
            for part in chunks(slot.tensor):
                total += float(np.square(np.asarray(part).astype(np.float64)).sum())
    except UnreadableArtifact:
        return None
    return math.sqrt(total) if total > 0 and math.isfinite(total) else None


def compared(what: str, expression: str, wanted: object) -> list[str]:
    """Lines that compare a whole number."""
    return [
        f"found = {expression}",
        f'assert found == {wanted}, f"{what} is {{found}}, and {wanted} in the file"',
    ]  # fmt: skip


def close(what: str, expression: str, norm: float) -> list[str]:
    """Lines that compare a norm."""
    wanted = f"{norm:.7g}"
    return [
        f"norm = {expression}",
        f'assert math.isclose(norm, {wanted}, rel_tol={TOLERANCE:g}), f"{what}: {{norm}}, and {wanted} in the file"',
    ]  # fmt: skip
