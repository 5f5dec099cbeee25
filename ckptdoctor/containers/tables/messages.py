"""Protocol-buffer messages in memory, their fields by number: what is read of TensorFlow's small messages.

Source: protobuf.dev, "Encoding". The field numbers stand beside the calls; protos/checkpoint.proto has them with their
names. The protocol buffer library writes; loading it would take as long as reading a small checkpoint.
"""

from __future__ import annotations

from typing import TypeVar

from ckptdoctor.containers.tables.wire import CorruptBytes, varint

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIELDS = 1 << 29
_SIZES = {_FIXED64: 8, _FIXED32: 4}


class _Fixed(bytes):
    """A number of fixed size: bytes that are no text and no message."""

    __slots__ = ()


_Kind = TypeVar("_Kind", int, bytes, _Fixed)


class Message:
    """One message. What a field should not hold by its type is as if it were not there, as in any protocol buffer.

    Args:
        data: The serialized message.

    Raises:
        CorruptBytes: The bytes are no message.
    """

    __slots__ = ("_fields",)

    def __init__(self, data: bytes) -> None:
        found: dict[int, list[int | bytes]] = {}
        position, end = 0, len(data)
        while position < end:
            tag, position = varint(data, position)
            kind = tag & 7
            if not 0 < tag >> 3 < _FIELDS:
                raise CorruptBytes(f"a field of number {tag >> 3}")
            if kind == _VARINT:
                value, position = varint(data, position)
                found.setdefault(tag >> 3, []).append(value)
                continue
            made: type[bytes] = bytes
            if kind == _BYTES:
                size, position = varint(data, position)
            elif kind in _SIZES:
                size, made = _SIZES[kind], _Fixed
            else:
                raise CorruptBytes(f"a field of wire type {kind}")
            if position + size > end:
                raise CorruptBytes("a field that runs past the end")
            found.setdefault(tag >> 3, []).append(made(data[position : position + size]))
            position += size
        self._fields = found

    def __contains__(self, field: int) -> bool:
        return field in self._fields

    def integer(self, field: int, *, bits: int = 64) -> int:
        """A signed integer or an enumeration's number; the last one counts, 0 if there is none."""
        return next((_signed(each, bits) for each in reversed(self._all(field, int))), 0)

    def flag(self, field: int) -> bool:
        """A boolean."""
        return self.integer(field) != 0

    def integers(self, field: int, *, bits: int = 64) -> list[int]:
        """Repeated integers, packed or not."""
        found: list[int] = []
        for each in self._fields.get(field, ()):
            if isinstance(each, int):
                found.append(_signed(each, bits))
            elif type(each) is bytes:
                position = 0
                while position < len(each):
                    value, position = varint(each, position)
                    found.append(_signed(value, bits))
        return found

    def fixed32(self, field: int) -> int:
        """An unsigned number of four bytes; the last one counts, 0 if there is none."""
        found = [each for each in self._all(field, _Fixed) if len(each) == _SIZES[_FIXED32]]
        return int.from_bytes(found[-1], "little") if found else 0

    def raw(self, field: int) -> bytes:
        """All bytes of a field: those of repeated numbers of fixed size, packed or not, or of bytes given once."""
        return b"".join([each for each in self._fields.get(field, ()) if not isinstance(each, int)])

    def text(self, field: int) -> str:
        """A text; the last one counts, "" if there is none."""
        return next(iter(self.texts(field)[::-1]), "")

    def texts(self, field: int) -> list[str]:
        """Repeated texts."""
        return [_text(each) for each in self._all(field, bytes)]

    def message(self, field: int) -> Message:
        """A message, which may be given in parts; an empty one if there is none."""
        first, *others = self.messages(field) or [Message(b"")]
        for other in others:
            for number, values in other._fields.items():
                first._fields.setdefault(number, []).extend(values)
        return first

    def messages(self, field: int) -> list[Message]:
        """Repeated messages."""
        return [Message(each) for each in self._all(field, bytes)]

    def _all(self, field: int, kind: type[_Kind]) -> list[_Kind]:
        return [each for each in self._fields.get(field, ()) if type(each) is kind]


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CorruptBytes("a text that is not UTF-8") from error
