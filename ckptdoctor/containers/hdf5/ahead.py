"""HDF5 at a URL: what the library will read one by one is found level by level, and fetched together.

The library asks for a header, waits, and asks for the next: hundreds of round trips for a model. The groups' own
structure (version 1 B-trees, symbol nodes, object headers: HDF5 File Format Specification 3.0, III.A-B, IV.A)
tells where all headers are. Nothing is concluded from it: the library reads the same bytes afterwards, and what is not
understood here it fetches itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import islice

from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.storage import BLOCK
from ckptdoctor.storage.contract import Ranges

_MOST_PLACES = 20_000
_MOST_ROUNDS = 64
_UNDEFINED = (1 << 64) - 1
_HEADER = 512
"""Bytes of an object header that is one of ours; larger ones are read on."""
_LONGEST = 1 << 17
"""Bytes of a header's continuation: attributes of 64 kB lie in it."""
_TREE, _NODE, _HEAP = b"TREE", b"SNOD", b"HEAP"
_TREE_BYTES, _HEAP_BYTES, _ENTRY = 24, 32, 40
_SYMBOL_TABLE, _CONTINUATION = 0x11, 0x10
_MOST_CHILDREN = 4096


def fetch_structure(ranges: Ranges, start: int = 0) -> None:
    """Fetches the headers of a file's groups and data sets.

    Args:
        ranges: The file.
        start: Where in it HDF5 begins: a member of an archive.
    """
    walk = _Walk(ranges, start)
    try:
        walk.run()
    except (struct.error, IndexError, UnreadableArtifact, OSError, _Strange):
        return  # the library says what is wrong


class _Strange(Exception):
    """A structure that is not known here."""


class _Walk:
    def __init__(self, ranges: Ranges, start: int) -> None:
        self._ranges = ranges
        self._start = start
        self._seen: set[int] = set()

    def run(self) -> None:
        """Goes down from the root, a level a round."""
        head = self._read(0, 96)
        if head[:8] != b"\x89HDF\r\n\x1a\n" or head[8] != 0 or (head[13], head[14]) != (8, 8):
            raise _Strange
        (root,) = struct.unpack_from("<Q", head, 64)
        level = [root]
        for _ in range(_MOST_ROUNDS):
            level = [each for each in dict.fromkeys(level) if each not in self._seen and each != _UNDEFINED]
            self._seen.update(level)
            if not level or len(self._seen) > _MOST_PLACES:
                return
            level = self._below(level)

    def _below(self, headers: list[int]) -> list[int]:
        """The object headers in the groups among these."""
        self._expect((each, _HEADER) for each in headers)
        found = [each for at in headers for each in _messages(self._read(at, _HEADER))]
        more = [(at, min(size, _LONGEST)) for kind, at, size in found if kind == _CONTINUATION]
        self._expect(more)
        found += [each for at, size in more for each in _in_block(self._read(at, size))]
        tables = [(tree, heap) for kind, tree, heap in found if kind == _SYMBOL_TABLE]
        trees, heaps = [tree for tree, _ in tables], [heap for _, heap in tables]
        self._expect([*((each, BLOCK // 8) for each in trees), *((each, _HEAP_BYTES) for each in heaps)])
        nodes = self._nodes(trees)
        names = [(at, min(size, BLOCK)) for size, at in map(self._heap, heaps)]
        self._expect([*((each, _HEADER) for each in nodes), *names])
        return list(islice((child for each in nodes for child in self._children(each)), _MOST_PLACES))

    def _nodes(self, trees: list[int]) -> list[int]:
        """The symbol nodes of B-trees, through their inner nodes."""
        found: list[int] = []
        for _ in range(_MOST_ROUNDS):
            inner: list[int] = []
            for at in trees:
                head = self._read(at, _TREE_BYTES)
                if head[:4] != _TREE or head[4] != 0:
                    raise _Strange
                level, count = head[5], min(struct.unpack_from("<H", head, 6)[0], _MOST_CHILDREN)
                body = self._read(at + _TREE_BYTES, 16 * count + 8)
                children = [struct.unpack_from("<Q", body, 16 * number + 8)[0] for number in range(count)]
                (inner if level else found).extend(children)
            if not inner or len(found) + len(inner) > _MOST_PLACES:
                return found
            self._expect((each, BLOCK // 8) for each in inner)
            trees = inner
        return found

    def _heap(self, at: int) -> tuple[int, int]:
        """Bytes of a local heap's names, and where they are."""
        head = self._read(at, _HEAP_BYTES)
        if head[:4] != _HEAP:
            raise _Strange
        size, _, place = struct.unpack_from("<3Q", head, 8)
        return size, place

    def _children(self, at: int) -> list[int]:
        head = self._read(at, 8)
        if head[:4] != _NODE:
            raise _Strange
        count = min(struct.unpack_from("<H", head, 6)[0], _MOST_CHILDREN)
        body = self._read(at + 8, _ENTRY * count)
        return [struct.unpack_from("<Q", body, _ENTRY * number + 8)[0] for number in range(count)]

    def _read(self, at: int, count: int) -> bytes:
        place = self._start + at
        return self._ranges.read(place, max(0, min(count, self._ranges.size - place)))

    def _expect(self, places: Iterable[tuple[int, int]]) -> None:
        self._ranges.expect([(self._start + at, count) for at, count in places if at != _UNDEFINED])


def _messages(header: bytes) -> list[tuple[int, int, int]]:
    """The messages of an object header that lead on: (kind, first number, second number)."""
    if len(header) < 16 or header[0] != 1:
        return []
    return _in_block(header[16 : 16 + struct.unpack_from("<I", header, 8)[0]])


def _in_block(data: bytes) -> list[tuple[int, int, int]]:
    found: list[tuple[int, int, int]] = []
    at = 0
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<HH", data, at)
        if kind in {_SYMBOL_TABLE, _CONTINUATION} and at + 24 <= len(data):
            found.append((kind, *struct.unpack_from("<QQ", data, at + 8)))
        at += 8 + length
    return found
