"""V1 checkpoints: one table of tensor slices, values inside it (tf.compat.v1 Saver with `write_version=V1`).

Source: tensorflow/core/util/tensor_slice_{reader,writer}.cc and saved_tensor_slice.proto. Values lie in TensorProto's
typed fields; where those are packed floats, their bytes in the file are the tensor's.
"""

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from ckptdoctor import storage
from ckptdoctor.containers.bundles.reading import decode_name, shape_of
from ckptdoctor.containers.bundles.slices import assemble
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tables.messages import Message
from ckptdoctor.containers.tables.ordered_code import Extent, decode_slice_key
from ckptdoctor.containers.tables.sstable import Table
from ckptdoctor.containers.tables.wire import CorruptBytes, fields
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE, tensorflow_dtype
from ckptdoctor.containers.tensors.shapes import MAX_ELEMENTS, is_possible
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import FileRange, Inline, Location, TensorRef

_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\Z", re.DOTALL)

# Field numbers of TensorProto whose packed contents are the tensor's bytes.
_RAW_FIELDS = {"float32": 5, "float64": 6, "complex64": 9, "complex128": 12}
# And of those that hold varints.
_INT = 7
_VARINT_FIELDS = {"int64": 10, "bool": 11, "float16": 13, "bfloat16": 13, "uint32": 16, "uint64": 17}


class V1Checkpoint(NamedTuple):
    """A V1 checkpoint: its tensors and the files that hold them."""

    prefix: str
    tensors: Mapping[str, TensorRef]
    files: tuple[str, ...]


def shards(path: str) -> tuple[str, tuple[str, ...]]:
    """The prefix of a V1 checkpoint and its files, given any of them."""
    match = _SHARD.match(path)
    if not match:
        return path, (path,)
    prefix, _, count = match.groups()
    found = [each for each in storage.shards(prefix) if (part := _SHARD.match(each)) and part[3] == count]
    if len(found) != int(count):
        there = {each[-len("00000-of-00000") :][:5] for each in found}
        lost = next(number for number in range(int(count)) if f"{number:05d}" not in there)
        raise UnreadableArtifact(
            f"{len(found)} of {int(count)} files are here, the first that is missing is "
            f"{os.path.basename(prefix)}-{lost:05d}-of-{count}",
            path,
        )
    return prefix, tuple(found)


def tables(path: str) -> tuple[str, ...]:
    """Every file of a V1 checkpoint, given any of them: there is nothing else in it."""
    return shards(path)[1]


def read_v1(path: str) -> V1Checkpoint:
    """Reads the metadata of a V1 checkpoint, given its file or one of its shards; values stay where they are.

    Raises:
        UnreadableArtifact: A file is missing, corrupt or no V1 checkpoint.
    """
    prefix, files = shards(path)
    metas: dict[str, tuple[str, tuple[int, ...]]] = {}
    parts: dict[str, list[tuple[tuple[Extent, ...], FileRange | Inline]]] = {}
    for each in files:
        with RegularFile(each) as file:
            _read_file(file, metas, parts)
    tensors: dict[str, TensorRef] = {}
    for name, (dtype, shape) in metas.items():
        pieces = parts.get(name, [])
        try:
            whole = assemble(shape, pieces, ITEMSIZE.get(dtype))
        except CorruptBytes as error:
            raise UnreadableArtifact(f"the tensor {name!r}: {error}", path) from error
        location: Location = whole.parts[0].location if len(whole.parts) == 1 else whole
        tensors[name] = TensorRef(name, dtype, shape, location)
    return V1Checkpoint(prefix, tensors, files)


def _read_file(
    file: RegularFile,
    metas: dict[str, tuple[str, tuple[int, ...]]],
    parts: dict[str, list[tuple[tuple[Extent, ...], FileRange | Inline]]],
) -> None:
    name = os.path.basename(file.path)
    for key, offset, size in Table(file).spans():
        try:
            if key == b"":
                data = file.read(offset, size, "the checkpoint's metadata")
                for meta in Message(data).message(1).messages(1):  # SavedTensorSlices.meta.tensor: name, shape, type
                    shape, called = shape_of(meta.message(2)), decode_name(meta.raw(1))
                    if not is_possible(shape):
                        raise CorruptBytes(f"{called!r} has an impossible shape")
                    metas[called] = (tensorflow_dtype(meta.integer(3, bits=32)), shape)
                continue
            tensor, extents = decode_slice_key(key)
            text = decode_name(tensor)
            if text not in metas:
                raise CorruptBytes(f"{text!r} is not in the checkpoint's metadata")
            parts.setdefault(text, []).append((extents, _value(file, offset, size, *metas[text], extents)))
        except CorruptBytes as error:
            raise UnreadableArtifact(
                f"the entry at byte {offset:,} is corrupt ({error})", file.path, place=name
            ) from error


def _value(
    file: RegularFile, offset: int, size: int, dtype: str, shape: tuple[int, ...], extents: tuple[Extent, ...]
) -> FileRange | Inline:
    """Where the value of a slice lies: SavedTensorSlices.data (2) → SavedSlice.data (3) → TensorProto's field."""
    start, end = offset, offset + size
    for wanted in (2, 3):
        inner = [(at, length) for number, kind, at, length in fields(file, start, end) if (number, kind) == (wanted, 2)]
        if len(inner) != 1:
            raise CorruptBytes("a slice without data")
        start, end = inner[0][0], sum(inner[0])
    count = 1
    for (_, length), whole in zip(extents, shape, strict=False):
        count *= whole if length == -1 else length
    if not 0 <= count < MAX_ELEMENTS:
        raise CorruptBytes("a slice of an impossible size")
    expected = count * ITEMSIZE.get(dtype, 0)
    for number, kind, at, length in fields(file, start, end):
        if kind == 2 and length == expected and expected and number in {4, _RAW_FIELDS.get(dtype)}:
            return FileRange(file.path, at, length)
    return Inline(_decode(file.read(start, end - start, "a tensor"), dtype, count))


def _decode(data: bytes, dtype: str, count: int) -> bytes:
    """Little-endian bytes of a tensor whose values are varints in the file."""
    tensor = Message(data)
    itemsize = ITEMSIZE.get(dtype)
    if itemsize is None:
        return b""
    if dtype in _RAW_FIELDS:
        return _exactly(tensor.raw(_RAW_FIELDS[dtype]), count * itemsize)
    numbers = tensor.integers(_VARINT_FIELDS.get(dtype, _INT))
    mask = (1 << (8 * itemsize)) - 1
    return _exactly(b"".join((value & mask).to_bytes(itemsize, "little") for value in numbers), count * itemsize)


def _exactly(raw: bytes, expected: int) -> bytes:
    if len(raw) != expected:
        raise CorruptBytes(f"a tensor of {expected:,} bytes has {len(raw):,}")
    return raw
