"""Digests of what an artifact holds: two arrays of one type, shape and content have the same."""

from __future__ import annotations

from hashlib import sha256

from ckptdoctor.containers.tensors.values import numpy_dtype, ordered_chunks
from ckptdoctor.references import TensorRef


def digest(ref: TensorRef, dtype: str | None = None) -> str:
    """The SHA-256 of a tensor's type, shape and elements, as the child computes it of the framework's.

    Args:
        ref: The tensor.
        dtype: The type that it is cast to first; None for its own.
    """
    found = sha256(f"{dtype or ref.dtype}{list(ref.shape)}".encode())
    wanted = None if dtype is None else numpy_dtype(dtype)
    for chunk in ordered_chunks(ref):
        found.update((chunk if wanted is None else chunk.astype(wanted)).tobytes())
    return found.hexdigest()
