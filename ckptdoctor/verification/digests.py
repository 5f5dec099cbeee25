"""Digests of what an artifact holds: two arrays of one type, shape and content have the same."""

from __future__ import annotations

from hashlib import sha256

from ckptdoctor.containers.tensors.values import ordered_chunks
from ckptdoctor.references import TensorRef


def digest(ref: TensorRef) -> str:
    """The SHA-256 of a tensor's type, shape and elements, as the child computes it of the framework's."""
    found = sha256(f"{ref.dtype}{list(ref.shape)}".encode())
    for chunk in ordered_chunks(ref):
        found.update(chunk.tobytes())
    return found.hexdigest()
