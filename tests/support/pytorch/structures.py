"""Strategies for hypothesis: what torch.save can be given, from tensors of any kind to any nesting of them."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

torch = pytest.importorskip("torch", exc_type=ImportError)

OLD = (
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
    "complex128",
)  # fmt: skip
NEW = (
    *OLD, "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
)  # fmt: skip
"""Types; the stream has no storages of the newer ones."""
VIEWS = ("as it is", "transposed", "every other", "expanded", "sliced", "one of it", "flat", "parameter", "empty")


def _filled(dtype: str, shape: tuple[int, ...], seed: int) -> Any:
    """A tensor of any bits that are numbers of its type."""
    kind = getattr(torch, dtype)
    size = math.prod(shape)
    random = np.random.default_rng(seed)
    if dtype == "bool":
        return torch.from_numpy(random.integers(0, 2, size).astype(bool)).reshape(shape)
    width = torch.empty(0, dtype=kind).element_size()
    if not size:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(bytearray(random.bytes(size * width)), dtype=kind).reshape(shape)


def _viewed(tensor: Any, view: str) -> Any:
    """Another tensor in the same storage."""
    if view == "transposed" and tensor.ndim > 1:
        return tensor.transpose(0, -1)
    if view == "every other" and tensor.ndim:
        return tensor[::2]
    if view == "expanded":
        return tensor.unsqueeze(0).expand(3, *tensor.shape)
    if view == "sliced" and tensor.ndim:
        return tensor.narrow(0, tensor.shape[0] // 2, tensor.shape[0] - tensor.shape[0] // 2)
    if view == "one of it" and tensor.ndim and tensor.shape[0]:
        return tensor[-1]
    if view == "flat":
        return tensor.reshape(-1)
    if view == "parameter" and tensor.is_floating_point():
        return torch.nn.Parameter(tensor)
    return tensor[:0] if view == "empty" and tensor.ndim else tensor


@st.composite
def tensors(draw: st.DrawFn, dtypes: tuple[str, ...]) -> list[Any]:
    """Some tensors, and views of them."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
        base = _filled(draw(st.sampled_from(dtypes)), shape, draw(st.integers(0, 999)))
        found += [_viewed(base, view) for view in draw(st.lists(st.sampled_from(VIEWS), min_size=1, max_size=3))]
    return found


PLAIN = st.one_of(
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(st.characters(codec="utf-8"), max_size=8),
)
KEYS = st.one_of(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), st.integers(-5, 1 << 40))


@st.composite
def files(draw: st.DrawFn) -> tuple[Any, bool]:
    """Anything that a checkpoint may be, with every tensor in several places; and whether it becomes a stream."""
    legacy = draw(st.booleans())
    held = draw(tensors(OLD if legacy else NEW))
    leaves = st.one_of(PLAIN, st.sampled_from(range(len(held))).map(lambda at: held[at]))
    inner = st.recursive(
        leaves,
        lambda some: st.one_of(
            st.lists(some, max_size=4),
            st.lists(some, max_size=3).map(tuple),
            st.dictionaries(KEYS, some, max_size=4),
            st.dictionaries(KEYS, some, max_size=3).map(OrderedDict),
        ),
        max_leaves=16,
    )
    return {"held": held, "rest": draw(inner), "more": draw(inner)}, legacy
