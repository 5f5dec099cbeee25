"""Snappy's raw format, decompressed: TensorFlow's table reader accepts such blocks, though its writer makes none."""

from __future__ import annotations

from ckptdoctor.containers.tables.wire import CorruptBytes, varint

MAX_OUTPUT = 1 << 24
_LONGEST_INLINE = 60


def decompress(data: bytes) -> bytes:
    """Decompresses one raw snappy block.

    Raises:
        CorruptBytes: The block is malformed, or claims more than `MAX_OUTPUT` bytes.
    """
    expected, position = varint(data, 0)
    if expected > MAX_OUTPUT:
        raise CorruptBytes(f"a snappy block claims {expected:,} bytes")
    out = bytearray()
    while position < len(data):
        tag = data[position]
        position += 1
        kind = tag & 3
        if kind == 0:
            length = (tag >> 2) + 1
            if length > _LONGEST_INLINE:
                extra = length - _LONGEST_INLINE
                length = int.from_bytes(data[position : position + extra], "little") + 1
                position += extra
            if position + length > len(data):
                raise CorruptBytes("a snappy literal runs past the block")
            out += data[position : position + length]
            position += length
        else:
            position = _copy(data, position, tag, kind, out)
        if len(out) > expected:
            break
    if len(out) != expected:
        raise CorruptBytes(f"a snappy block gives {len(out):,} bytes instead of {expected:,}")
    return bytes(out)


def _copy(data: bytes, position: int, tag: int, kind: int, out: bytearray) -> int:
    width = (0, 1, 2, 4)[kind]
    if position + width > len(data):
        raise CorruptBytes("a snappy copy runs past the block")
    offset = int.from_bytes(data[position : position + width], "little")
    if kind == 1:
        length = ((tag >> 2) & 7) + 4
        offset |= (tag >> 5) << 8
    else:
        length = (tag >> 2) + 1
    if not 0 < offset <= len(out):
        raise CorruptBytes("a snappy copy points before the block")
    start = len(out) - offset
    if length <= offset:
        out += out[start : start + length]
    else:  # overlapping: the copied bytes repeat
        chunk = bytes(out[start:])
        out += (chunk * (length // offset + 1))[:length]
    return position + width
