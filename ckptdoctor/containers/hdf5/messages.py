"""What the object headers of HDF5 say: shapes, types of elements, attributes.

HDF5 File Format Specification 3.0, IV.A.2. Known is what h5py writes of its own accord, bit by bit; whatever is
otherwise is `Strange`, and left to the library.
"""

import struct
from functools import lru_cache
from math import prod
from typing import NamedTuple

from ckptdoctor.containers.hdf5.opening import Strange

DATASPACE, DATATYPE, LAYOUT, ATTRIBUTE, CONTINUATION, SYMBOL_TABLE = 0x01, 0x03, 0x08, 0x0C, 0x10, 0x11
NOTHING, FILL_VALUE, CHANGED = 0x00, 0x05, 0x12
UNDEFINED = (1 << 64) - 1
"""An address that leads nowhere."""
_MAX_RANK = 32
_SCALAR, _SIMPLE = 0, 1
_NULL_TERMINATED, _NULL_PADDED = 0, 1
_VARIABLE_TEXTS = frozenset({b"\x19\1\0\0", b"\x19\1\1\0"})
"""Texts of variable length, in ASCII and in UTF-8."""
_OF_BYTES = struct.pack("<IBBHIHH", 16, 0x10, 0, 0, 1, 0, 8).rstrip(b"\0")
""": 16 bytes each (a length, a heap, a number there), made of bytes."""


class ElementType(NamedTuple):
    """The type of a data set's or an attribute's elements.

    Attributes:
        name: By numpy's name, `bfloat16`, or `string`.
        item: Bytes of an element.
        is_big: Whether the most significant byte comes first.
        ends: Of texts of a fixed length, whether a null ends them, or they are padded with nulls; None of others.
    """

    name: str
    item: int
    is_big: bool = False
    ends: bool | None = None


class Attribute(NamedTuple):
    """An attribute: the type of its elements, its shape, and bytes."""

    type: ElementType
    shape: tuple[int, ...]
    data: bytes


def _types() -> dict[bytes, ElementType]:
    """The types of numbers, by the bytes that stand for them."""
    found: dict[bytes, ElementType] = {}
    for big in (False, True):
        for item in (1, 2, 4, 8):
            for signed in (False, True):
                head = struct.pack("<BBHI", 0x10, big | signed << 3, 0, item)
                name = f"{'int' if signed else 'uint'}{8 * item}"
                found[head + struct.pack("<HH", 0, 8 * item)] = ElementType(name, item, big)
        for item, exponent in ((2, 5), (4, 8), (8, 11)):
            bits = 8 * item
            head = struct.pack("<BBBBI", 0x11, 0x20 | big, bits - 1, 0, item)
            mantissa = bits - 1 - exponent
            fields = struct.pack("<HHBBBBI", 0, bits, mantissa, exponent, 0, mantissa, (1 << exponent - 1) - 1)
            found[head + fields] = ElementType(f"float{bits}", item, big)
    # Two opaque bytes are bfloat16: see elements.dtype_name.
    found[struct.pack("<BBHI", 0x15, 0, 0, 2)] = ElementType("bfloat16", 2)
    # h5py's bool is an enumeration over int8.
    found[struct.pack("<BBHI", 0x18, 2, 0, 1) + struct.pack("<BBHIHH", 0x10, 8, 0, 1, 0, 8)
          + b"FALSE\0\0\0TRUE\0\0\0\0\0\1"] = ElementType("bool", 1)  # fmt: skip
    return found


_TYPES = _types()
_LENGTHS = sorted({len(each) for each in _TYPES}, reverse=True)


@lru_cache(maxsize=4096)
def element_type(data: bytes) -> ElementType:
    """The type that a message describes; raises Strange."""
    for length in _LENGTHS:
        known = _TYPES.get(data[:length])
        if known is not None and not data[length:].strip(b"\0"):
            return known
    head, first, _, _, item = struct.unpack_from("<BBBBI", data)
    padding, charset = first & 15, first >> 4
    if head == 0x13 and padding in {_NULL_TERMINATED, _NULL_PADDED} and charset <= 1 and item:
        return ElementType("string", item, ends=padding == _NULL_TERMINATED)
    if data[:4] in _VARIABLE_TEXTS and data[4:].rstrip(b"\0") == _OF_BYTES:
        return ElementType("string", item)
    raise Strange


@lru_cache(maxsize=4096)
def shape_of(data: bytes) -> tuple[int, ...]:
    """The shape that a dataspace describes; raises Strange, also of the one that holds nothing."""
    version, rank, flags, kind = struct.unpack_from("<BBBB", data)
    if rank > _MAX_RANK or flags > 1 or version not in {1, 2}:
        raise Strange
    if version == 2 and kind != (_SIMPLE if rank else _SCALAR):
        raise Strange
    start = 8 if version == 1 else 4
    dims = struct.unpack_from(f"<{rank}Q", data, start)
    most = struct.unpack_from(f"<{rank}Q", data, start + 8 * rank) if flags else dims
    if any(extent > limit for extent, limit in zip(dims, most, strict=True)):
        raise Strange
    return dims


def place_of(data: bytes) -> tuple[int, int]:
    """Address and bytes of a contiguous data set; raises Strange of chunks and of layouts of HDF5 before 1.6.3."""
    version, kind, address, size = struct.unpack_from("<BBQQ", data)
    if (version, kind) != (3, 1):
        raise Strange
    return address, size


def attribute(data: bytes) -> tuple[str, Attribute]:
    """An attribute and its name; raises Strange."""
    version, flags, name, kind, space = struct.unpack_from("<BBHHH", data)
    if version not in {1, 3} or flags:
        raise Strange
    at = 8 if version == 1 else 9
    step = 8 if version == 1 else 1  # so far the parts are padded
    parts: list[bytes] = []
    for length in (name, kind, space):
        parts.append(data[at : at + length])
        at += -(-length // step) * step
    if at > len(data) or parts[0].find(b"\0") != name - 1:
        raise Strange
    found = Attribute(element_type(parts[1]), shape_of(parts[2]), data[at:])
    if len(found.data) < nbytes(found.type, found.shape):
        raise Strange
    return parts[0][:-1].decode("utf-8", "surrogateescape"), found


def nbytes(kind: ElementType, shape: tuple[int, ...]) -> int:
    """Bytes of so many elements."""
    return kind.item * prod(shape)


def check(kind: int, data: bytes) -> None:
    """What says nothing of where or what the values are, but has to be as the library wants it; raises Strange."""
    if kind == FILL_VALUE:
        version, allocated, written, defined = struct.unpack_from("<BBBB", data)
        if version != 2 or not 1 <= allocated <= 3 or written > 2 or defined > 1:
            raise Strange
        if defined and struct.unpack_from("<I", data, 4)[0] > len(data) - 8:
            raise Strange
    elif kind == CHANGED:
        if data[0] != 1:
            raise Strange
    elif kind != NOTHING:
        raise Strange
