"""OCDBT databases, written byte by byte from the published format: for what no tensorstore would write."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import zstandard

MANIFEST, NODE = 0x0CDB3A2A, 0x0CDB20DE
DATA = "d/0"


class At(NamedTuple):
    """A value in a data file."""

    file: str
    offset: int
    nbytes: int


def number(value: int) -> bytes:
    """A varint."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def numbers(*values: int) -> bytes:
    """Varints, one after another."""
    return b"".join(map(number, values))


def frame(magic: int, body: bytes, *, packed: bool = True, length: int | None = None, crc: int | None = None) -> bytes:
    """A manifest or node: length, version 0, compression, body, checksum."""
    inside = numbers(0, int(packed)) + (zstandard.ZstdCompressor(level=1).compress(body) if packed else body)
    total = 12 + len(inside) + 4 if length is None else length
    data = struct.pack(">I", magic) + struct.pack("<Q", total) + inside
    return data + struct.pack("<I", google_crc32c.value(data) if crc is None else crc)


def files(*names: str, base: int = 0) -> bytes:
    """A table of data files."""
    texts = [name.encode() for name in names]
    common = [0] * max(len(texts) - 1, 0)
    return numbers(len(texts), *common, *map(len, texts), *[base] * len(texts)) + b"".join(texts)


def leaf(values: Mapping[str, bytes | At], *, more: Sequence[str] = ()) -> bytes:
    """A leaf's body."""
    places = [each for each in values.values() if isinstance(each, At)]
    names = list(dict.fromkeys([*(each.file for each in places), *more]))
    keys = [key.encode() for key in values]
    sizes = [each.nbytes if isinstance(each, At) else len(each) for each in values.values()]
    kinds = [int(isinstance(each, At)) for each in values.values()]
    return (
        bytes([0])
        + files(*names)
        + numbers(len(keys), *[0] * max(len(keys) - 1, 0), *map(len, keys))
        + b"".join(keys)
        + numbers(*sizes, *kinds, *(names.index(each.file) for each in places), *(each.offset for each in places))
        + b"".join(each for each in values.values() if isinstance(each, bytes))
    )


def branch(children: Mapping[str, At], *, height: int = 1, shared: int = 0) -> bytes:
    """The body of a node above others; `shared` is how much of its key each child's keys have in common."""
    names = list(dict.fromkeys(each.file for each in children.values()))
    keys = [key.encode() for key in children]
    places = list(children.values())
    return (
        bytes([height])
        + files(*names)
        + numbers(len(keys), *[0] * max(len(keys) - 1, 0), *map(len, keys), *[shared] * len(keys))
        + b"".join(keys)
        + numbers(*(names.index(each.file) for each in places), *(each.offset for each in places))
        + numbers(*(each.nbytes for each in places), *[0] * 3 * len(places))
    )


def manifest(root: At, *, height: int = 0, kind: int = 0) -> bytes:
    """A manifest's body, of one version."""
    settings = bytes(16) + numbers(kind, 1024, 8 << 20) + bytes([4]) + number(1) + struct.pack("<i", 1)
    places = numbers(0, root.offset, root.nbytes, 0, 0, 0)
    return settings + files(root.file) + numbers(1, 1) + bytes([height]) + places + struct.pack("<Q", 0) + numbers(0)


def write(folder: Path, nodes: Sequence[bytes], *, height: int = 0, root: At | None = None) -> Path:
    """A database of framed nodes in one data file, of which the first is the root."""
    (folder / "d").mkdir(parents=True, exist_ok=True)
    (folder / DATA).write_bytes(b"".join(nodes))
    root = root or At(DATA, 0, len(nodes[0]))
    (folder / "manifest.ocdbt").write_bytes(frame(MANIFEST, manifest(root, height=height)))
    return folder


def database(folder: Path, values: Mapping[str, bytes | At]) -> Path:
    """A database of one leaf."""
    return write(folder, [frame(NODE, leaf(values))])
