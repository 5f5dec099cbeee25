"""Tensors written into files as they are: by the kernel where they lie so somewhere, else in pieces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.window import write_at
from ckptdoctor.containers.tensors.dtypes import array_nbytes
from ckptdoctor.containers.tensors.raw_places import RawPlaces
from ckptdoctor.containers.tensors.shard_data import pieces
from ckptdoctor.references import TensorRef


def nbytes_of(ref: TensorRef) -> int:
    """Bytes of a tensor's elements."""
    return array_nbytes(ref.dtype, ref.shape)


def content(ref: TensorRef) -> Iterator[bytes]:
    """A tensor's elements, little-endian and in C order.

    Raises:
        UnreadableArtifact: They are not there, or not what their checksum says.
    """
    return pieces(ref, ref.key, ref.dtype, ref.shape)


def put(
    ref: TensorRef, descriptor: int, start: int, progress: Progress | None = None, raw: RawPlaces | None = None
) -> int:
    """Writes a tensor's elements into a file, by the kernel where they lie so somewhere; answers how many bytes.

    Args:
        ref: The tensor.
        descriptor: The file.
        start: Where in it.
        progress: Told how many more bytes are written.
        raw: Files that stay open from one tensor to the next.

    Raises:
        UnreadableArtifact: They are not there, or not what their checksum says.
    """
    nbytes = nbytes_of(ref)
    with nullcontext(raw) if raw is not None else RawPlaces() as places:
        if places.copy(ref, ref.dtype, nbytes, descriptor, start, progress):
            return nbytes
    at = start
    for piece in content(ref):
        write_at(descriptor, piece, at)
        at += len(piece)
        if progress is not None:
            progress(len(piece))
    return at - start
