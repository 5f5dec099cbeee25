"""What a script proves: the count, and the norm of one slot, as they stand in the artifact."""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from ckptdoctor.containers.tensors.values import chunks, kept_open
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import TensorRef
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
        norm = norm_of([slot.tensor])
        if norm is not None:
            return Sample(slot, norm)
    return None


def norm_of(tensors: Iterable[TensorRef]) -> float | None:
    """The norm of all of them together; None where it is zero, not finite, or cannot be read."""
    import numpy as np

    total = 0.0
    try:
        with kept_open():
            for ref in tensors:
                for part in chunks(ref):
                    total += float(np.square(np.asarray(part).astype(np.float64)).sum())
    except UnreadableArtifact:
        return None
    return math.sqrt(total) if total > 0 and math.isfinite(total) else None


_NO_WORD = re.compile(r"[^\w '.,/-]")


def _shown(name: str) -> str:
    """A name from a file as it can stand in a format string, where nothing of it runs."""
    return _NO_WORD.sub("", name)


def compared(what: str, expression: str, wanted: object) -> list[str]:
    """Lines that compare a whole number."""
    return [
        f"found = {expression}",
        f'assert found == {wanted}, f"{_shown(what)} is {{found}}, and {wanted} in the file"',
    ]  # fmt: skip


def close(what: str, expression: str, norm: float) -> list[str]:
    """Lines that compare a norm."""
    wanted, shown = f"{norm:.7g}", _shown(what)
    return [
        f"norm = {expression}",
        f'assert math.isclose(norm, {wanted}, rel_tol={TOLERANCE:g}), f"{shown}: {{norm}}, and {wanted} in the file"',
    ]  # fmt: skip
