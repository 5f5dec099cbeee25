"""TensorBundle, the container of TensorFlow checkpoints (V2): `P.index` and `P.data-NNNNN-of-NNNNN`.

Source: tensorflow/core/util/tensor_bundle/tensor_bundle.cc. The index is a sorted table from tensor names to
BundleEntryProto; data files are plain concatenations of tensor bytes.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from ckptdoctor import storage
from ckptdoctor.containers.bundles.entries import Heads, front
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tables.messages import Message
from ckptdoctor.containers.tables.sstable import Table
from ckptdoctor.containers.tables.wire import CorruptBytes
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE, tensorflow_dtype
from ckptdoctor.containers.tensors.shapes import is_possible
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import DataFile, FileRange, Pieces, TensorRef
from ckptdoctor.words import counted

if TYPE_CHECKING:
    from ckptdoctor.containers.tables.ordered_code import Extent

_READABLE_VERSION = 1
_FRONT = 3
"""Bytes of an entry before the length of its shape."""
_USUAL_HEADER = b"\x08\x01\x1a\x02\x08\x01"
"""BundleHeaderProto of one data file, little-endian, version 1."""


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


def shape_of(shape: Message) -> tuple[int, ...]:
    """The extents of a TensorShapeProto."""
    dims = shape.messages(2)
    for dim in dims:
        dim.texts(2)  # names: refused by TensorFlow where they are no text
    return tuple([dim.integer(1) for dim in dims])


def shard_path(prefix: str, number: int, count: int) -> str:
    """`P.data-00002-of-00005`."""
    return f"{prefix}.data-{number:05d}-of-{count:05d}"


def decode_name(name: bytes) -> str:
    """A name from a file; bytes that are not UTF-8 appear as escapes."""
    return name.decode("utf-8", "backslashreplace")


def _names(keys: list[bytes]) -> list[str]:
    """Many names at once."""
    try:
        names = b"\0".join(keys).decode().split("\0")
    except UnicodeDecodeError:
        names = []
    return names if len(names) == len(keys) else [decode_name(key) for key in keys]


def read_bundle(prefix: str, *, damaged: bool = False) -> TensorBundle:
    """Reads the index of the checkpoint with this prefix.

    Args:
        prefix: The prefix.
        damaged: Data files may be missing or too short.

    Raises:
        UnreadableArtifact: The index is corrupt, a data file that is needed is missing or too short, or an entry
            contradicts itself.
    """
    with RegularFile(f"{prefix}.index") as file:
        return _Reader(prefix, Table(file)).read(damaged=damaged)


class _Reader:
    """One reading of one index: what is collected on the way, and how to complain."""

    def __init__(self, prefix: str, table: Table) -> None:
        self.prefix = prefix
        self.table = table
        self.num_shards = 1
        self.big_endian = False
        self.tensors: dict[str, TensorRef] = {}
        self.files: dict[int, DataFile] = {}
        self.ends: dict[int, int] = {}
        self.partitioned: dict[str, tuple[str, tuple[int, ...], int]] = {}
        self.heads = Heads()
        self.slices: dict[str, list[tuple[tuple[Extent, ...], FileRange]]] = {}

    def corrupt(self, message: str) -> UnreadableArtifact:
        return UnreadableArtifact(message, self.table.file.path, place=self.table.name)

    def read(self, *, damaged: bool) -> TensorBundle:
        blocks = self.table.blocks()
        keys, values = next(blocks, ([b"?"], [b""]))
        if keys[0] != b"":
            raise self.corrupt("its first entry is no bundle header: a TensorFlow V1 checkpoint or another table")
        self._header(values[0])
        self._entries(keys[1:], values[1:])
        for keys, values in blocks:
            self._entries(keys, values)
        for text, (dtype, shape, _) in self.partitioned.items():
            self.tensors[text] = self._assemble(text, dtype, shape)
        shards = {} if damaged else self._check_shards()
        return TensorBundle(self.prefix, self.tensors, shards, self.num_shards, self.big_endian)

    def _header(self, value: bytes) -> None:
        if value == _USUAL_HEADER:
            return
        try:
            header = Message(value)
            shards, endianness = header.integer(1, bits=32), header.integer(2, bits=32)
            version = header.message(3)
            needed = version.integer(2, bits=32)  # min_consumer
            version.integers(3)  # bad_consumers: refused by TensorFlow where they are corrupt
        except CorruptBytes as error:
            raise self.corrupt("its bundle header is corrupt") from error
        if needed > _READABLE_VERSION:
            raise self.corrupt(f"it needs a reader of bundle version {needed}; 1 is known")
        if shards < 1:
            raise self.corrupt(f"its header claims {shards} data files")
        if endianness not in {0, 1}:
            raise self.corrupt(f"its header claims byte order {endianness}; little (0) and big (1) are known")
        self.num_shards = shards
        self.big_endian = endianness == 1

    def _entries(self, keys: list[bytes], values: list[bytes]) -> None:
        """Turns entries into references: what many have in common is checked once, for all of them."""
        if keys and not keys[0][0]:  # slices of partitioned variables, which sort first
            for key, raw in zip(keys, values, strict=True):
                self._unusual(key, raw)
            return
        if self.num_shards == 1:
            fronts = [(raw[: 4 + raw[3]], len(raw)) if len(raw) > _FRONT else (raw, 0) for raw in values]
        else:
            fronts = [(front(raw), len(raw)) for raw in values]
        groups: dict[tuple[bytes, int], list[bytes]] = {kind: [] for kind in fronts}
        for kind, raw in zip(fronts, values, strict=True):
            groups[kind].append(raw)
        known = {kind: self._of_one_kind(raws) for kind, raws in groups.items()}
        tensors, new = self.tensors, tuple.__new__  # what a named tuple's constructor calls, without the constructor
        for key, text, raw, kind in zip(keys, _names(keys), values, fronts, strict=True):
            told = known[kind]
            if told is None:
                self._unusual(key, raw)
            else:
                dtype, shape, shard = told
                file = self.files.get(shard) or self._shard(key, shard)
                tensors[text] = new(TensorRef, (text, dtype, shape, raw, file))

    def _of_one_kind(self, raws: list[bytes]) -> tuple[str, tuple[int, ...], int] | None:
        """Type, shape and data file of entries of one beginning and length; None where one is in an unusual form."""
        try:
            head, end = self.heads.common(raws)
        except CorruptBytes:
            return None
        self.ends[head.shard] = max(self.ends.get(head.shard, 0), end)
        return head.dtype, head.shape, head.shard

    def _unusual(self, key: bytes, raw: bytes) -> None:
        """An entry in any form that a protocol buffer may have: a string, a partitioned variable or a slice of one."""
        name = decode_name(key)
        try:
            entry = Message(raw)
            dtype, shape, nbytes = known = self._type_and_shape(name, entry)
            shard, offset, size = entry.integer(3, bits=32), entry.integer(4), entry.integer(5)
            crc32c = entry.fixed32(6)
            slices = [part.messages(1) for part in entry.messages(7)]
        except CorruptBytes as error:
            raise self.corrupt("an entry is no BundleEntry: it is corrupt") from error
        if slices:
            self.partitioned[name] = known
            return
        path = (self.files.get(shard) or self._shard(key, shard)).path
        if (size != nbytes and (nbytes >= 0 or size < 0)) or offset < 0:
            raise self.corrupt(
                f"the entry of {name!r} claims {size:,} bytes at offset {offset:,} for {dtype} of shape {list(shape)}"
            )
        self.ends[shard] = max(self.ends[shard], offset + size)
        location = FileRange(path, offset, size, crc32c, self.big_endian)
        if key[0]:
            self.tensors[name] = TensorRef(name, dtype, shape, location)
        else:
            self._slice(key, location)

    def _type_and_shape(self, name: str, entry: Message) -> tuple[str, tuple[int, ...], int]:
        """Type, shape and number of bytes; -1 bytes where the type has no fixed size."""
        number, stored = entry.integer(1, bits=32), entry.message(2)
        if not number:
            raise self.corrupt(f"the entry of {name!r} has no type")
        dtype = tensorflow_dtype(number)
        shape = shape_of(stored)
        if stored.flag(3) or not is_possible(shape):  # unknown_rank
            raise self.corrupt(f"the entry of {name!r} has an impossible shape {list(shape)[:8]}")
        nbytes = ITEMSIZE.get(dtype, -1)
        if nbytes >= 0:
            for extent in shape:
                nbytes *= extent
        return dtype, shape, nbytes

    def _shard(self, name: bytes, shard: int) -> DataFile:
        if not 0 <= shard < self.num_shards:
            raise self.corrupt(
                f"the entry of {decode_name(name)!r} lies in data file {shard}, but there are {self.num_shards}"
            )
        path = shard_path(self.prefix, shard, self.num_shards)
        self.files[shard] = file = DataFile(path, self.big_endian)
        self.ends.setdefault(shard, 0)
        return file

    def _slice(self, key: bytes, location: FileRange) -> None:
        from ckptdoctor.containers.tables.ordered_code import decode_slice_key

        try:
            name, extents = decode_slice_key(key)
        except CorruptBytes as error:
            raise self.corrupt(f"the entry {key[:40]!r} is no tensor slice ({error})") from error
        self.slices.setdefault(decode_name(name), []).append((extents, location))

    def _assemble(self, name: str, dtype: str, shape: tuple[int, ...]) -> TensorRef:
        from ckptdoctor.containers.bundles.slices import assemble

        parts = self.slices.get(name, [])
        try:
            location = assemble(shape, parts, ITEMSIZE.get(dtype))
        except CorruptBytes as error:
            raise self.corrupt(f"{name!r} is partitioned, but {error}") from error
        return TensorRef(name, dtype, shape, location)

    def _check_shards(self) -> dict[int, Shard]:
        shards: dict[int, Shard] = {}
        for number, (path, _) in sorted(self.files.items()):
            try:
                size = storage.stat(path).st_size
            except OSError as error:
                raise self._lost(number, f"cannot be read ({error.strerror})", 0) from error
            if size < self.ends[number]:
                raise self._lost(number, self._shorter(path, size, self.ends[number]), size)
            shards[number] = Shard(path, size)
        return shards

    @staticmethod
    def _shorter(path: str, size: int, needed: int) -> str:
        with RegularFile(path) as file:
            pointer = file.read(0, min(size, 64)).startswith(b"version https://git-lfs")
        if pointer:
            return "is a Git LFS pointer: run `git lfs pull`"
        return f"has {counted(size, 'byte')}, but its tensors need {needed:,}"

    def _lost(self, number: int, problem: str, size: int) -> UnreadableArtifact:
        """A data file that is missing or too short, with what it should have held."""
        path = self.files[number].path
        lost = [
            ref.key
            for ref in self.tensors.values()
            for part in (
                [piece.location for piece in ref.location.parts] if isinstance(ref.location, Pieces) else [ref.location]
            )
            if isinstance(part, FileRange) and part.path == path and part.offset + part.nbytes > size
        ]
        what = "data file" if self.num_shards == 1 else f"data file {number + 1} of {self.num_shards}"
        there = storage.exists(path)
        message = (
            f"{what} {os.path.basename(path)} {problem if there else 'is missing'}: "
            f"{counted(len(lost), 'tensor')} of {len(self.tensors):,} lost"
        )
        named = f"{message}, the first is {lost[0]!r}" if lost else message
        return UnreadableArtifact(named, path, code="I003" if there else "I002")


def read_strings(ref: TensorRef, limit: int = 1 << 30) -> list[bytes]:
    """Reads a string tensor: varint lengths, a checksum of the lengths, then the payloads.

    Args:
        ref: A string tensor of a bundle.
        limit: Most bytes that are read.

    Raises:
        UnreadableArtifact: Lengths or checksums do not add up.
    """
    from ckptdoctor.containers.bytes.crc import masked_crc32c
    from ckptdoctor.containers.tables.wire import varint

    location = ref.location
    if ref.dtype != "string" or not isinstance(location, FileRange):
        raise UnreadableArtifact(f"{ref.key!r} should be a string tensor, but is {ref.dtype}")

    def corrupt(why: str) -> UnreadableArtifact:
        return UnreadableArtifact(f"the string tensor {ref.key!r} is corrupt: {why}", location.path)

    if location.nbytes > limit or ref.size > location.nbytes:
        raise corrupt(f"it claims {counted(ref.size, 'string')} in {counted(location.nbytes, 'byte')}")
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
    strings: list[bytes] = []
    for length in lengths:
        strings.append(data[position : position + length])
        position += length
    # Part by part: a large model's object graph is one string of many megabytes, which need not be copied for it.
    if location.crc32c is not None and masked_crc32c(checked, stored, *strings) != location.crc32c:
        raise corrupt("its checksum does not match")
    return strings
