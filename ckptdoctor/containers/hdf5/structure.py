"""The structure of an HDF5 file, read without its library: groups, attributes, where each data set lies.

What h5py writes unless told otherwise has been the same since 2008: superblock 0, object headers of version 1, groups
as B-trees of symbol tables (HDF5 File Format Specification 3.0, II.A, III.A-E, IV.A). A file of thousands of data sets
is read several times faster than through the library, and nothing that stands in it can crash. All or nothing: whatever
is not just so is `Strange`, and the library reads the file.
"""

import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from ckptdoctor import storage
from ckptdoctor.containers.hdf5.messages import (
    ATTRIBUTE,
    CONTINUATION,
    DATASPACE,
    DATATYPE,
    LAYOUT,
    SYMBOL_TABLE,
    UNDEFINED,
    Attribute,
    ElementType,
    attribute,
    check,
    element_type,
    nbytes,
    place_of,
    shape_of,
)
from ckptdoctor.containers.hdf5.opening import Strange
from ckptdoctor.containers.hdf5.order import Members, join
from ckptdoctor.containers.hdf5.signature import HDF5
from ckptdoctor.containers.hdf5.source import Source
from ckptdoctor.containers.hdf5.tables import LINKS, MAX_NODES, PAIR, SymbolTables
from ckptdoctor.containers.hdf5.texts import VARIABLE, Heaps, heaps_of, objects
from ckptdoctor.errors import UnreadableArtifact

MAX_DEPTH = 256
_BEGINNING = HDF5 + b"\0\0\0\0\0\x08\x08\0"
"""All versions are 0; addresses and lengths take 8 bytes."""
_HEADER = 512
"""Bytes of an object header that is one of ours; larger ones are read on."""
_PREFIX = 16
_HEAP = 4096
"""Bytes of a heap of texts, if it has not grown."""
_MAX_BLOCKS = 1000


class Dataset(NamedTuple):
    """A data set whose bytes lie in one piece.

    Attributes:
        address: Where its header is.
        type: Of its elements.
        shape: Its shape.
        place: Its first byte, counted from where HDF5 begins.
        nbytes: Its bytes; none where `place` leads nowhere.
    """

    address: int
    type: ElementType
    shape: tuple[int, ...]
    place: int
    nbytes: int


class Group(NamedTuple):
    """A group.

    Attributes:
        address: Where its header is.
        attributes: By name.
        groups: Name → address of the header.
        datasets: By name.
    """

    address: int
    attributes: dict[str, Attribute]
    groups: dict[str, int]
    datasets: dict[str, Dataset]

    @property
    def members(self) -> Members:
        """Where what is in it lies."""
        groups = tuple((address, name) for name, address in self.groups.items())
        return Members(self.address, groups, tuple((each.address, name) for name, each in self.datasets.items()))


class _Header:
    """The messages of an object."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.blocks: list[tuple[int, int]] = []
        self.attributes: list[bytes] = []
        self.known: dict[int, bytes] = {}

    def take(self, data: bytes) -> None:
        """Reads the messages of a block."""
        at, end = 0, len(data)
        while at < end:
            kind, length, flags = _MESSAGE.unpack_from(data, at)
            at += 8 + length
            self.left -= 1
            if at > end or flags & ~5:  # cut off; or it stands elsewhere, or is to be asked for in another way
                raise Strange
            body = data[at - length : at]
            if kind == ATTRIBUTE:
                self.attributes.append(body)
            elif kind == CONTINUATION:
                self.blocks.append(PAIR.unpack_from(body))
            elif kind not in _TOLD:
                check(kind, body)
            elif kind in self.known:
                raise Strange
            else:
                self.known[kind] = body


_MESSAGE, _FRONT = struct.Struct("<HHB"), struct.Struct("<BxHII")
_TOLD = frozenset({DATASPACE, DATATYPE, LAYOUT, SYMBOL_TABLE})


def read_structure(source: Source) -> tuple[dict[str, Group], Heaps]:
    """Every group of a file by its path, parents first, and the heaps that its attributes' texts lie in.

    Raises:
        Strange: The file is not one of those that are known here, or is damaged.
    """
    try:
        return _Walk(source).run()
    except (struct.error, LookupError, ValueError, OverflowError, MemoryError) as error:
        raise Strange from error


def fetch_structure(path: str, start: int, size: int) -> None:
    """Fetches what the library will read one by one of a file at a URL; nothing is concluded from it."""
    with storage.open_stream(path) as stream, suppress(Strange, UnreadableArtifact, OSError):
        read_structure(Source(path, stream, start, size))


class _Walk:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._found: dict[str, Group] = {}
        self._heaps: Heaps = {}
        self._seen: set[int] = set()
        self._nodes = 0

    def run(self) -> tuple[dict[str, Group], Heaps]:
        """Goes down from the root, a level a round."""
        head = self._source.front(0, 96)
        in_table, in_node, status = struct.unpack_from("<HHI", head, 16)
        base, free, end, driver, _, root, kind = struct.unpack_from("<6QI", head, 24)
        if head[:16] != _BEGINNING or status or base or (free, driver) != (UNDEFINED, UNDEFINED) or kind not in LINKS:
            raise Strange
        if end > self._source.size:
            raise Strange
        self._source.size = end
        self._tables = SymbolTables(self._source, in_table, in_node)
        (header,) = self._headers([root])
        if kind and header.known[SYMBOL_TABLE][:16] != head[80:96]:
            raise Strange
        level = [("", root, header)]
        for _ in range(MAX_DEPTH):
            level = self._below(level)
            if not level:
                return self._found, self._heaps
        raise Strange

    def _below(self, level: list[tuple[str, int, _Header]]) -> list[tuple[str, int, _Header]]:
        """Reads groups by path, address and header; those that lie in them."""
        tables = [PAIR.unpack_from(header.known[SYMBOL_TABLE]) for _, _, header in level]
        entries = self._tables.entries(tables)
        headers = iter(self._headers([address for each in entries for address in each.values()]))
        below: list[tuple[str, int, _Header]] = []
        attributes: list[Attribute] = []
        for (path, address, header), names in zip(level, entries, strict=True):
            if address in self._seen:  # two links lead to it
                raise Strange
            self._seen.add(address)
            group = self._found[path] = Group(address, dict(map(attribute, header.attributes)), {}, {})
            attributes += group.attributes.values()
            for name, at in names.items():
                found = next(headers)
                if found.known.keys() == {SYMBOL_TABLE}:
                    group.groups[name] = at
                    below.append((join(path, name), at, found))
                else:
                    group.datasets[name] = _dataset(at, found)
        self._fetch_texts(attributes)
        return below

    def _fetch_texts(self, attributes: Iterable[Attribute]) -> None:
        """Reads the heaps that texts of variable length lie in, each once."""
        varying = [each for each in attributes if each.type == VARIABLE]
        wanted = {at for each in varying for at in heaps_of(each)}.difference(self._heaps)
        self._source.expect((each, _HEAP) for each in wanted)
        for at in wanted:
            head = self._source.front(at, _HEAP)
            if head[:8] != b"GCOL\1\0\0\0":
                raise Strange
            (size,) = struct.unpack_from("<Q", head, 8)
            self._heaps[at] = objects(self._source.part(at, size))

    def _headers(self, addresses: list[int]) -> list[_Header]:
        """The headers of objects, with all of their blocks."""
        self._nodes += len(addresses)
        if self._nodes > MAX_NODES:
            raise Strange
        self._source.expect((each, _HEADER) for each in addresses)
        found: list[_Header] = []
        for at in addresses:
            data = self._source.front(at, _HEADER)
            version, count, _, size = _FRONT.unpack_from(data)
            if version != 1:
                raise Strange
            header = _Header(count)
            whole = data if _PREFIX + size <= len(data) else self._source.part(at, _PREFIX + size)
            header.take(whole[_PREFIX : _PREFIX + size])
            found.append(header)
        self._source.expect(block for each in found for block in each.blocks)
        for header in found:
            for number, (at, size) in enumerate(header.blocks):  # they may name further ones
                if number > _MAX_BLOCKS:
                    raise Strange
                header.take(self._source.part(at, size))
            if header.left:
                raise Strange
        return found


def _dataset(at: int, header: _Header) -> Dataset:
    if header.known.keys() != {DATATYPE, DATASPACE, LAYOUT}:  # a named type, or a group of the new kind
        raise Strange
    kind, space, layout = (header.known[each] for each in (DATATYPE, DATASPACE, LAYOUT))
    found, shape = element_type(kind), shape_of(space)
    place, size = place_of(layout)
    if size != nbytes(found, shape) or (place == UNDEFINED and size):  # never written: the library says what it reads
        raise Strange
    return Dataset(at, found, shape, place, size)
