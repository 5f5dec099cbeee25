"""Manifests and nodes of OCDBT databases: framed bytes, taken apart and checked.

Format: google.github.io/tensorstore/kvstore/ocdbt, "Storage format". Everything is a frame: magic number, length,
version, compression, body, CRC-32C. Numbers are varints, arrays of them stand column by column.
"""

import struct
from typing import NamedTuple

from ckptdoctor.containers.bytes.unpacking import unpacked
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact

MANIFEST, NODE = 0x0CDB3A2A, 0x0CDB20DE
MAX_NODE = 64 << 20
"""Bytes of a node, unpacked; tensorstore makes them of 8 MB, and of 100 MB at most."""
MAX_MANIFEST = 16 << 20
NUMBERED = 1
"""The kind of a manifest that only names the database's settings; the versions are in files of their own."""
_NOWHERE = (1 << 64) - 1
_MOST_SHIFT = 63
_HEADER, _SUM = 12, 4


class Place(NamedTuple):
    """A range of a data file.

    Attributes:
        path: The file, relative to the database's directory.
        base: The part of `path` that the paths in a node there continue.
        offset: First byte.
        nbytes: Number of bytes.
    """

    path: bytes
    base: bytes
    offset: int
    nbytes: int


class Root(NamedTuple):
    """The root of the newest version's tree, and how many nodes lie on the way down from it to a leaf."""

    place: Place
    height: int


class Child(NamedTuple):
    """A node below another one: what its keys have in common, and where it is."""

    prefix: bytes
    place: Place


class Node(NamedTuple):
    """A node of the tree: those below it, or the values."""

    height: int
    children: tuple[Child, ...] = ()
    values: tuple[tuple[bytes, Place | bytes], ...] = ()


class _Fields:
    """The fields of a frame's body, one after another."""

    def __init__(self, body: bytes, path: str, what: str) -> None:
        self._body, self._at, self._path, self._what = body, 0, path, what

    def wrong(self, why: str) -> UnreadableArtifact:
        return UnreadableArtifact(f"{self._what} {why}: it is corrupt", self._path)

    def take(self, count: int) -> bytes:
        if count > len(self._body) - self._at:
            raise self.wrong("ends early")
        self._at += count
        return self._body[self._at - count : self._at]

    def number(self) -> int:
        value = shift = 0
        while True:
            if self._at == len(self._body):
                raise self.wrong("ends early")
            byte = self._body[self._at]
            self._at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > _NOWHERE:
                    raise self.wrong("has a number of more than 64 bits")
                return value
            shift += 7
            if shift > _MOST_SHIFT:
                raise self.wrong("has a number of more than 64 bits")

    def count(self) -> int:
        """How many there are of something of which each takes a byte at least."""
        count = self.number()
        if count > len(self._body) - self._at:
            raise self.wrong(f"claims {count:,} entries")
        return count

    def numbers(self, count: int) -> list[int]:
        plain = self._body[self._at : self._at + count]
        if len(plain) == count and plain.isascii():  # each is below 128, and a byte: most columns are
            self._at += count
            return list(plain)
        return [self.number() for _ in range(count)]

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def rest(self) -> bytes:
        return self.take(self.left)


def manifest(data: bytes, path: str, what: str) -> tuple[int, Root | None]:
    """The kind of a manifest, and the root of its newest version; None where it has none."""
    fields = _framed(data, MANIFEST, MAX_MANIFEST, path, what)
    fields.take(16)  # the database's identity
    kind, _inline, _most = fields.numbers(3)
    fields.take(1)  # versions in a node of older versions
    if fields.number() == 1:
        fields.take(4)  # zstd's level
    if kind == NUMBERED and not fields.left:
        return kind, None
    files = _files(fields, b"")
    count = fields.count()
    fields.numbers(count)  # generations
    heights = fields.take(count)
    places = _places(fields, files, count, empty=True)
    if not count or places[-1] is None:
        return kind, None
    return kind, Root(places[-1], heights[-1])


def check_node(data: bytes, path: str, what: str) -> None:
    """Raises UnreadableArtifact if the frame of a node is not whole."""
    _framed(data, NODE, MAX_NODE, path, what)


def node(data: bytes, base: bytes, path: str, what: str) -> Node:
    """A node of the tree.

    Args:
        data: Its bytes.
        base: What the paths in it continue.
        path: The database, for errors.
        what: Names it in errors.
    """
    fields = _framed(data, NODE, MAX_NODE, path, what)
    height = fields.take(1)[0]
    files = _files(fields, base)
    count = fields.count()
    common, lengths = fields.numbers(max(count - 1, 0)), fields.numbers(count)
    shared = fields.numbers(count) if height else []
    keys = _continued(fields, [0, *common], lengths)
    if height:
        if any(length > len(key) for length, key in zip(shared, keys, strict=True)):
            raise fields.wrong("has a key that is shorter than its children's")
        places = _places(fields, files, count)
        below = zip(keys, shared, places, strict=True)
        return Node(height, tuple(Child(key[:length], place) for key, length, place in below if place is not None))
    sizes, kinds = fields.numbers(count), fields.numbers(count)
    if any(kind > 1 for kind in kinds):
        raise fields.wrong("has values of an unknown kind")
    elsewhere = [size for size, kind in zip(sizes, kinds, strict=True) if kind]
    numbers, offsets = fields.numbers(len(elsewhere)), fields.numbers(len(elsewhere))
    found = iter([_place(fields, files, *each) for each in zip(numbers, offsets, elsewhere, strict=True)])
    values = tuple(
        (key, next(found) if kind else fields.take(size)) for key, size, kind in zip(keys, sizes, kinds, strict=True)
    )
    return Node(0, (), values)


def _framed(data: bytes, magic: int, limit: int, path: str, what: str) -> _Fields:
    """The body of a frame, its length and checksum verified."""
    import google_crc32c

    if len(data) < _HEADER + _SUM + 2 or struct.unpack(">I", data[:4])[0] != magic:
        raise UnreadableArtifact(f"{what} is none: it does not begin as one", path)
    (length,) = struct.unpack("<Q", data[4:_HEADER])
    if length != len(data):
        raise UnreadableArtifact(f"{what} should be {length:,} bytes and is {len(data):,}: it is corrupt", path)
    if struct.unpack("<I", data[-_SUM:])[0] != google_crc32c.value(data[:-_SUM]):
        raise UnreadableArtifact(f"the checksum of {what} does not match: it is corrupt", path, code="I004")
    head = _Fields(data[_HEADER:-_SUM], path, what)
    if head.number() != 0:
        raise UnreadableArtifact(f"{what} is of a newer version of the format than is known", path)
    compression = head.number()
    if compression > 1:
        raise head.wrong("is compressed in an unknown way")
    body = head.rest()
    if compression:
        body = unpacked("zstd", body, limit, path, what)
    elif len(body) > limit:
        raise LimitExceeded(f"{what} is larger than the {limit:,} bytes that are read", path)
    return _Fields(body, path, what)


_File = tuple[bytes, bytes]
"""A data file's path and its base."""


def _files(fields: _Fields, base: bytes) -> list[_File]:
    """The data files that a node refers to."""
    count = fields.count()
    common, lengths = fields.numbers(max(count - 1, 0)), fields.numbers(count)
    bases = fields.numbers(count)
    paths = _continued(fields, [0, *common], lengths)
    return [(base + path, base + path[:length]) for path, length in zip(paths, bases, strict=True)]


def _continued(fields: _Fields, common: list[int], lengths: list[int]) -> list[bytes]:
    """Texts of which each has a beginning in common with the one before it."""
    found: list[bytes] = []
    before, total = b"", 0
    for shared, length in zip(common, lengths, strict=False):
        if shared > len(before):
            raise fields.wrong("has a key that shares more than the one before it has")
        before = before[:shared] + fields.take(length)
        total += len(before)
        if total > MAX_NODE:
            raise LimitExceeded(f"a node's keys come to more than {MAX_NODE:,} bytes: it is corrupt or hostile")
        found.append(before)
    return found


def _places(fields: _Fields, files: list[_File], count: int, *, empty: bool = False) -> list[Place | None]:
    """Where nodes are, and the figures about each subtree, which nobody needs."""
    numbers, offsets, lengths = fields.numbers(count), fields.numbers(count), fields.numbers(count)
    fields.numbers(3 * count)  # keys, bytes of the tree, bytes of the values
    found = zip(numbers, offsets, lengths, strict=True)
    return [None if empty and (not each[2] or each[0] == _NOWHERE) else _place(fields, files, *each) for each in found]


def _place(fields: _Fields, files: list[_File], number: int, offset: int, nbytes: int) -> Place:
    if number >= len(files):
        raise fields.wrong("refers to a data file that it does not list")
    return Place(*files[number], offset, nbytes)
