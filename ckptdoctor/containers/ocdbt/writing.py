"""Writing OCDBT databases: nodes into a data file, and the manifest that names the root of their tree.

Format: google.github.io/tensorstore/kvstore/ocdbt, "Storage format"; what `nodes` reads. The settings are those that
Orbax gives its databases.
"""

import os
import secrets
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ckptdoctor.containers.bytes.copying import create
from ckptdoctor.containers.ocdbt.database import MANIFEST_NAME
from ckptdoctor.containers.ocdbt.nodes import MANIFEST, NODE
from ckptdoctor.containers.tables.wire import encode_varint

MAX_INLINE = 1024
"""Bytes of a value that stands in a leaf; Orbax' setting."""
_MOST_DECODED = 100_000_000
_ARITY, _ZSTD = 4, 1
_LEAF = 1 << 20
"""Bytes of keys and inline values that make a leaf; tensorstore allows a hundred times as much."""
_MOST_CHILDREN = 1024


class Stored(NamedTuple):
    """A value in a data file.

    Attributes:
        file: The file, relative to the database's directory, with `/`.
        offset: First byte.
        nbytes: Number of bytes.
    """

    file: str
    offset: int
    nbytes: int


class DataFile:
    """A data file while it is written.

    Attributes:
        name: Its name, which Orbax makes of 32 random digits.
        nbytes: Bytes that are in it.
    """

    def __init__(self, folder: str) -> None:
        """Creates the file in the directory `d` of a database.

        Args:
            folder: The database's directory.
        """
        self.name = f"d/{secrets.token_hex(16)}"
        os.makedirs(os.path.join(folder, "d"), exist_ok=True)
        self._descriptor = create(os.path.join(folder, *self.name.split("/")))
        self.nbytes = 0

    def __enter__(self) -> "DataFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def append(self, pieces: Iterable[bytes]) -> Stored:
        """Puts a value behind those that are there."""
        start = self.nbytes
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(self._descriptor, view) :]
            self.nbytes += len(piece)
        return Stored(self.name, start, self.nbytes - start)


class Written(NamedTuple):
    """A node that is written: where it is, and what its parent says of it.

    Attributes:
        first: Its smallest key.
        place: Where it is.
        height: Nodes on the way down to a leaf.
        keys: Keys in it and below.
        tree: Bytes of it and of the nodes below.
        values: Bytes of values in data files.
    """

    first: bytes
    place: Stored
    height: int
    keys: int
    tree: int
    values: int


def write_database(
    folder: str, values: Iterable[tuple[str, bytes | Stored]], data: DataFile, *, leaf: int = _LEAF
) -> None:
    """Writes the tree of a database into a data file of it, and the manifest.

    Args:
        folder: The database's directory, which has no manifest yet.
        values: Every key with its value, or with where that is.
        data: The file that the nodes go into.
        leaf: Bytes that make a leaf.
    """
    entries = sorted((key.encode(), value) for key, value in values)
    row = [_leaf(part, data) for part in _parts(entries, leaf)]
    while len(row) > 1:
        row = [_interior(row[at : at + _MOST_CHILDREN], data) for at in range(0, len(row), _MOST_CHILDREN)]
    descriptor = create(os.path.join(folder, MANIFEST_NAME))
    with open(descriptor, "wb") as stream:
        stream.write(_manifest(row[0] if row else None))


def _parts(
    entries: Sequence[tuple[bytes, bytes | Stored]], most: int
) -> Iterator[Sequence[tuple[bytes, bytes | Stored]]]:
    start = size = 0
    for at, (key, value) in enumerate(entries):
        if size > most:
            yield entries[start:at]
            start, size = at, 0
        size += len(key) + (len(value) if isinstance(value, bytes) else 0)
    if entries:
        yield entries[start:]


# ---------------------------------------------------------------------------------------------------------- the bytes


def _numbers(values: Iterable[int]) -> bytes:
    return b"".join(map(encode_varint, values))


def _frame(magic: int, body: bytes) -> bytes:
    import google_crc32c
    import zstandard

    packed = zstandard.ZstdCompressor().compress(body)
    inner = encode_varint(0) + encode_varint(_ZSTD) + packed
    frame = struct.pack(">I", magic) + struct.pack("<Q", 12 + len(inner) + 4) + inner
    return frame + struct.pack("<I", google_crc32c.value(frame))


def _continued(texts: Sequence[bytes]) -> tuple[list[int], list[bytes]]:
    """Of sorted texts: how much each has in common with the one before it, and the rest of each."""
    common = [0] * len(texts)
    for at in range(1, len(texts)):
        pairs = zip(texts[at - 1], texts[at], strict=False)
        shorter = min(len(texts[at - 1]), len(texts[at]))
        common[at] = next((place for place, (one, other) in enumerate(pairs) if one != other), shorter)
    return common, [text[length:] for text, length in zip(texts, common, strict=True)]


def _files(places: Sequence[Stored]) -> tuple[bytes, dict[str, int]]:
    """The table of data files, and each file's number in it."""
    names = sorted({each.file for each in places})
    common, rest = _continued([name.encode() for name in names])
    table = (
        encode_varint(len(names)) + _numbers(common[1:]) + _numbers(map(len, rest)) + bytes(len(names)) + b"".join(rest)
    )
    return table, {name: number for number, name in enumerate(names)}


def _leaf(entries: Sequence[tuple[bytes, bytes | Stored]], data: DataFile) -> Written:
    common, rest = _continued([key for key, _ in entries])
    stored = [value for _, value in entries if isinstance(value, Stored)]
    inline = [value for _, value in entries if isinstance(value, bytes)]
    files, numbers = _files(stored)
    body = b"".join((
        b"\0", files, encode_varint(len(entries)), _numbers(common[1:]), _numbers(map(len, rest)), b"".join(rest),
        _numbers(value.nbytes if isinstance(value, Stored) else len(value) for _, value in entries),
        _numbers(int(isinstance(value, Stored)) for _, value in entries),
        _numbers(numbers[each.file] for each in stored), _numbers(each.offset for each in stored), *inline,
    ))  # fmt: skip
    place = data.append([_frame(NODE, body)])
    return Written(entries[0][0], place, 0, len(entries), place.nbytes, sum(each.nbytes for each in stored))


def _interior(children: Sequence[Written], data: DataFile) -> Written:
    common, rest = _continued([each.first for each in children])
    files, numbers = _files([each.place for each in children])
    height = children[0].height + 1
    body = b"".join((
        bytes([height]), files, encode_varint(len(children)), _numbers(common[1:]), _numbers(map(len, rest)),
        bytes(len(children)),  # keys below stand in full: nothing of them is left to the parent
        b"".join(rest), _numbers(numbers[each.place.file] for each in children), _figures(children),
    ))  # fmt: skip
    place = data.append([_frame(NODE, body)])
    below = sum(each.tree for each in children)
    keys, values = sum(each.keys for each in children), sum(each.values for each in children)
    return Written(children[0].first, place, height, keys, below + place.nbytes, values)


def _figures(nodes: Sequence[Written]) -> bytes:
    columns = ("offset", "nbytes")
    places = b"".join(_numbers(getattr(each.place, column) for each in nodes) for column in columns)
    return places + b"".join(_numbers(getattr(each, column) for each in nodes) for column in ("keys", "tree", "values"))


def _manifest(root: Written | None) -> bytes:
    settings = (
        secrets.token_bytes(16)
        + _numbers((0, MAX_INLINE, _MOST_DECODED))
        + bytes([_ARITY])
        + encode_varint(_ZSTD)
        + bytes(4)
    )
    if root is None:
        return _frame(MANIFEST, settings + _numbers((0, 0, 0)))
    files, _ = _files([root.place])
    version = _numbers((1, 1)) + bytes([root.height]) + encode_varint(0) + _figures([root])
    return _frame(MANIFEST, settings + files + version + struct.pack("<Q", time.time_ns()) + encode_varint(0))
