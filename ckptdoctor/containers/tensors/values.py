"""Values of tensors, from wherever their bytes are: scalars without numpy, everything else in chunks."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE, OPAQUE, unpack_scalar
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import (
    Archived,
    Chunked,
    Coded,
    FileRange,
    H5Data,
    Inline,
    Part,
    Pieces,
    Quantized,
    Recast,
    Strided,
    TensorRef,
)
from ckptdoctor.state import Scalar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK = 8 << 20
"""Bytes of a tensor that are in memory at once."""

_open_files: ContextVar[dict[str, RegularFile] | None] = ContextVar("_open_files", default=None)


@contextmanager
def kept_open() -> Iterator[None]:
    """Keeps the last few files open across reads, for callers that read many tensors of one artifact."""
    cache: dict[str, RegularFile] = {}
    token = _open_files.set(cache)
    try:
        yield
    finally:
        _open_files.reset(token)
        release()
        for file in cache.values():
            file.close()


def release() -> None:
    """Closes the HDF5 files that reading values leaves open, as it does with or without `kept_open`."""
    if "ckptdoctor.containers.hdf5.pool" in sys.modules:
        sys.modules["ckptdoctor.containers.hdf5.pool"].release()


def _opened(path: str) -> AbstractContextManager[RegularFile]:
    cache = _open_files.get()
    if cache is None:
        return RegularFile(path)
    if path not in cache:
        if len(cache) >= 16:
            cache.pop(next(iter(cache))).close()
        cache[path] = RegularFile(path)
    return nullcontext(cache[path])


def expect(refs: Iterable[TensorRef]) -> None:
    """Has the small ones at URLs fetched several at once, which will be read one by one."""
    wanted: dict[str, list[tuple[int, int]]] = {}
    for ref in refs:
        if ref.file is not None and not storage.is_remote(ref.file.path):
            continue
        where = ref.place.base if isinstance(ref.place, Strided) else ref.location
        if isinstance(where, FileRange) and storage.is_remote(where.path) and where.nbytes <= storage.BLOCK:
            wanted.setdefault(where.path, []).append((where.offset, where.nbytes))
    for path, ranges in wanted.items():
        storage.expect(path, ranges)


def read_scalar(ref: TensorRef) -> Scalar | None:
    """The value of a tensor of one element, its checksum verified where it has one.

    Returns:
        The number; None for types that Python has none for.

    Raises:
        UnreadableArtifact: The bytes are not there or their checksum does not match.
    """
    location = ref.location
    if isinstance(location, Pieces) and len(location.parts) == 1:
        location = location.parts[0].location
    if isinstance(location, Archived):
        return read_scalar(_inner(ref, location))
    if isinstance(location, Inline):
        return unpack_scalar(ref.dtype, location.data)
    if isinstance(location, FileRange):
        if location.nbytes != ITEMSIZE.get(ref.dtype):
            return None
        with _opened(location.path) as file:
            data = file.read(location.offset, location.nbytes, f"the value of {ref.key!r}")
        if location.crc32c is not None:
            from ckptdoctor.containers.bytes.crc import masked_crc32c

            if masked_crc32c(data) != location.crc32c:
                raise UnreadableArtifact(
                    f"the checksum of {ref.key!r} does not match: {os.path.basename(location.path)} is corrupt, or of "
                    "another save than its index",
                    location.path,
                    code="I004",
                )
        return unpack_scalar(ref.dtype, data, big_endian=location.big_endian)
    if isinstance(location, Chunked):
        from ckptdoctor.containers.zarrs.decoding import first_element

        return unpack_scalar(ref.dtype, first_element(location, ref.dtype, ref.key))
    if isinstance(location, (H5Data, Coded, Strided, Recast)):
        if ref.size != 1 or ref.dtype not in ITEMSIZE:
            return None
        for chunk in chunks(ref):
            value: Scalar = chunk[0].item()
            return value
    return None


def chunks(ref: TensorRef, chunk_bytes: int = CHUNK) -> "Iterator[NDArray[Any]]":
    """The elements of a tensor, flat, at most `chunk_bytes` at a time; types that numpy lacks come from ml_dtypes.

    The order is C order for whole tensors; partitioned ones come slice by slice, and chunked ones chunk by chunk.

    Raises:
        UnreadableArtifact: The bytes are not there.
    """
    location = ref.location
    if isinstance(location, Pieces):
        for piece in location.parts:
            yield from chunks(TensorRef(ref.key, ref.dtype, piece.shape, piece.location), chunk_bytes)
    elif isinstance(location, Inline):
        yield _array(bytearray(location.data), ref.dtype, big_endian=False)
    elif isinstance(location, FileRange):
        with _opened(location.path) as file:
            step = max(chunk_bytes // 16, 1) * 16
            for start in range(0, location.nbytes, step):
                buffer = bytearray(min(step, location.nbytes - start))
                file.readinto(location.offset + start, memoryview(buffer))
                yield _array(buffer, ref.dtype, big_endian=location.big_endian)
    elif isinstance(location, Coded):
        from ckptdoctor.containers.bytes import coded

        for part in coded.chunks(location, chunk_bytes):
            yield _array(bytearray(part), ref.dtype, big_endian=location.big_endian)
    elif isinstance(location, Archived):
        yield from ordered_chunks(_inner(ref, location), chunk_bytes)
    elif isinstance(location, Strided):
        from ckptdoctor.containers.tensors.strided import strided_chunks

        yield from strided_chunks(ref, location, numpy_dtype(ref.dtype), chunk_bytes, expand=False)
    elif isinstance(location, H5Data):
        from ckptdoctor.containers.hdf5.pool import read_chunks

        yield from read_chunks(location, chunk_bytes=chunk_bytes)
    elif isinstance(location, Recast):
        yield _recast(ref, location)
    elif isinstance(location, Part):
        yield from _part(ref, location, chunk_bytes)
    elif isinstance(location, Quantized):
        from ckptdoctor.containers.tensors.quantized import values

        yield from values(ref, location, chunk_bytes)
    elif isinstance(location, Chunked):
        from ckptdoctor.containers.zarrs.values import by_chunk

        yield from by_chunk(ref, location, chunk_bytes)


def _recast(ref: TensorRef, location: Recast) -> "NDArray[Any]":
    """A tensor of another framework, whole in memory; products are made in float64."""
    import numpy as np

    stored = assembled(TensorRef(ref.key, ref.dtype, location.shape, location.base))
    values = np.ascontiguousarray(stored.reshape(location.shape).transpose(location.axes)).reshape(-1)
    if location.factor == 1.0:
        return values
    scaled: NDArray[Any] = (values.astype(np.float64) * location.factor).astype(values.dtype)
    return scaled


def _part(ref: TensorRef, location: Part, chunk_bytes: int) -> "Iterator[NDArray[Any]]":
    """So many elements as the tensor has, of another one."""
    at, end = 0, location.start + ref.size
    for chunk in ordered_chunks(TensorRef(ref.key, ref.dtype, location.shape, location.base), chunk_bytes):
        if at + chunk.size > location.start:
            yield chunk[max(0, location.start - at) : end - at]
        at += chunk.size
        if at >= end:
            return


def _inner(ref: TensorRef, location: Archived) -> TensorRef:
    from ckptdoctor.containers.torchfiles.inner import inner_tensor

    return inner_tensor(ref, location)


def ordered_chunks(ref: TensorRef, chunk_bytes: int = CHUNK) -> "Iterator[NDArray[Any]]":
    """The elements of a tensor, flat, in C order, at most about `chunk_bytes` at a time.

    Partitioned tensors that are not cut along their first dimension, and column-major arrays, are put together in
    memory first.

    Raises:
        UnreadableArtifact: The bytes are not there.
    """
    location = ref.location
    if isinstance(location, Pieces):
        if _in_a_row(ref, location):  # parts are sorted by their start
            yield from chunks(ref, chunk_bytes)
        else:
            yield assembled(ref)
    elif isinstance(location, FileRange) and location.fortran_order and len(ref.shape) > 1:
        yield assembled(ref)
    elif isinstance(location, Strided):
        from ckptdoctor.containers.tensors.strided import strided_chunks

        yield from strided_chunks(ref, location, numpy_dtype(ref.dtype), chunk_bytes, expand=True)
    elif isinstance(location, Chunked):
        from ckptdoctor.containers.zarrs.values import ordered

        yield from ordered(ref, location, chunk_bytes)
    else:
        yield from chunks(ref, chunk_bytes)


def _in_a_row(ref: TensorRef, pieces: Pieces) -> bool:
    """Whether a tensor's pieces follow each other in its order: cut along the first dimension, or as flat elements."""
    return all(piece.shape[1:] == ref.shape[1:] or len(piece.shape) < len(ref.shape) for piece in pieces.parts)


def paired_chunks(
    one: TensorRef, other: TensorRef, chunk_bytes: int = CHUNK
) -> "Iterator[tuple[NDArray[Any], NDArray[Any]]]":
    """The elements of two tensors of one shape, side by side in C order, in pieces of the same length.

    Raises:
        UnreadableArtifact: The bytes of one are not there, or it holds fewer elements than the other.
    """
    mine, theirs = ordered_chunks(one, chunk_bytes), ordered_chunks(other, chunk_bytes)
    left, right = _next(mine), _next(theirs)
    while left is not None and right is not None:
        size = min(left.size, right.size)
        yield left[:size], right[:size]
        left = left[size:] if left.size > size else _next(mine)
        right = right[size:] if right.size > size else _next(theirs)
    if left is not None or right is not None:
        short = other if left is not None else one
        raise UnreadableArtifact(f"{short.key!r} holds fewer elements than its shape says")


def _next(pieces: "Iterator[NDArray[Any]]") -> "NDArray[Any] | None":
    return next((piece for piece in pieces if piece.size), None)


def assembled(ref: TensorRef) -> "NDArray[Any]":
    """A whole tensor in memory, flat, in C order."""
    import numpy as np

    location = ref.location
    if isinstance(location, Pieces) and not _in_a_row(ref, location):
        whole = np.empty(ref.shape, numpy_dtype(ref.dtype))
        for piece in location.parts:
            part = assembled(TensorRef(ref.key, ref.dtype, piece.shape, piece.location))
            window = tuple(slice(start, start + size) for start, size in zip(piece.start, piece.shape, strict=True))
            whole[window] = part.reshape(piece.shape)
        return whole.reshape(-1)
    parts = list(ordered_chunks(ref) if isinstance(location, (Strided, Chunked)) else chunks(ref))
    flat = np.concatenate(parts) if parts else np.empty(0, numpy_dtype(ref.dtype))
    if isinstance(location, FileRange) and location.fortran_order:
        return flat.reshape(ref.shape, order="F").ravel(order="C")
    return flat


def _array(buffer: bytearray, dtype: str, *, big_endian: bool) -> "NDArray[Any]":
    import numpy as np

    array: NDArray[Any] = np.frombuffer(buffer, numpy_dtype(dtype))
    return array.byteswap() if big_endian and array.dtype.itemsize > 1 else array


def numpy_dtype(name: str) -> "np.dtype[Any]":
    """The numpy type of a dtype name.

    Raises:
        UnreadableArtifact: There is none.
    """
    import numpy as np

    plain = name.removeprefix("q") if name.startswith(("qint", "quint")) else name
    plain = f"u{OPAQUE[name]}" if name in OPAQUE else plain
    try:
        return np.dtype(plain)
    except TypeError:
        pass
    import ml_dtypes

    if not hasattr(ml_dtypes, plain):
        raise UnreadableArtifact(f"tensors of type {name} cannot be read")
    found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, plain))
    return found


class Statistics(NamedTuple):
    """Figures of one tensor.

    Attributes:
        min: Least finite value; None if there is none.
        max: Greatest finite value; None if there is none.
        mean: Mean of the finite values, summed in float64; None if there is none.
        nan: Number of NaN.
        inf: Number of infinities.
        zeros: Number of zeros.
        rms: Root of the mean of the finite values' squares, summed in float64; None if there is none.
    """

    min: float | None
    max: float | None
    mean: float | None
    nan: int
    inf: int
    zeros: int
    rms: float | None = None


_BLOCK = 1 << 16
"""Elements that are summed up at a time, in float64: they stay in the processor's cache."""


def _blocks(ref: TensorRef) -> "Iterator[NDArray[Any]]":
    """A tensor's elements, flat; of types that numpy lacks as float32."""
    import numpy as np

    for chunk in chunks(ref):
        flat = np.asarray(chunk).reshape(-1)
        for start in range(0, flat.size, _BLOCK):
            block = flat[start : start + _BLOCK]
            yield block if block.dtype.kind in "fiub" else block.astype(np.float32)


def statistics(ref: TensorRef) -> Statistics | None:
    """Reads a tensor once, in chunks, and sums it up; None for types without figures (strings, complex numbers)."""
    if ref.place is None or ref.dtype not in ITEMSIZE or ref.dtype in OPAQUE or ref.dtype.startswith("complex"):
        return None
    import numpy as np

    low, high, total, squares, count, nan, inf, zeros = float("inf"), float("-inf"), 0.0, 0.0, 0, 0, 0, 0
    work = np.empty(_BLOCK)
    for block in _blocks(ref):
        values = block
        zeros += int(np.count_nonzero(values == 0))
        if values.dtype.kind == "f":
            with np.errstate(all="ignore"):
                least, most = float(values.min()), float(values.max())
            if not (isfinite(least) and isfinite(most)):
                missing = int(np.isnan(values).sum())
                nan += missing
                inf += int(np.isinf(values).sum())
                values = values[np.isfinite(values)]
                if not values.size:
                    continue
                least, most = float(values.min()), float(values.max())
        else:
            least, most = float(values.min()), float(values.max())
        low, high = min(low, least), max(high, most)
        wide = work[: values.size]
        np.copyto(wide, values)
        total += float(wide.sum())
        squares += float(np.dot(wide, wide))
        count += int(values.size)
    if not count:
        return Statistics(None, None, None, nan, inf, zeros)
    return Statistics(low, high, total / count, nan, inf, zeros, sqrt(squares / count))
