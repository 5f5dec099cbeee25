"""TensorBundle, the container of TensorFlow checkpoints (V2): `P.index` and `P.data-NNNNN-of-NNNNN`.

Source: tensorflow/core/util/tensor_bundle/tensor_bundle.cc. The index is a sorted table from tensor names to
BundleEntryProto; data files are plain concatenations of tensor bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Literal, NamedTuple

from ckptdoctor.containers.dtypes import ITEMSIZE, tensorflow_dtype
from ckptdoctor.containers.files import RegularFile, plural
from ckptdoctor.containers.ordered_code import Extent, decode_slice_key
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.sstable import Table
from ckptdoctor.containers.wire import CorruptBytes
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.state import FileRange, Inline, Piece, Pieces, TensorRef

MAX_RANK = 254
"""tensorflow/core/framework/tensor_shape.h, `TensorShape::MaxDimensions`."""
MAX_ELEMENTS = 1 << 63
"""TensorFlow counts them in an int64."""
MAX_COMPARISONS = 250_000
"""Pairs of slices that are held against each other; a variable in a thousand slices along one dimension takes none."""
_READABLE_VERSION = 1


class Shard(NamedTuple):
    """A data file of a bundle."""

    path: str
    size: int


class TensorBundle(NamedTuple):
    """The index of a bundle, read and checked against its data files; no tensor data is read.

    Attributes:
        prefix: The checkpoint prefix.
        tensors: Name → reference, in the order of the index. Partitioned variables appear once, as a whole.
        shards: The data files that hold these tensors, by number.
        num_shards: How many data files the header names.
        big_endian: The writer's byte order.
    """

    prefix: str
    tensors: Mapping[str, TensorRef]
    shards: Mapping[int, Shard]
    num_shards: int
    big_endian: bool = False


def shard_path(prefix: str, number: int, count: int) -> str:
    """`P.data-00002-of-00005`."""
    return f"{prefix}.data-{number:05d}-of-{count:05d}"


def decode_name(name: bytes) -> str:
    """A name from a file; bytes that are not UTF-8 appear as escapes."""
    return name.decode("utf-8", "backslashreplace")


def read_bundle(prefix: str) -> TensorBundle:
    """Reads the index of the checkpoint with this prefix.

    Raises:
        UnreadableArtifact: The index is corrupt, a data file that is needed is missing or too short, or an entry
            contradicts itself.
    """
    with RegularFile(f"{prefix}.index") as file:
        return _Reader(prefix, Table(file)).read()


class _Reader:
    """One reading of one index: what is collected on the way, and how to complain."""

    def __init__(self, prefix: str, table: Table) -> None:
        self.prefix = prefix
        self.table = table
        self.num_shards = 1
        self.big_endian = False
        self.tensors: dict[str, TensorRef] = {}
        self.paths: dict[int, str] = {}
        self.ends: dict[int, int] = {}
        self.partitioned: dict[str, tuple[str, tuple[int, ...], int]] = {}
        self.slices: dict[str, list[tuple[tuple[Extent, ...], FileRange]]] = {}
        self.heads: dict[bytes, tuple[str, tuple[int, ...], int]] = {}

    def corrupt(self, message: str) -> UnreadableArtifact:
        return UnreadableArtifact(message, self.table.file.path, place=self.table.name)

    def read(self) -> TensorBundle:
        from google.protobuf.message import DecodeError

        entries = self.table.entries()
        key, value = next(entries, (None, b""))
        if key != b"":
            raise self.corrupt("its first entry is no bundle header: a TensorFlow V1 checkpoint or another table")
        self._header(value)
        try:
            self._entries(entries)
        except DecodeError as error:
            raise self.corrupt("an entry is no BundleEntry: it is corrupt") from error
        for text, (dtype, shape, _) in self.partitioned.items():
            self.tensors[text] = self._assemble(text, dtype, shape)
        shards = self._check_shards()
        return TensorBundle(self.prefix, self.tensors, shards, self.num_shards, self.big_endian)

    def _header(self, value: bytes) -> None:
        from google.protobuf.message import DecodeError

        try:
            header = pb.BundleHeader.FromString(value)
        except DecodeError as error:
            raise self.corrupt("its bundle header is corrupt") from error
        if header.version.min_consumer > _READABLE_VERSION:
            raise self.corrupt(f"it needs a reader of bundle version {header.version.min_consumer}; 1 is known")
        if header.num_shards < 1:
            raise self.corrupt(f"its header claims {header.num_shards} data files")
        if header.endianness not in {0, 1}:
            raise self.corrupt(f"its header claims byte order {header.endianness}; little (0) and big (1) are known")
        self.num_shards = header.num_shards
        self.big_endian = header.endianness == 1

    def _entries(self, entries: Iterable[tuple[bytes, bytes]]) -> None:
        """Turns entries into references. One long loop: it runs once per tensor, and calls would double its time."""
        parse, big, tensors = pb.BundleEntry.FromString, self.big_endian, self.tensors
        ends, heads, paths = self.ends, self.heads, self.paths
        new = tuple.__new__  # what a named tuple's constructor calls, without the constructor
        for name, raw in entries:
            if not name:
                raise self.corrupt("it has a second header")
            entry = parse(raw)
            # The same few types and shapes recur: they are the entry's first bytes, and are decoded once.
            head = raw[: 4 + raw[3]] if len(raw) > 3 and raw[0] == 0x08 and raw[1] < 0x80 and raw[2] == 0x12 else raw
            known = heads.get(head)
            if known is None:
                known = heads[head] = self._type_and_shape(name, entry)
            dtype, shape, nbytes = known
            shard, offset, size = entry.shard_id, entry.offset, entry.size
            # Slices come after the checksum, which otherwise ends an entry; asking for them costs as much as parsing.
            if (not size or raw[-5:-4] != b"\x35") and entry.slices:
                self.partitioned[decode_name(name)] = known
                continue
            path = paths.get(shard) or self._shard(name, shard)
            if (size != nbytes and (nbytes >= 0 or size < 0)) or offset < 0:
                raise self.corrupt(
                    f"the entry of {decode_name(name)!r} claims {size:,} bytes at offset {offset:,} for {dtype} of "
                    f"shape {list(shape)}"
                )
            if offset + size > ends[shard]:  # noqa: PLR1730 - max() would be a call per tensor
                ends[shard] = offset + size
            location = new(FileRange, (path, offset, size, entry.crc32c, big, False))
            if not name[0]:
                self._slice(name, location)
                continue
            try:
                text = name.decode()
            except UnicodeDecodeError:
                text = decode_name(name)
            tensors[text] = new(TensorRef, (text, dtype, shape, location))

    def _type_and_shape(self, name: bytes, entry: pb.BundleEntry) -> tuple[str, tuple[int, ...], int]:
        """Type, shape and number of bytes; -1 bytes where the type has no fixed size."""
        if not entry.dtype:
            raise self.corrupt(f"the entry of {decode_name(name)!r} has no type")
        dtype = tensorflow_dtype(entry.dtype)
        shape = tuple([dim.size for dim in entry.shape.dim])
        if entry.shape.unknown_rank or not is_possible(shape):
            raise self.corrupt(f"the entry of {decode_name(name)!r} has an impossible shape {list(shape)[:8]}")
        nbytes = ITEMSIZE.get(dtype, -1)
        if nbytes >= 0:
            for extent in shape:
                nbytes *= extent
        return dtype, shape, nbytes

    def _shard(self, name: bytes, shard: int) -> str:
        if not 0 <= shard < self.num_shards:
            raise self.corrupt(
                f"the entry of {decode_name(name)!r} lies in data file {shard}, but there are {self.num_shards}"
            )
        path = self.paths[shard] = shard_path(self.prefix, shard, self.num_shards)
        self.ends[shard] = 0
        return path

    def _slice(self, key: bytes, location: FileRange) -> None:
        try:
            name, extents = decode_slice_key(key)
        except CorruptBytes as error:
            raise self.corrupt(f"the entry {key[:40]!r} is no tensor slice ({error})") from error
        self.slices.setdefault(decode_name(name), []).append((extents, location))

    def _assemble(self, name: str, dtype: str, shape: tuple[int, ...]) -> TensorRef:
        parts = self.slices.get(name, [])
        try:
            location = assemble(shape, parts, ITEMSIZE.get(dtype))
        except CorruptBytes as error:
            raise self.corrupt(f"{name!r} is partitioned, but {error}") from error
        return TensorRef(name, dtype, shape, location)

    def _check_shards(self) -> dict[int, Shard]:
        shards: dict[int, Shard] = {}
        for number, path in sorted(self.paths.items()):
            try:
                size = os.stat(path).st_size
            except OSError as error:
                raise self._lost(number, f"cannot be read ({error.strerror})", 0) from error
            if size < self.ends[number]:
                raise self._lost(
                    number, f"has {plural(size, 'byte')}, but its tensors need {self.ends[number]:,}", size
                )
            shards[number] = Shard(path, size)
        return shards

    def _lost(self, number: int, problem: str, size: int) -> UnreadableArtifact:
        """A data file that is missing or too short, with what it should have held."""
        path = self.paths[number]
        lost = [
            ref.key
            for ref in self.tensors.values()
            for part in (
                [piece.location for piece in ref.location.parts] if isinstance(ref.location, Pieces) else [ref.location]
            )
            if isinstance(part, FileRange) and part.path == path and part.offset + part.nbytes > size
        ]
        what = "data file" if self.num_shards == 1 else f"data file {number + 1} of {self.num_shards}"
        there = os.path.exists(path)
        message = (
            f"{what} {os.path.basename(path)} {problem if there else 'is missing'}: "
            f"{plural(len(lost), 'tensor')} of {len(self.tensors):,} lost"
        )
        named = f"{message}, the first is {lost[0]!r}" if lost else message
        return UnreadableArtifact(named, path, code="I003" if there else "I002")


def is_possible(shape: tuple[int, ...]) -> bool:
    """Whether TensorFlow could make a tensor of this shape."""
    return len(shape) <= MAX_RANK and all(extent >= 0 for extent in shape) and prod(shape) < MAX_ELEMENTS


def assemble(
    shape: tuple[int, ...], parts: Sequence[tuple[tuple[Extent, ...], FileRange | Inline]], itemsize: int | None
) -> Pieces:
    """Puts the slices of a partitioned variable together.

    Args:
        shape: Of the whole variable.
        parts: Extents and location of each slice.
        itemsize: Bytes an element; None if the type has no fixed size.

    Raises:
        CorruptBytes: A slice does not fit the shape, or they do not add up to it.
    """
    pieces: list[Piece] = []
    covered = 0
    for stored, location in parts:
        extents = stored or tuple((0, -1) for _ in shape)
        if len(extents) != len(shape):
            raise CorruptBytes(f"a slice has {len(extents)} dimensions instead of {len(shape)}")
        start = tuple(begin if length != -1 else 0 for begin, length in extents)
        size = tuple(length if length != -1 else whole for (_, length), whole in zip(extents, shape, strict=True))
        count = 1
        for begin, length, whole in zip(start, size, shape, strict=True):
            if begin < 0 or length < 0 or begin + length > whole:
                raise CorruptBytes(f"a slice of {list(size)} at {list(start)} lies outside of {list(shape)}")
            count *= length
        if itemsize is not None and isinstance(location, FileRange) and location.nbytes != count * itemsize:
            raise CorruptBytes(
                f"the slice at {list(start)} has {location.nbytes:,} bytes instead of {count * itemsize:,}"
            )
        covered += count
        pieces.append(Piece(start, size, location))
    total = 1
    for extent in shape:
        total *= extent
    if covered != total:
        raise CorruptBytes(f"its slices hold {covered:,} of {plural(total, 'element')}")
    _require_apart(pieces)
    return Pieces(tuple(sorted(pieces)))


def _require_apart(pieces: Sequence[Piece]) -> None:
    """Raises CorruptBytes where slices overlap: as many elements as the whole are then not the whole."""
    pieces = [piece for piece in pieces if 0 not in piece.shape]
    if len(pieces) < 2 or not pieces[0].shape:
        return
    axis = max(range(len(pieces[0].shape)), key=lambda each: len({piece.start[each] for piece in pieces}))
    ordered = sorted(pieces, key=lambda piece: piece.start[axis])
    compared = 0
    for number, one in enumerate(ordered):
        end = one.start[axis] + one.shape[axis]
        for following in range(number + 1, len(ordered)):
            other = ordered[following]
            if other.start[axis] >= end:
                break
            compared += 1
            if compared > MAX_COMPARISONS:
                raise CorruptBytes(f"its {len(pieces):,} slices lie across each other as no partitioner cuts them")
            if all(
                a < b + m and b < a + n
                for a, n, b, m in zip(one.start, one.shape, other.start, other.shape, strict=True)
            ):
                raise CorruptBytes(f"the slices at {list(one.start)} and {list(other.start)} overlap")


def read_strings(ref: TensorRef, limit: int = 1 << 30) -> list[bytes]:
    """Reads a string tensor: varint lengths, a checksum of the lengths, then the payloads.

    Args:
        ref: A string tensor of a bundle.
        limit: Most bytes that are read.

    Raises:
        UnreadableArtifact: Lengths or checksums do not add up.
    """
    from ckptdoctor.containers.crc import masked_crc32c
    from ckptdoctor.containers.wire import varint

    location = ref.location
    if ref.dtype != "string" or not isinstance(location, FileRange):
        raise UnreadableArtifact(f"{ref.key!r} should be a string tensor, but is {ref.dtype}")

    def corrupt(why: str) -> UnreadableArtifact:
        return UnreadableArtifact(f"the string tensor {ref.key!r} is corrupt: {why}", location.path)

    if location.nbytes > limit or ref.size > location.nbytes:
        raise corrupt(f"it claims {plural(ref.size, 'string')} in {plural(location.nbytes, 'byte')}")
    with RegularFile(location.path) as file:
        data = file.read(location.offset, location.nbytes, f"the string tensor {ref.key!r}")
    lengths: list[int] = []
    position = 0
    try:
        for _ in range(ref.size):
            length, position = varint(data, position)
            lengths.append(length)
    except CorruptBytes as error:
        raise corrupt(str(error)) from error
    # Varints have no byte order, but what is checked are the writer's own integers.
    order: Literal["big", "little"] = "big" if location.big_endian else "little"
    checked = b"".join(length.to_bytes(4 if length <= 0xFFFFFFFF else 8, order) for length in lengths)
    stored = data[position : position + 4]
    position += 4
    if int.from_bytes(stored, order) != masked_crc32c(checked) or position + sum(lengths) != len(data):
        raise corrupt("its lengths do not check out")
    if location.crc32c is not None and masked_crc32c(checked + data[position - 4 :]) != location.crc32c:
        raise corrupt("its checksum does not match")
    strings: list[bytes] = []
    for length in lengths:
        strings.append(data[position : position + length])
        position += length
    return strings
