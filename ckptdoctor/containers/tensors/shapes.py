"""Which shapes a tensor can have."""

from __future__ import annotations

from math import prod

MAX_RANK = 254
"""tensorflow/core/framework/tensor_shape.h, `TensorShape::MaxDimensions`."""
MAX_ELEMENTS = 1 << 63
"""TensorFlow counts them in an int64."""


def is_possible(shape: tuple[int, ...]) -> bool:
    """Whether TensorFlow could make a tensor of this shape."""
    return len(shape) <= MAX_RANK and all(extent >= 0 for extent in shape) and prod(shape) < MAX_ELEMENTS
