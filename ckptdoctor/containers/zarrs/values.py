"""The values of an array in chunks, a block at a time: in the array's order, or chunk by chunk.

Chunks may be as large as the array, or lie beside each other: those that a block needs are unpacked side by side, each
as far as the block reaches.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any

from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.containers.zarrs.decoding import ChunkStream, unsharded
from ckptdoctor.errors import LimitExceeded
from ckptdoctor.references import Chunk, Chunked, TensorRef

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_WHOLE = 1 << 18
"""Bytes of a chunk that is unpacked at once."""
_MOST_TRANSPOSED = 256 << 20
"""Bytes of a chunk whose axes are stored in another order: it has to be in memory as a whole."""
_MOST_STREAMS = 64
_MOST_WHOLE = 1024


def ordered(ref: TensorRef, location: Chunked, step: int) -> Iterator[NDArray[Any]]:
    """The elements, flat, in C order, at most about `step` bytes at a time; where blocks end, shape and type alone say.

    Raises:
        UnreadableArtifact: A chunk is corrupt.
        LimitExceeded: Too many chunks would have to be read side by side.
    """
    yield from _Array(ref, unsharded(location, ref.key)).blocks(step)


def by_chunk(ref: TensorRef, location: Chunked, step: int) -> Iterator[NDArray[Any]]:
    """The elements, flat, chunk by chunk: any number of them can be read so.

    Raises:
        UnreadableArtifact: A chunk is corrupt.
    """
    import numpy as np

    location = unsharded(location, ref.key)
    left = prod(location.shape)
    for part in location.parts:
        sizes = zip(location.shape, part.start, location.chunk, strict=True)
        extents = tuple(min(size, extent - at) for extent, at, size in sizes)
        left -= prod(extents)
        one = Chunk((0,) * len(extents), part.location)
        yield from _Array(ref, location._replace(shape=extents, parts=(one,))).blocks(step)
    dtype = _numpy_dtype(ref.dtype)
    most = max(step // dtype.itemsize, 1)
    fill = np.frombuffer(location.fill or bytes(dtype.itemsize), dtype)[0]
    while left > 0:
        yield np.full(min(left, most), fill, dtype)
        left -= most


def _numpy_dtype(name: str) -> np.dtype[Any]:
    from ckptdoctor.containers.tensors.values import numpy_dtype

    return numpy_dtype(name)


class _Array:
    """An array while it is read."""

    def __init__(self, ref: TensorRef, location: Chunked) -> None:
        self._ref = ref
        self._dtype = _numpy_dtype(ref.dtype)
        self._location = location
        # A scalar is an array of one element.
        self._shape, self._chunk = location.shape or (1,), location.chunk or (1,)
        self._parts = {
            tuple(at // size for at, size in zip(part.start or (0,), self._chunk, strict=True)): part
            for part in location.parts
        }
        self._open: dict[tuple[int, ...], _Opened] = {}

    def blocks(self, step: int) -> Iterator[NDArray[Any]]:
        """Blocks of whole rows along one axis; before it every index, after it everything."""
        if not prod(self._shape):
            return
        size = ITEMSIZE[self._ref.dtype]
        axis = 0
        while axis < len(self._shape) - 1 and prod(self._shape[axis + 1 :]) * size > step:
            axis += 1
        rows = max(1, step // (prod(self._shape[axis + 1 :]) * size))
        for outer in product(*map(range, self._shape[:axis])):
            for start in range(0, self._shape[axis], rows):
                yield self._block(outer, axis, start, min(start + rows, self._shape[axis]))

    def _block(self, outer: tuple[int, ...], axis: int, start: int, end: int) -> NDArray[Any]:
        import numpy as np

        rest = self._shape[axis + 1 :]
        chunk = self._chunk[axis]
        places = [range(at // size, at // size + 1) for at, size in zip(outer, self._chunk, strict=False)]
        places.append(range(start // chunk, -(-end // chunk)))
        places += [range(-(-a // b)) for a, b in zip(rest, self._chunk[axis + 1 :], strict=True)]
        block: NDArray[Any] | None = None
        for place in product(*places):
            first = max(start, place[axis] * chunk)
            last = min(end, (place[axis] + 1) * chunk)
            if place not in self._parts and block is None:
                block = self._filled((end - start, *rest))
            if place not in self._parts:
                continue
            inner = [at - number * size for at, number, size in zip(outer, place, self._chunk, strict=False)]
            values = self._opened(place).rows(inner, axis, first - place[axis] * chunk, last - place[axis] * chunk)
            if place in self._open and self._is_done(place, outer, axis, last):
                del self._open[place]
            if block is None and values.shape == (end - start, *rest):
                return values.reshape(-1)
            if block is None:
                block = self._filled((end - start, *rest))
            at = [number * size for number, size in zip(place[axis + 1 :], self._chunk[axis + 1 :], strict=True)]
            window = tuple(slice(a, min(a + b, c)) for a, b, c in zip(at, self._chunk[axis + 1 :], rest, strict=True))
            inside = tuple(slice(0, each.stop - each.start) for each in window)
            block[(slice(first - start, last - start), *window)] = values[(slice(None), *inside)]
        return (np.empty(0, self._dtype) if block is None else block).reshape(-1)

    def _filled(self, shape: tuple[int, ...]) -> NDArray[Any]:
        import numpy as np

        fill = self._location.fill
        return (
            np.full(shape, np.frombuffer(fill, self._dtype)[0], self._dtype) if fill else np.zeros(shape, self._dtype)
        )

    def _is_done(self, place: tuple[int, ...], outer: tuple[int, ...], axis: int, last: int) -> bool:
        """Whether a chunk's last element that is the array's has been read."""
        reached = (*(at + 1 for at in outer), last)
        ends = [min((n + 1) * size, most) for n, size, most in zip(place, self._chunk, self._shape, strict=True)]
        return all(at >= end for at, end in zip(reached, ends[: axis + 1], strict=True))

    def _opened(self, place: tuple[int, ...]) -> _Opened:
        if place not in self._open:
            opened = _Opened(self._ref, self._location, self._chunk, self._parts[place], self._dtype)
            self._open[place] = opened
            streams = sum(each.is_stream for each in self._open.values()) if opened.is_stream else 0
            if streams > _MOST_STREAMS or len(self._open) > _MOST_WHOLE:
                raise LimitExceeded(
                    f"{self._ref.key!r} lies in so many chunks side by side that it cannot be read in its order"
                )
        return self._open[place]


class _Opened:
    """A chunk while it is read.

    Attributes:
        is_stream: It is unpacked as it is asked for.
    """

    def __init__(
        self, ref: TensorRef, location: Chunked, chunk: tuple[int, ...], part: Chunk, dtype: np.dtype[Any]
    ) -> None:
        self._chunk, self._dtype, self._big = chunk, dtype, location.big_endian
        nbytes = prod(chunk) * dtype.itemsize
        if location.axes and nbytes > _MOST_TRANSPOSED:
            raise LimitExceeded(f"the chunks of {ref.key!r} are too large to be read in another order of their axes")
        self._stream = ChunkStream(part.location, location.codecs, nbytes, ref.key)
        self._at = 0
        self.is_stream = nbytes > _WHOLE and not location.axes
        self._whole: NDArray[Any] | None = None
        if not self.is_stream:
            data = self._array(self._stream.take(nbytes))
            if location.axes:
                stored = data.reshape([chunk[axis] for axis in location.axes])
                data = stored.transpose([location.axes.index(axis) for axis in range(len(chunk))])
            self._whole = data.reshape(chunk)

    def _array(self, data: bytes) -> NDArray[Any]:
        import numpy as np

        array: NDArray[Any] = np.frombuffer(data, self._dtype)
        return array.byteswap() if self._big and self._dtype.itemsize > 1 else array

    def rows(self, outer: list[int], axis: int, start: int, end: int) -> NDArray[Any]:
        """Rows along an axis, at an index of those before it; of those after it everything. Rows only go forward."""
        if self._whole is not None:
            whole = self._whole
            for at in outer:
                whole = whole[at]
            return whole[start:end]
        inner = prod(self._chunk[axis + 1 :])
        first = start
        for at, size in zip(reversed(outer), _strides(self._chunk, axis), strict=True):
            first += at * size
        self._stream.skip((first * inner - self._at) * self._dtype.itemsize)
        data = self._stream.take((end - start) * inner * self._dtype.itemsize)
        self._at = (first + end - start) * inner
        return self._array(data).reshape((end - start, *self._chunk[axis + 1 :]))


def _strides(chunk: tuple[int, ...], axis: int) -> list[int]:
    """How many rows along `axis` one step along each axis before it is, the nearest first."""
    found: list[int] = []
    size = chunk[axis]
    for extent in reversed(chunk[:axis]):
        found.append(size)
        size *= extent
    return found
