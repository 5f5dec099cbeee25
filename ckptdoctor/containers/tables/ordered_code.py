"""The binary keys of tensor slices: OrderedCode, which sorts as its values do.

Source: tensorflow/core/util/saved_tensor_slice_util.cc (`EncodeTensorNameSlice`) and tensorflow/core/lib/strings/
ordered_code.cc.
"""

from __future__ import annotations

from ckptdoctor.containers.tables.wire import CorruptBytes

Extent = tuple[int, int]
"""Start and length of a slice in one dimension; length -1: the whole dimension."""

_MAX_RANK = 254


def decode_slice_key(key: bytes) -> tuple[bytes, tuple[Extent, ...]]:
    """Reads `num(0) str(name) num(rank) (signed(start) signed(length))…`.

    Raises:
        CorruptBytes: The key is no slice key.
    """
    zero, position = _number(key, 0)
    if zero:
        raise CorruptBytes("a slice key that does not begin with 0")
    name, position = _string(key, position)
    rank, position = _number(key, position)
    if rank > _MAX_RANK:
        raise CorruptBytes(f"a slice of rank {rank}")
    extents: list[Extent] = []
    for _ in range(rank):
        start, position = _signed(key, position)
        length, position = _signed(key, position)
        extents.append((start, length))
    if position != len(key):
        raise CorruptBytes("a slice key with bytes to spare")
    return name, tuple(extents)


def _number(data: bytes, position: int) -> tuple[int, int]:
    if position >= len(data):
        raise CorruptBytes("a slice key that ends early")
    end = position + 1 + data[position]
    if data[position] > 8 or end > len(data):
        raise CorruptBytes("a slice key with a number too long")
    return int.from_bytes(data[position + 1 : end], "big"), end


def _string(data: bytes, position: int) -> tuple[bytes, int]:
    out = bytearray()
    while True:
        if position + 1 >= len(data):
            raise CorruptBytes("a slice key with a name that does not end")
        byte, following = data[position], data[position + 1]
        if byte == 0x00 and following == 0x01:
            return bytes(out), position + 2
        if byte == 0x00 and following == 0xFF:
            out.append(0x00)
            position += 2
        elif byte == 0xFF and following == 0x00:
            out.append(0xFF)
            position += 2
        elif byte in {0x00, 0xFF}:
            raise CorruptBytes("a slice key with a name that is not escaped")
        else:
            out.append(byte)
            position += 1


def _signed(data: bytes, position: int) -> tuple[int, int]:
    """A signed number: the leading bits of the first byte, after the sign bit, count the bytes in unary."""
    if position >= len(data):
        raise CorruptBytes("a slice key that ends early")
    first = data[position]
    negative = not first & 0x80
    probe = int.from_bytes(data[position : position + 2].ljust(2, b"\0"), "big")
    bits = probe ^ 0xFFFF if negative else probe
    length = 0
    while length < 16 and bits & (0x8000 >> length):
        length += 1
    if not 1 <= length <= 10 or position + length > len(data):
        raise CorruptBytes("a slice key with a number too long")
    value = int.from_bytes(data[position : position + length], "big")
    width = 8 * length
    # The header's ones (zeros when negative) are removed, what remains is two's complement.
    header = ((1 << length) - 1) << (width - length)
    if negative:
        return value - (1 << (width - length)), position + length
    return value ^ header, position + length


def encode_slice_key(name: bytes, extents: tuple[Extent, ...]) -> bytes:
    """The key under which a slice is stored; the inverse of `decode_slice_key`."""
    out = bytearray(b"\x00")
    for byte in name:
        out += b"\x00\xff" if byte == 0x00 else b"\xff\x00" if byte == 0xFF else bytes((byte,))
    out += b"\x00\x01"
    out += _encode_number(len(extents))
    for start, length in extents:
        out += _encode_signed(start) + _encode_signed(length)
    return bytes(out)


def _encode_number(value: int) -> bytes:
    body = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes((len(body),)) + body


def _encode_signed(value: int) -> bytes:
    magnitude = value if value >= 0 else ~value
    length = max(1, -(-(magnitude.bit_length() + 1) // 7))
    while magnitude >= 1 << (7 * length - 1):
        length += 1
    width = 8 * length
    header = ((1 << length) - 1) << (width - length)
    encoded = (value ^ header) if value >= 0 else value + (1 << (width - length))
    return encoded.to_bytes(length, "big")
