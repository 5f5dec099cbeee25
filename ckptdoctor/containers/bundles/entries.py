"""Entries of a bundle's index: BundleEntryProto, decoded by hand where it looks as TensorFlow writes it.

Source: tensorflow/core/protobuf/tensor_bundle.proto. An index has an entry a tensor, and a protocol buffer object for
each costs more than everything else that reading them takes. What is written otherwise, or is no plain tensor, is read
field by field.
"""

from typing import NamedTuple

from ckptdoctor.containers.tables.table_writer import encode_varint
from ckptdoctor.containers.tables.wire import CorruptBytes, varint
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE, array_nbytes, tensorflow_dtype
from ckptdoctor.containers.tensors.shapes import is_possible
from ckptdoctor.references import DataFile, FileRange

# A tag is a field's number, shifted by three, and its wire type.
_DTYPE, _SHAPE, SHARD, OFFSET, _SIZE, _CRC = 0x08, 0x12, 0x18, 0x20, b"\x28", b"\x35"
_DIM, _DIM_SIZE = 0x12, 0x08


class Head(NamedTuple):
    """What entries of one type, shape and data file have in common.

    Attributes:
        dtype: numpy's name of the type.
        shape: The tensor's dimensions.
        nbytes: Its bytes.
        shard: The data file.
        size_field: The bytes between offset and checksum: the size's field and the checksum's tag.
    """

    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    shard: int
    size_field: bytes


class Heads(dict[bytes, Head]):
    """The first bytes of entries, up to their offset, and what they mean: the same few recur.

    Raises:
        CorruptBytes: On looking up what is not as TensorFlow writes it, or has a type without a fixed size.
    """

    def __missing__(self, raw: bytes) -> Head:
        try:
            self[raw] = head = _decode(raw)
        except IndexError as error:
            raise CorruptBytes("an entry that ends early") from error
        return head


def place(entry: bytes, file: DataFile, dtype: str, shape: tuple[int, ...]) -> FileRange:
    """Where a tensor is, by an entry of which `Heads` knows the first bytes."""
    at = 4 + entry[3]
    at += 2 if entry[at] == SHARD else 0
    offset = varint(entry, at + 1)[0] if entry[at] == OFFSET else 0
    return FileRange(
        file.path, offset, array_nbytes(dtype, shape), int.from_bytes(entry[-4:], "little"), file.big_endian
    )


def _decode(raw: bytes) -> Head:
    """Reads `dtype shape [shard]`, each number of the first two lengths in one byte."""
    dtype, end = tensorflow_dtype(raw[1]), 4 + raw[3]
    shard = raw[end + 1] if len(raw) > end else 0
    if (
        (raw[0], raw[2]) != (_DTYPE, _SHAPE)
        or max(raw[1], raw[3], shard) >= 0x80
        or len(raw) not in {end, end + 2}
        or dtype not in ITEMSIZE
    ):
        raise CorruptBytes("an entry in an unusual form")
    shape, nbytes, position = [], ITEMSIZE[dtype], 4
    while position < end:
        extent, following = _dim(raw, position)
        shape.append(extent)
        nbytes *= extent
        position = following
    if position != end or not is_possible(tuple(shape)) or nbytes >> 63:
        raise CorruptBytes("an entry of an impossible shape")
    return Head(dtype, tuple(shape), nbytes, shard, (_SIZE + encode_varint(nbytes) if nbytes else b"") + _CRC)


def _dim(raw: bytes, position: int) -> tuple[int, int]:
    """A dimension's extent, and the position after it."""
    start, end = position + 2, position + 2 + raw[position + 1]
    if raw[position] == _DIM and end == start:
        return 0, end
    extent, position = varint(raw, start + 1)
    if (raw[start - 2], raw[start]) != (_DIM, _DIM_SIZE) or position != end or extent >> 63:
        raise CorruptBytes("a dimension in an unusual form")
    return extent, end
