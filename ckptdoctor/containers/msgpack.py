"""msgpack documents with flax's extensions, read without making anything: large arrays stay where they are.

Formats: github.com/msgpack/msgpack/blob/master/spec.md; flax.serialization (`_MsgpackExtType`: 1 ndarray, 2 complex,
3 numpy scalar; an array above 1 GB is a map of its chunks).
"""

import re
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import prod
from typing import NamedTuple

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.containers.tensors.shapes import is_possible
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import FileRange, Inline, Piece, Pieces

MAX_DEPTH = 128
MAX_OBJECTS = 5_000_000
MAX_TEXT = 1 << 20
_SMALL = 64
"""Bytes of an array that is kept, not located: a scalar."""
_NDARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_CHUNKED = "__msgpack_chunked_array__"
_TYPE = re.compile(r"[\w<>=|\[\]]{1,40}\Z", re.ASCII)
"""The name of a type, which reports show: those that are not read as well."""
_FRONT = 96
"""Bytes in which what stands before an array's bytes usually fits."""
_EXTENT = re.compile(rb"[\x00-\x7f]|\xcc.|\xcd..|\xce....", re.DOTALL)
_ARRAY = (
    rb"\x93([\x90-\x9f])((?:[\x00-\x7f]|\xcc.|\xcd..|\xce....){0,15})"
    rb"([\xa1-\xbf])([\w<>=|\[\]]{1,31})(\xc4.|\xc5..|\xc6....)"
)
_USUAL = re.compile(_ARRAY, re.DOTALL)
"""The front of an array as flax writes it: shape, type and number of bytes, in one step instead of ten."""
_EXTENSION = rb"(\xc7.|\xc8..|\xc9....)\x01" + _ARRAY
_EXTENDED = re.compile(_EXTENSION, re.DOTALL)
_ENTRY = re.compile(rb"([\xa1-\xbf])([\x20-\x7e]{1,31})(?:(" + _EXTENSION + rb")|([\x81-\x8f]))", re.DOTALL)
"""The same of an entry of a map, whose key is plain and whose value is an array, or where a small map begins."""


class Array(NamedTuple):
    """An array that has not been read; chunks of a large one are `Pieces` of its flat elements."""

    dtype: str
    shape: tuple[int, ...]
    location: FileRange | Inline | Pieces | None


class Opaque(NamedTuple):
    """An extension that is not known, or bytes that are too many to be a name."""

    kind: int
    nbytes: int


def read(cursor: Cursor) -> object:
    """Reads one document, which must fill the cursor's window.

    Returns:
        What it holds: dictionaries with text keys, lists, numbers, texts, `Array`, `Opaque`.

    Raises:
        UnreadableArtifact: It is not msgpack, or ends early or late.
        LimitExceeded: It is nested deeper, or holds more objects, than a checkpoint does.
    """
    reading = _Reading(cursor)
    value = reading.value(0)
    if cursor.left:
        raise reading.wrong(f"{cursor.left:,} bytes follow its end")
    return value


class Entry(NamedTuple):
    """An entry of a map: its key, and where in the file key and value begin and the value ends."""

    name: str
    key: int
    value: int
    end: int


def positions(cursor: Cursor, start: int) -> list[Entry]:
    """Where the entries of a map are.

    Args:
        cursor: The map, which must fill its window.
        start: Where the window begins in the file.

    Raises:
        UnreadableArtifact: It is not msgpack, or no map.
        LimitExceeded: It is larger than a checkpoint's.
    """
    reading = _Reading(cursor)
    (tag,) = cursor.take(1, "a map")
    if 0x80 <= tag < 0x90:
        count = tag & 0x0F
    elif tag in _SIZED and _SIZED[tag][1] == "map":
        count = int.from_bytes(cursor.take(_SIZED[tag][0], "a length"), "big")
    else:
        raise reading.wrong("a map was expected")
    if 2 * count > cursor.left:
        raise reading.wrong(f"it claims {count:,} elements and has {cursor.left:,} bytes left")
    found: list[Entry] = []
    for _ in range(count):
        key = cursor.position
        name = reading.value(0)
        value = cursor.position
        reading.value(0)
        found.append(Entry(str(name), start + key, start + value, start + cursor.position))
    if cursor.left:
        raise reading.wrong(f"{cursor.left:,} bytes follow its end")
    return found


class _Reading:
    """A document while it is read."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._objects = 0

    def wrong(self, why: str) -> UnreadableArtifact:
        place = f"byte {self._cursor.position:,}"
        return UnreadableArtifact(f"is no msgpack document: {why}", self._cursor.path, place=place)

    def value(self, depth: int) -> object:
        self._objects += 1
        if depth > MAX_DEPTH:
            raise LimitExceeded(f"is msgpack nested more than {MAX_DEPTH} deep", self._cursor.path)
        if self._objects > MAX_OBJECTS:
            raise LimitExceeded(f"is msgpack of more than {MAX_OBJECTS:,} objects", self._cursor.path)
        (tag,) = self._cursor.take(1, "a msgpack object")
        if tag < 0x80:
            return tag
        if tag >= 0xE0:
            return tag - 0x100
        if tag < 0x90:
            return self.map_(tag & 0x0F, depth)
        if tag < 0xA0:
            return self.list_(tag & 0x0F, depth)
        if tag < 0xC0:
            return self.text_(tag & 0x1F)
        if tag in _CONSTANTS:
            return _CONSTANTS[tag]
        if tag in _NUMBERS:
            code = _NUMBERS[tag]
            return struct.unpack(f">{code}", self._cursor.take(struct.calcsize(code), "a number"))[0]
        if tag in _FIXED_EXTENSIONS:
            return self.extension_(_FIXED_EXTENSIONS[tag], depth)
        if tag in _SIZED:
            width, kind = _SIZED[tag]
            size = int.from_bytes(self._cursor.take(width, "a length"), "big")
            return _READERS[kind](self, size, depth)
        raise self.wrong(f"no object begins with {tag:#x}")

    def text_(self, size: int, _depth: int = 0) -> str:
        if size > MAX_TEXT:
            raise LimitExceeded(f"has a text of {size:,} bytes; {MAX_TEXT:,} are read", self._cursor.path)
        data = self._cursor.take(size, "a text")
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.wrong("a text is not UTF-8") from error

    def bytes_(self, size: int, _depth: int) -> object:
        if size > _SMALL:
            self._cursor.skip(size, "bytes")
            return Opaque(-1, size)
        return self._cursor.take(size, "bytes")

    def _need(self, count: int, each: int) -> None:
        if count * each > self._cursor.left:
            raise self.wrong(f"it claims {count:,} elements and has {self._cursor.left:,} bytes left")

    def list_(self, count: int, depth: int) -> object:
        self._need(count, 1)
        return [self.value(depth + 1) for _ in range(count)]

    def map_(self, count: int, depth: int) -> object:
        self._need(count, 2)
        found: dict[str, object] = {}
        for _ in range(count):
            entry = self._entry(depth + 1) if depth < MAX_DEPTH else None
            key = self.value(depth + 1) if entry is None else entry[0]
            if isinstance(key, int) and not isinstance(key, bool):
                key = str(key)
            if not isinstance(key, str):
                raise self.wrong("a key of a map is neither text nor a number")
            if key in found:
                raise self.wrong(f"the key {key[:80]!r} is there twice")
            found[key] = self.value(depth + 1) if entry is None else entry[1]
        return self._joined(found) if _CHUNKED in found else found

    def _entry(self, depth: int) -> tuple[str, object] | None:
        """A key and an array, or a map, in one step; None where something else stands there: nothing is taken then."""
        buffer, at = self._cursor.buffered(_FRONT)
        found = _ENTRY.match(buffer, at)
        if found is None:
            return None
        text, key, front = found.group(1, 2, 3)
        if len(key) != text[0] & 0x1F or self._objects >= MAX_OBJECTS - 2:
            return None
        length = found.end() - at
        if front is None:
            self._objects += 2
            self._cursor.position += length
            return key.decode("ascii"), self.map_(buffer[found.end() - 1] & 0x0F, depth)
        described = _described(front)
        if described is None or described[2] > self._cursor.left - length:
            return None
        self._objects += 2
        self._cursor.position += length
        return key.decode("ascii"), self._placed(*described)

    def extension_(self, size: int, depth: int) -> object:
        (kind,) = self._cursor.take(1, "an extension")
        end = self._cursor.position + size
        if size > self._cursor.left:
            raise self.wrong(f"an extension claims {size:,} bytes")
        if kind not in {_NDARRAY, _SCALAR, _COMPLEX}:
            self._cursor.skip(size, "an extension")
            return Opaque(kind, size)
        value = self._complex(depth) if kind == _COMPLEX else self._array()
        if self._cursor.position != end:
            raise self.wrong("an extension is not as long as it says")
        return value

    def _complex(self, depth: int) -> object:
        parts = self.value(depth + 1)
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(each, (int, float)) for each in parts):
            raise self.wrong("a complex number does not consist of two")
        return Array("complex128", (), Inline(struct.pack("<2d", *parts)))

    def _array(self) -> Array:
        """A list of shape, name of the type, and bytes; the bytes are located, not read."""
        found = _USUAL.match(self._cursor.ahead(_FRONT))
        if found is not None:
            extents = _extents(found[2])
            if len(extents) == found[1][0] & 0x0F and len(found[4]) == found[3][0] & 0x1F:
                self._cursor.position += found.end()
                return self._located(extents, found[4].decode("ascii"), int.from_bytes(found[5][1:], "big"))
        (tag,) = self._cursor.take(1, "an array")
        if tag != 0x93:
            raise self.wrong("an array does not consist of shape, type and bytes")
        shape, dtype = self.value(MAX_DEPTH - 1), self.value(MAX_DEPTH)
        if isinstance(dtype, bytes):
            dtype = dtype.decode("latin-1")
        extents = tuple(each for each in shape if isinstance(each, int)) if isinstance(shape, list) else ()
        if not isinstance(shape, list) or len(extents) != len(shape):
            raise self.wrong("an array's shape is impossible")
        if not isinstance(dtype, str) or not _TYPE.match(dtype):
            raise self.wrong("an array's type has no name")
        (tag,) = self._cursor.take(1, "an array")
        width = _SIZED[tag][0] if tag in {0xC4, 0xC5, 0xC6} else 0
        if not width:
            raise self.wrong("an array's bytes are none")
        return self._located(extents, dtype, int.from_bytes(self._cursor.take(width, "a length"), "big"))

    def _located(self, extents: tuple[int, ...], dtype: str, size: int) -> Array:
        if not is_possible(extents):
            raise self.wrong("an array's shape is impossible")
        name = "bool" if dtype == "bool_" else dtype
        if name in ITEMSIZE and prod(extents) * ITEMSIZE[name] != size:
            raise self.wrong(f"an array of the shape {list(extents)} and type {name} has {size:,} bytes")
        return self._placed(name, extents, size)

    def _placed(self, name: str, extents: tuple[int, ...], size: int) -> Array:
        """An array whose bytes come next."""
        if size <= _SMALL or not self._cursor.in_file:
            place: FileRange | Inline | None = Inline(self._cursor.take(size, "an array"))
        else:
            place = FileRange(self._cursor.path, self._cursor.skip(size, "an array"), size)
        return Array(name, extents, place if name in ITEMSIZE else None)

    def _joined(self, fields: Mapping[str, object]) -> Array:
        """An array that was cut into chunks of its flat elements."""
        shape, chunks = _numbered(fields.get("shape")), _numbered(fields.get("chunks"))
        extents = [each for each in shape if isinstance(each, int) and not isinstance(each, bool)]
        parts = [each for each in chunks if isinstance(each, Array)]
        sizes = [prod(each.shape) for each in parts]
        if len(extents) != len(shape) or len(parts) != len(chunks) or not parts or not is_possible(tuple(extents)):
            raise self.wrong("an array in chunks lacks its shape or its chunks")
        if sum(sizes) != prod(extents) or {each.dtype for each in parts} != {parts[0].dtype}:
            raise self.wrong("the chunks of an array do not come to the array")
        places: list[Piece] = []
        start = 0
        for each, size in zip(parts, sizes, strict=True):
            if not isinstance(each.location, (FileRange, Inline)):
                return Array(parts[0].dtype, tuple(extents), None)
            places.append(Piece((start,), (size,), each.location))
            start += size
        return Array(parts[0].dtype, tuple(extents), Pieces(tuple(places)))


@lru_cache(4096)
def _extents(packed: bytes) -> tuple[int, ...]:
    return tuple(int.from_bytes(each[1:] or each, "big") for each in _EXTENT.findall(packed))


@lru_cache(4096)
def _described(front: bytes) -> tuple[str, tuple[int, ...], int] | None:
    """Type, shape and bytes of an array, of which all of a shape have the same front; None where it is not in order."""
    found = _EXTENDED.fullmatch(front)
    if found is None:
        return None
    length, rank, packed, kind, dtype, nbytes = found.groups()
    extents, size = _extents(packed), int.from_bytes(nbytes[1:], "big")
    name = "bool" if dtype == b"bool_" else dtype.decode("ascii")
    lengths = (rank[0] & 0x0F, kind[0] & 0x1F, int.from_bytes(length[1:], "big"))
    if lengths != (len(extents), len(dtype), len(front) - found.start(2) + 1 + size) or not is_possible(extents):
        return None
    return (name, extents, size) if name in ITEMSIZE and prod(extents) * ITEMSIZE[name] == size else None


def _numbered(value: object) -> list[object]:
    """The values of a map with the keys "0", "1", … in their order; none if that is not what it is."""
    if not isinstance(value, Mapping) or any(str(number) not in value for number in range(len(value))):
        return [None]
    return [value[str(number)] for number in range(len(value))]


_CONSTANTS: dict[int, object] = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: "f", 0xCB: "d", 0xCC: "B", 0xCD: "H", 0xCE: "I", 0xCF: "Q", 0xD0: "b", 0xD1: "h", 0xD2: "i", 0xD3: "q",
}  # fmt: skip
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_SIZED = {
    0xC4: (1, "bytes"), 0xC5: (2, "bytes"), 0xC6: (4, "bytes"), 0xC7: (1, "extension"), 0xC8: (2, "extension"),
    0xC9: (4, "extension"), 0xD9: (1, "text"), 0xDA: (2, "text"), 0xDB: (4, "text"), 0xDC: (2, "list"),
    0xDD: (4, "list"), 0xDE: (2, "map"), 0xDF: (4, "map"),
}  # fmt: skip
_READERS: dict[str, Callable[[_Reading, int, int], object]] = {
    "bytes": _Reading.bytes_,
    "extension": _Reading.extension_,
    "text": _Reading.text_,
    "list": _Reading.list_,
    "map": _Reading.map_,
}
