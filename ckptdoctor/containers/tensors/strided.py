"""Values of views whose elements do not lie one after the other: transposed, cut out or expanded tensors of PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from ckptdoctor import storage
from ckptdoctor.containers.bytes import coded
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.errors import LimitExceeded
from ckptdoctor.references import FileRange, Strided, TensorRef

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PIECE = 8 << 20
_MOST_CODED = 1 << 30
"""Bytes of a view that are held in memory where its storage is packed."""


def strided_chunks(
    ref: TensorRef, location: Strided, dtype: np.dtype[Any], chunk_bytes: int, *, expand: bool
) -> Iterator[NDArray[Any]]:
    """The elements of a view, flat, in C order, at most about `chunk_bytes` at a time.

    Args:
        ref: The tensor.
        location: Where it is.
        dtype: numpy's type of its elements.
        chunk_bytes: Bytes in memory at once.
        expand: Repeat elements along dimensions that one of them stands for; else those have an extent of 1.
    """
    import numpy as np

    stored = location.base
    flat = _mapped(stored) if isinstance(stored, FileRange) else _decoded(ref, location)
    width = ITEMSIZE[ref.dtype]
    plain = np.dtype(f"u{width}" if width <= 8 else "c16")  # as_strided knows none of ml_dtypes' types of 8 bits
    elements = flat[: flat.size // width * width].view(plain)
    shape = tuple(
        extent if stride or expand else min(extent, 1)
        for extent, stride in zip(ref.shape, location.strides, strict=True)
    )
    view = np.lib.stride_tricks.as_strided(
        elements, shape, [each * width for each in location.strides], writeable=False
    )
    for part in _cut(view, max(1, chunk_bytes // width)):
        copied = np.ascontiguousarray(part).reshape(-1).view(dtype)
        yield copied.byteswap() if stored.big_endian and width > 1 else copied


def _cut(view: NDArray[Any], most: int) -> Iterator[NDArray[Any]]:
    """Parts of at most `most` elements, along the first dimensions."""
    if view.size <= most or not view.ndim:
        yield view
        return
    row = view.size // view.shape[0]
    if row > most:
        for number in range(view.shape[0]):
            yield from _cut(view[number], most)
        return
    step = max(1, most // row)
    for start in range(0, view.shape[0], step):
        yield view[start : start + step]


def _mapped(stored: FileRange) -> NDArray[Any]:
    import numpy as np

    with RegularFile(stored.path) as file:  # no link, no device, and long enough
        file.read(stored.offset + stored.nbytes - 1, 1, "a tensor")
        mapped: NDArray[Any]
        if not storage.is_remote(stored.path):
            mapped = np.memmap(stored.path, np.uint8, "r", stored.offset, (stored.nbytes,))
            return mapped
        with TemporaryFile() as copy:  # its elements are wanted in another order than they come
            for at in range(0, stored.nbytes, _PIECE):
                copy.write(file.read(stored.offset + at, min(_PIECE, stored.nbytes - at), "a tensor"))
            copy.flush()
            mapped = np.memmap(copy, np.uint8, "r", 0, (stored.nbytes,))
        return mapped


def _decoded(ref: TensorRef, location: Strided) -> NDArray[Any]:
    import numpy as np

    if isinstance(location.base, FileRange) or location.base.nbytes > _MOST_CODED:
        raise LimitExceeded(f"{ref.key!r} is a view of {location.base.nbytes:,} packed bytes")
    return np.frombuffer(b"".join(coded.chunks(location.base)), np.uint8)
