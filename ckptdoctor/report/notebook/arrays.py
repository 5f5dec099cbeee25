"""The elements of a tensor as an array of its shape, wherever they are."""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING, Any

from ckptdoctor.containers.tensors.values import assembled, numpy_dtype, ordered_chunks
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import H5Data, TensorRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PART = 256 << 20
"""Bytes that a worker hands over at once."""


def elements(ref: TensorRef) -> NDArray[Any]:
    """The elements of a tensor, read now; types that numpy lacks come from ml_dtypes.

    Raises:
        UnreadableArtifact: They are not there, or are no numbers.
    """
    if ref.location is None:
        raise UnreadableArtifact(f"the values of {ref.key!r} are not in the artifact")
    flat = _from_worker(ref, ref.location.path) if isinstance(ref.location, H5Data) else assembled(ref)
    if flat.size != ref.size:
        raise UnreadableArtifact(f"{ref.key!r} holds {flat.size:,} elements, and its shape says {ref.size:,}")
    return flat.reshape(ref.shape)


def _from_worker(ref: TensorRef, path: str) -> NDArray[Any]:
    """The same of an HDF5 file, whose library may die of it, and a notebook should not."""
    import numpy as np

    from ckptdoctor.isolation.client import isolated

    kind = numpy_dtype(ref.dtype)
    parts = [np.empty(0, kind)]
    for number in count():
        data = isolated(part, ref, number, _PART, path=path, limited=False)
        parts.append(np.frombuffer(bytearray(data), kind))
        if not data or sum(each.size for each in parts) >= ref.size:
            break
    return np.concatenate(parts)


def part(ref: TensorRef, number: int, most: int) -> bytes:
    """The bytes of one part of a tensor, in the machine's order; empty behind its end. Runs in the worker."""
    chunk = next(islice(ordered_chunks(ref, most), number, None), None)
    return b"" if chunk is None else bytes(chunk.tobytes())
