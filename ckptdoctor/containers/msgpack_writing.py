"""msgpack documents with some of their values exchanged: every other byte stays as it is.

Arrays are written as flax writes them (flax.serialization, `_ndarray_to_bytes` and `_chunk`).
"""

import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple, TypeAlias

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.msgpack import positions
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE, array_nbytes
from ckptdoctor.containers.tensors.shard_data import pieces
from ckptdoctor.references import TensorRef

_MOST = 1 << 30
"""Bytes of an array that flax writes in one piece."""
_COPY = 1 << 20
_NDARRAY = 1
_FIXED = {1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}

Value: TypeAlias = "TensorRef | int | str | Mapping[str, Value] | list[Value] | None"
"""An array, a number, a text, nothing, or a map or list of such."""


class Sizes(NamedTuple):
    """Bytes that are new, and that were copied."""

    new: int
    copied: int


def exchange(source: str, output: BinaryIO, values: "Mapping[tuple[str, ...], Value | None]") -> Sizes:
    """Writes a document with other values at some places.

    Args:
        source: The document.
        output: What is written to.
        values: Keys on the way from the root → what is to stand there, None for nothing; the maps above it are there.
            () is the document itself.

    Raises:
        UnreadableArtifact: The document is none.
    """
    with RegularFile(source) as file:
        new = copied = 0
        for part in _value(values[()]) if () in values else _map(file, source, 0, file.size, values):
            if isinstance(part, range):
                starts = range(part.start, part.stop, _COPY)
                output.writelines(file.read(start, min(_COPY, part.stop - start)) for start in starts)
                copied += len(part)
            else:
                output.write(part)
                new += len(part)
    return Sizes(new, copied)


def _map(
    file: RegularFile, path: str, start: int, end: int, values: "Mapping[tuple[str, ...], Value | None]"
) -> Iterator[bytes | range]:
    """The parts of a map: bytes that are new, and ranges of the document that stay."""
    gone = {key[0] for key, value in values.items() if len(key) == 1 and value is None}
    entries = [each for each in positions(Cursor(file, path, start, end - start), start) if each[0] not in gone]
    here = {key[0]: value for key, value in values.items() if len(key) == 1 and value is not None}
    below: dict[str, dict[tuple[str, ...], Value | None]] = {}
    for key, value in values.items():
        if len(key) > 1:
            below.setdefault(key[0], {})[key[1:]] = value
    names = {name for name, _, _, _ in entries}
    yield _header(len(names | here.keys()), 0x80, 16, 0xDE)
    for name, begin, middle, stop in entries:
        yield range(begin, middle)
        if name in here:
            yield from _value(here[name])
        elif name in below:
            yield from _map(file, path, middle, stop, below[name])
        else:
            yield range(middle, stop)
    for name, value in here.items():
        if name not in names:
            yield _text(name)
            yield from _value(value)


# ---------------------------------------------------------------------------------------------------------- the bytes


def _value(value: Value) -> Iterator[bytes]:
    if isinstance(value, TensorRef):
        yield from _array(value)
    elif isinstance(value, int):
        yield _integer(value)
    elif isinstance(value, str):
        yield _text(value)
    elif value is None:
        yield b"\xc0"
    elif isinstance(value, list):
        yield _header(len(value), 0x90, 16, 0xDC)
        for each in value:
            yield from _value(each)
    else:
        yield _header(len(value), 0x80, 16, 0xDE)
        for name, each in value.items():
            yield _text(name)
            yield from _value(each)


def _header(count: int, small: int, most: int, large: int) -> bytes:
    """The beginning of a map or a list; `large` is the tag of one with 16 bits of length, the next has 32."""
    if count < most:
        return bytes([small | count])
    return struct.pack(">BH", large, count) if count < 1 << 16 else struct.pack(">BI", large + 1, count)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 32:
        return bytes([0xA0 | len(data)]) + data
    tag = 0xD9 if len(data) < 1 << 8 else 0xDA if len(data) < 1 << 16 else 0xDB
    return struct.pack(">B" + "BHI"[tag - 0xD9], tag, len(data)) + data


def _integer(value: int) -> bytes:
    if 0 <= value < 0x80:
        return bytes([value])
    return struct.pack(">Bq", 0xD3, value) if value < 1 << 63 else struct.pack(">BQ", 0xCF, value)


def _binary(size: int) -> bytes:
    tag = 0xC4 if size < 1 << 8 else 0xC5 if size < 1 << 16 else 0xC6
    return struct.pack(">B" + "BHI"[tag - 0xC4], tag, size)


def _array(ref: TensorRef) -> Iterator[bytes]:
    if array_nbytes(ref.dtype, ref.shape) <= _MOST:
        yield _front(ref.dtype, ref.shape)
        yield from pieces(ref, ref.key, ref.dtype, ref.shape)
        return
    step = _MOST // ITEMSIZE[ref.dtype]
    counts = [min(step, ref.size - start) for start in range(0, ref.size, step)]
    yield _header(3, 0x80, 16, 0xDE) + _text("__msgpack_chunked_array__") + b"\xc3"
    yield _text("shape") + _header(len(ref.shape), 0x80, 16, 0xDE)
    yield b"".join(_text(str(axis)) + _integer(extent) for axis, extent in enumerate(ref.shape))
    yield _text("chunks") + _header(len(counts), 0x80, 16, 0xDE)
    left = 0
    waiting = iter(enumerate(counts))
    for piece in pieces(ref, ref.key, ref.dtype, ref.shape):
        rest = memoryview(piece)
        while rest:
            if not left:
                number, count = next(waiting)
                yield _text(str(number)) + _front(ref.dtype, (count,))
                left = count * ITEMSIZE[ref.dtype]
            yield bytes(rest[:left])
            taken = min(left, len(rest))
            left, rest = left - taken, rest[taken:]


def _front(dtype: str, shape: tuple[int, ...]) -> bytes:
    """An array's extension up to its bytes."""
    size = array_nbytes(dtype, shape)
    inner = (
        b"\x93" + _header(len(shape), 0x90, 16, 0xDC) + b"".join(map(_integer, shape)) + _text(dtype) + _binary(size)
    )
    length = len(inner) + size
    if length in _FIXED:
        return bytes([_FIXED[length], _NDARRAY]) + inner
    tag = 0xC7 if length < 1 << 8 else 0xC8 if length < 1 << 16 else 0xC9
    return struct.pack(">B" + "BHI"[tag - 0xC7] + "B", tag, length, _NDARRAY) + inner
