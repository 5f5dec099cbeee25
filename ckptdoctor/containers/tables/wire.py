"""Varints and the protocol-buffer wire format, for what is too large or too hostile to parse as one message."""

from __future__ import annotations

from collections.abc import Iterator

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact

_MAX_VARINT = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 1_000_000
"""Fields of one message that is walked by position; that takes a few seconds."""


class CorruptBytes(ValueError):
    """Bytes that cannot be what they are read as; callers know the file and raise UnreadableArtifact."""


def varint(data: bytes, position: int) -> tuple[int, int]:
    """Reads a base-128 varint; answers its value and the position after it.

    Raises:
        CorruptBytes: It runs past the end or over ten bytes.
    """
    result = shift = 0
    for index in range(position, min(position + _MAX_VARINT, len(data))):
        byte = data[index]
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, index + 1
        shift += 7
    raise CorruptBytes(f"no varint at byte {position}")


def encode_varint(value: int) -> bytes:
    """A base-128 varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fields(file: RegularFile, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Walks one message in a file without reading its contents.

    Yields:
        (field number, wire type, offset of the value, its size): for varints and fixed-size values the size is that of
        the encoding, for length-delimited ones that of the contents.

    Raises:
        UnreadableArtifact: The bytes are no protocol buffer, or a field runs past `end`.
        LimitExceeded: There are more than `MAX_FIELDS`.
    """
    position, count = start, 0
    while position < end:
        count += 1
        if count > MAX_FIELDS:
            raise LimitExceeded(f"a message of more than {MAX_FIELDS:,} fields", file.path)
        at = position
        window = file.read(position, min(2 * _MAX_VARINT, end - position), "a field")
        try:
            tag, used = varint(window, 0)
            wire_type = tag & 7
            if wire_type == _BYTES:
                size, used = varint(window, used)
            elif wire_type == _VARINT:
                size = varint(window, used)[1] - used
            elif wire_type in {_FIXED64, _FIXED32}:
                size = 8 if wire_type == _FIXED64 else 4
            else:
                raise CorruptBytes(f"wire type {wire_type}")
        except CorruptBytes as error:
            raise UnreadableArtifact(f"byte {at:,} is no protocol buffer field ({error})", file.path) from error
        position += used
        if not tag >> 3 or position + size > end:
            raise UnreadableArtifact(
                f"the field at byte {at:,} claims {size:,} bytes, {max(end - position, 0):,} are left", file.path
            )
        yield tag >> 3, wire_type, position, size
        position += size
