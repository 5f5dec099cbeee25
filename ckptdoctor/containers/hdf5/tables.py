"""The groups of an HDF5 file as its first version has them: names in a heap, sorted in tables, these in a B-tree.

HDF5 File Format Specification 3.0, III.A, III.B, III.D. Whatever keeps the library from finding a name is `Strange`.
"""

import struct
from itertools import pairwise
from typing import NamedTuple

from ckptdoctor.containers.hdf5.messages import UNDEFINED
from ckptdoctor.containers.hdf5.opening import Strange
from ckptdoctor.containers.hdf5.source import Source

MAX_NODES = 1_000_000
_MAX_DEPTH_OF_TREE = 32
_TREE_BYTES, _HEAP_BYTES, _ENTRY = 24, 32, 40
PAIR, _SYMBOL = struct.Struct("<QQ"), struct.Struct("<QQI")
LINKS = frozenset({0, 1})
"""What stands beside a name whose object lies in the file: nothing, or where a group's table is; 2 is a soft link."""
_ALL_TAKEN = 1
"""Of a heap without free blocks, where its first one is."""


class _Node(NamedTuple):
    """A node of a B-tree, or a symbol table.

    Attributes:
        at: Where it is.
        after: All names in it come after this one.
        last: And none after this one; None where there is no end.
    """

    at: int
    after: bytes
    last: "bytes | None"

    def holds(self, keys: list[bytes]) -> bool:
        """Whether keys, of which the first is a border itself, follow one another within it."""
        rising = all(one < other for one, other in pairwise(keys))
        return rising and keys[0] >= self.after and (self.last is None or keys[-1] <= self.last)


def _text(names: bytes, start: int) -> bytes:
    """What stands in a heap at a place."""
    end = names.find(b"\0", start)
    if end < start:
        raise Strange
    return names[start:end]


class SymbolTables:
    """Reads the groups of a file.

    Args:
        source: The file.
        in_table: Half of the names that a table has room for.
        in_node: Half of the children that a node of a B-tree has room for.
    """

    def __init__(self, source: Source, in_table: int, in_node: int) -> None:
        self._source = source
        self._table_bytes = 8 + 2 * in_table * _ENTRY
        self._node_bytes = _TREE_BYTES + 2 * in_node * 16 + 8

    def entries(self, tables: list[tuple[int, int]]) -> list[dict[str, int]]:
        """Of groups, by their B-trees and heaps: the addresses of what is in them, by name."""
        self._source.expect([*((at, self._node_bytes) for at, _ in tables), *((at, _HEAP_BYTES) for _, at in tables)])
        heaps = [self._heap(heap) for _, heap in tables]
        self._source.expect((place, size) for place, size, _ in heaps)
        names = [self._names(*heap) for heap in heaps]
        leaves = [self._leaves(tree, each) for (tree, _), each in zip(tables, names, strict=True)]
        self._source.expect((leaf.at, self._table_bytes) for each in leaves for leaf in each)
        return [self._symbols(each, texts) for each, texts in zip(leaves, names, strict=True)]

    def _leaves(self, root: int, names: bytes) -> list[_Node]:
        """The symbol tables of a B-tree, in order. A name is looked for by the tree's keys, so these have to be right.

        Args:
            root: The tree.
            names: What its keys lead to.
        """
        level = [_Node(root, b"", None)]
        for _ in range(_MAX_DEPTH_OF_TREE):
            below: list[_Node] = []
            depths: set[int] = set()
            places = [each.at for each in level]
            for node, *beside in zip(level, (UNDEFINED, *places[:-1]), (*places[1:], UNDEFINED), strict=True):
                data = self._source.part(node.at, self._node_bytes)
                kind, depth, count, *told = struct.unpack_from("<4xBBHQQ", data)
                if data[:4] != b"TREE" or kind or told != beside or (depth and not count):
                    raise Strange
                depths.add(depth)
                children = struct.unpack_from(f"<{2 * count + 1}Q", data, _TREE_BYTES)
                keys = [_text(names, each) for each in children[::2]]
                below += map(_Node, children[1::2], keys, keys[1:])
                if count and not node.holds(keys):
                    raise Strange
            if len(depths) != 1 or len(below) > MAX_NODES:
                raise Strange
            if depths == {0}:
                return below
            self._source.expect((each.at, self._node_bytes) for each in below)
            level = below
        raise Strange

    def _heap(self, at: int) -> tuple[int, int, int]:
        """Bytes of a local heap's names, where they are, and where in them the first free block is."""
        head = self._source.part(at, _HEAP_BYTES)
        if head[:8] != b"HEAP\0\0\0\0":
            raise Strange
        size, free, place = struct.unpack_from("<3Q", head, 8)
        return place, size, free

    def _names(self, place: int, size: int, free: int) -> bytes:
        """A heap's names, one after the other; its list of free blocks has to be whole."""
        names = self._source.part(place, size)
        for _ in range(size // 16 + 1):
            if free == _ALL_TAKEN:
                return names
            free, length = PAIR.unpack_from(names, free)
            if not 0 < length <= size:
                raise Strange
        raise Strange

    def _symbols(self, leaves: list[_Node], names: bytes) -> dict[str, int]:
        """The addresses of what symbol tables name."""
        found: dict[str, int] = {}
        for leaf in leaves:
            data = self._source.part(leaf.at, self._table_bytes)
            (count,) = struct.unpack_from("<H", data, 6)
            if data[:6] != b"SNOD\1\0":
                raise Strange
            here: list[bytes] = [leaf.after]
            for at in range(8, 8 + _ENTRY * count, _ENTRY):
                start, address, kind = _SYMBOL.unpack_from(data, at)
                name = _text(names, start)
                if kind not in LINKS or b"/" in name or name in {b"", b".", b".."}:
                    raise Strange
                here.append(name)
                found[name.decode("utf-8", "surrogateescape")] = address
            if not leaf.holds(here):
                raise Strange
        return found
