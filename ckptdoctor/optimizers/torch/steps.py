"""The count that PyTorch keeps for each parameter: a Python number up to 1.11, a float32 of no dimensions since."""

from __future__ import annotations

import struct

from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.optimizers.inference import count_of
from ckptdoctor.references import Inline, TensorRef

STEP = "step"
STOPS = {"bfloat16": 1 << 8, "float16": 1 << 11}
"""Types of half precision → the count from which on adding one changes nothing."""


def step_tensor(value: int) -> TensorRef:
    """A count as PyTorch keeps it since 1.12."""
    return number_tensor(STEP, value)


def number_tensor(name: str, value: float) -> TensorRef:
    """A number as a float32 of no dimensions."""
    return TensorRef(name, "float32", (), Inline(struct.pack("<f", value)))


def step_of(value: object) -> int | None:
    """A count, of either form; None where it is no whole number."""
    if isinstance(value, TensorRef):
        return count_of(read_scalar(value))
    return count_of(value) if isinstance(value, (int, float)) else None
