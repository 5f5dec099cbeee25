"""The elements of HDF5 data sets: which types are tensors', how much memory reading them takes, and reading them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from typing import Any

import h5py as _h5py
import numpy as np

h5py: Any = _h5py  # its stubs leave out the low-level interface, which is what this module speaks

BOMB_FLOOR = 64 << 20
BOMB_RATIO = 1000
"""Declaring this many times what is stored, and more than the floor, is a decompression or shape bomb."""
MAX_PACKED_CHUNK = 256 << 20
"""A packed chunk is unpacked whole, so its declared size is memory."""

FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, 32000})
"""gzip, shuffle, fletcher32 and lzf (32000), which h5py brings along."""

_BFLOAT16_BYTES = 2


def dtype_name(dataset: Any) -> str:
    """The element type by numpy's name, `bfloat16`, `string`, or `unknown(…)` for what no tensor is made of."""
    try:
        dtype = dataset.dtype
    except TypeError:  # HDF5 types that numpy has no equal for, such as floats of one byte
        return "unknown(no numpy type)"
    if dtype.kind in "iufbc":
        return _number_name(dtype)
    if dtype.kind == "S" or h5py.check_string_dtype(dtype) is not None:
        return "string"
    # Two opaque bytes are bfloat16, the only such type that arrays have: numpy knows it as raw bytes, and the legacy
    # layout stores just those; `.weights.h5` adds an attribute dtype="bfloat16" (saving_lib.H5Entry).
    if dtype.kind == "V" and dtype.itemsize == _BFLOAT16_BYTES and dtype.names is None and dtype.subdtype is None:
        return "bfloat16"
    return f"unknown({dtype.kind}{dtype.itemsize})"


@lru_cache
def _number_name(dtype: np.dtype[Any]) -> str:
    return str(dtype.newbyteorder("=").name)


def bomb(dataset: Any) -> str | None:
    """What a data set declares against what it stores, where that is out of all proportion; else None."""
    declared = prod(dataset.shape or ()) * dataset.dtype.itemsize
    if declared <= BOMB_FLOOR:
        return None
    stored = dataset.get_storage_size()
    return f"declares {declared:,} bytes and stores {stored:,}" if declared > stored * BOMB_RATIO else None


def unpackable(dataset: Any, properties: Any = None) -> str | None:
    """Why a data set's chunks cannot be unpacked; None if they can.

    Args:
        dataset: The data set.
        properties: Its creation properties, where they are at hand.
    """
    properties = properties or dataset.get_create_plist()
    filters = properties.get_nfilters()
    for index in range(filters):
        code = properties.get_filter(index)[0]
        if code not in FILTERS:
            return f"is packed by HDF5 filter {code}, which is not built in"
    if properties.get_layout() == h5py.h5d.CHUNKED and filters:
        packed = prod(properties.get_chunk()) * dataset.dtype.itemsize
        if packed > MAX_PACKED_CHUNK:
            return f"has to unpack {packed:,} bytes at once; {MAX_PACKED_CHUNK:,} is the limit"
    return None


def read_elements(dataset: Any, limit: int) -> Iterator[np.ndarray[Any, Any]]:
    """The elements in C order, in one-dimensional arrays of at most `limit` bytes (or one element)."""
    shape, stored = dataset.shape, dataset.dtype
    is_bfloat16 = dtype_name(dataset) == "bfloat16"
    if prod(shape) == 0:
        return
    for start, count in _boxes(shape, max(1, limit // stored.itemsize)):
        buffer = np.empty(count, dtype=stored)
        space = dataset.get_space()
        if shape:
            space.select_hyperslab(start, count)
        memory = h5py.h5s.create_simple(count) if count else h5py.h5s.create(h5py.h5s.SCALAR)
        dataset.read(memory, space, buffer)
        flat = buffer.reshape(-1)
        yield _bfloat16(flat) if is_bfloat16 else flat.astype(flat.dtype.newbyteorder("="), copy=False)


def _bfloat16(raw: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import ml_dtypes

    return raw.view(ml_dtypes.bfloat16)


def _boxes(shape: tuple[int, ...], limit: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Boxes of at most `limit` elements that follow each other in C order and cover `shape`: (start, count) each."""
    if not shape:
        yield (), ()
        return
    row = prod(shape[1:])
    if row <= limit:
        step = max(1, limit // max(row, 1))
        for first in range(0, shape[0], step):
            yield (first, *(0,) * (len(shape) - 1)), (min(step, shape[0] - first), *shape[1:])
        return
    for first in range(shape[0]):
        for start, count in _boxes(shape[1:], limit):
            yield (first, *start), (1, *count)
