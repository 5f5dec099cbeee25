"""Entries of a bundle's index: BundleEntryProto, decoded by hand where it looks as TensorFlow writes it.

Source: tensorflow/core/protobuf/tensor_bundle.proto. An index has an entry a tensor, and a protocol buffer object for
each costs more than everything else that reading them takes. What is written otherwise, or is no plain tensor, is read
field by field.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ckptdoctor.containers.tables.wire import CorruptBytes, encode_varint, varint
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE, array_nbytes, tensorflow_dtype
from ckptdoctor.containers.tensors.shapes import is_possible
from ckptdoctor.references import DataFile, FileRange

# A tag is a field's number, shifted by three, and its wire type.
_DTYPE, _SHAPE, SHARD, OFFSET, _SIZE, _CRC = 0x08, 0x12, 0x18, 0x20, b"\x28", b"\x35"
_DIM, _DIM_SIZE = 0x12, 0x08
_MOST_DIGITS = 9
"""Bytes of a varint below 2^63."""


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

    def common(self, raws: Sequence[bytes]) -> tuple[Head, int]:
        """What entries that are equally long, and begin alike, have in common.

        There may be 100,000: their bytes are held against the first one's column by column.

        Returns:
            What it means, and where in the data file the last of their tensors ends.

        Raises:
            CorruptBytes: One of them is not as TensorFlow writes it.
        """
        first, size, count = raws[0], len(raws[0]), len(raws)
        try:
            shape_end = at = 4 + first[3]
            at += 2 if first[at] == SHARD else 0
        except IndexError as error:
            raise CorruptBytes("an entry that ends early") from error
        head = self[first[:at]]
        behind = size - 4 - len(head.size_field)
        together = b"".join(raws)
        columns = [together[number::size] for number in range(at, behind)]
        for number in (*range(shape_end, at), *range(behind, size - 4)):
            if together[number::size] != first[number : number + 1] * count:
                raise CorruptBytes("an entry unlike the others of its shape")
        if behind < at or first[behind:-4] != head.size_field:
            raise CorruptBytes("a size that is not the shape's, or further fields")
        end = head.nbytes + (_greatest(columns, count) if columns else 0)
        if end >> 63:
            raise CorruptBytes("a negative offset")
        return head, end


def front(raw: bytes) -> bytes:
    """An entry up to its offset."""
    end = 4 + raw[3] if len(raw) > 3 else 0
    return raw[: end + 2] if raw[end : end + 1] == bytes([SHARD]) else raw[:end]


def _greatest(columns: list[bytes], count: int) -> int:
    """The greatest of offsets of equal length, of which each column is a byte: the tag, and a varint."""
    tag, *digits = columns
    if tag != bytes([OFFSET]) * count or not 0 < len(digits) <= _MOST_DIGITS:
        raise CorruptBytes("a field that is no offset")
    if not digits[-1].isascii() or any(min(digit) < 0x80 for digit in digits[:-1]):
        raise CorruptBytes("an offset of another length than the others")
    # The last byte has the highest bits, and what marks the others is in all of them.
    greatest = max(zip(*reversed(digits), strict=True))
    return sum((digit & 0x7F) << 7 * place for place, digit in enumerate(reversed(greatest)))


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
