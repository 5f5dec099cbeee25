"""The bytes of a tensor as a data file wants them: little-endian, in C order, of the type to be written, in chunks.

Values are never changed in silence: a cast that would lose something is refused, and a checksum that the source has is
verified while its bytes pass by.
"""

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ckptdoctor.containers.bytes.crc import masked
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.containers.tensors.values import numpy_dtype, ordered_chunks
from ckptdoctor.errors import GraftRefused, UnreadableArtifact
from ckptdoctor.references import FileRange, TensorRef
from ckptdoctor.words import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray


CHUNK = 1 << 18
"""Bytes at a time: small enough to stay in the processor's cache, which makes writing eight times faster than 8 MB."""


class Constant(NamedTuple):
    """The same number in every element."""

    value: float


class NewValue(NamedTuple):
    """Another value for a tensor that an artifact has, of the same type and shape.

    Attributes:
        tensor: The tensor.
        content: What is in it from then on: another tensor's values, or one number for every element.
    """

    tensor: TensorRef
    content: TensorRef | Constant


NewValues: TypeAlias = "Sequence[NewValue]"


def pieces(
    content: TensorRef | bytes | Constant | None, name: str, dtype: str, shape: tuple[int, ...], factor: float = 1.0
) -> Iterator[bytes]:
    """A tensor's bytes.

    Args:
        content: Where its values come from; None: zeros.
        name: What it is called, for complaints.
        dtype: The type to be written.
        shape: The shape to be written.
        factor: What the values are multiplied by.

    Raises:
        GraftRefused: The values do not fit the type or the shape.
        UnreadableArtifact: The source is truncated, or its checksum does not match.
    """
    nbytes = ITEMSIZE[dtype]
    for extent in shape:
        nbytes *= extent
    if content is None:
        for start in range(0, nbytes, CHUNK):
            yield bytes(min(CHUNK, nbytes - start))
    elif isinstance(content, Constant):
        yield from (chunk.tobytes() for chunk in filled(content.value, dtype, nbytes // ITEMSIZE[dtype]))
    elif isinstance(content, bytes):
        if len(content) != nbytes:
            raise GraftRefused(f"{name!r} needs {counted(nbytes, 'byte')}, not {len(content):,}")
        yield content
    else:
        if content.shape != shape:
            raise GraftRefused(f"{content.key!r} has the shape {list(content.shape)}, but {name!r} needs {list(shape)}")
        yield from _moved(content, name, dtype, nbytes, factor)


def filled(value: float, dtype: str, size: int) -> "Iterator[NDArray[Any]]":
    """So many elements of one value, `CHUNK` bytes at a time."""
    import numpy as np

    step = CHUNK // ITEMSIZE[dtype]
    for start in range(0, size, step):
        yield np.full(min(step, size - start), value, numpy_dtype(dtype))


def _moved(ref: TensorRef, name: str, dtype: str, nbytes: int, factor: float) -> Iterator[bytes]:
    """The values of another artifact's tensor."""
    location = ref.location
    if location is None:
        raise GraftRefused(f"the values of {ref.key!r} are not in the donor")
    plain = isinstance(location, FileRange) and not location.big_endian
    if plain and factor == 1.0 and ref.dtype == dtype and (len(ref.shape) < 2 or not _fortran(location)):
        chunks = _raw(ref, location) if isinstance(location, FileRange) else iter(())
    elif factor == 1.0 and ref.dtype == dtype:
        chunks = (chunk.tobytes() for chunk in ordered_chunks(ref, CHUNK))
    else:
        chunks = (_converted(chunk, ref, dtype, factor).tobytes() for chunk in ordered_chunks(ref, CHUNK))
    total = 0
    for chunk in chunks:
        total += len(chunk)
        yield chunk
    if total != nbytes:
        raise UnreadableArtifact(f"{ref.key!r} has {counted(total, 'byte')}, but {name!r} needs {nbytes:,}")


def _fortran(location: object) -> bool:
    return isinstance(location, FileRange) and location.fortran_order


def _raw(ref: TensorRef, location: FileRange) -> Iterator[bytes]:
    """Bytes that stay as they are; nothing of numpy is needed, and their checksum is verified."""
    import google_crc32c

    crc = 0
    with RegularFile(location.path) as file:
        for start in range(0, location.nbytes, CHUNK):
            chunk = file.read(
                location.offset + start, min(CHUNK, location.nbytes - start), f"the values of {ref.key!r}"
            )
            if location.crc32c is not None:
                crc = google_crc32c.extend(crc, chunk)
            yield chunk
    if location.crc32c is not None and masked(crc) != location.crc32c:
        raise UnreadableArtifact(
            f"the checksum of {ref.key!r} does not match: {os.path.basename(location.path)} is corrupt, or of another "
            "save than its index",
            location.path,
        )


def _converted(chunk: "NDArray[Any]", ref: TensorRef, dtype: str, factor: float) -> "NDArray[Any]":
    """Values times a factor, in another type; exact but for the rounding of a product."""
    import numpy as np

    wanted = numpy_dtype(dtype)
    if factor != 1.0:
        return (chunk.astype(np.float64) * factor).astype(wanted)
    with np.errstate(over="ignore", invalid="ignore"):
        cast = chunk.astype(wanted)
        back = cast.astype(chunk.dtype)
    # Bytes are compared, so that NaN equals itself.
    if back.tobytes() != chunk.tobytes():
        raise GraftRefused(
            f"{ref.key!r} is {ref.dtype}, and its values do not all fit into {dtype}: the result would not be exact"
        )
    return cast
