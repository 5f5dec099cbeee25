"""Writing a TensorBundle from an existing one: what stays is not touched, what is new goes into a data file of its own.

Source: tensorflow/core/util/tensor_bundle/tensor_bundle.cc (`BundleWriter`, `MergeBundles`). An index entry names its
data file by number, so data files can be taken over whole, by the kernel or by hard link, with their entries as they
are: offsets and checksums stay valid, and so does everything that this module does not understand.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import merge
from typing import NamedTuple

from ckptdoctor.containers.bundles.reading import decode_name, shard_path
from ckptdoctor.containers.bytes.copying import Progress, copy_file, create, link_file
from ckptdoctor.containers.bytes.crc import masked, masked_crc32c
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.protos import parse
from ckptdoctor.containers.tables.ordered_code import decode_slice_key
from ckptdoctor.containers.tables.sstable import Table
from ckptdoctor.containers.tables.table_writer import write_table
from ckptdoctor.containers.tables.wire import CorruptBytes, encode_varint
from ckptdoctor.containers.tensors.dtypes import TENSORFLOW
from ckptdoctor.containers.tensors.shard_data import Constant, pieces
from ckptdoctor.errors import GraftRefused, UnreadableArtifact
from ckptdoctor.references import FileRange, TensorRef

_NUMBERS = {name: number for number, (name, _) in TENSORFLOW.items()}


class Text(NamedTuple):
    """The content of a scalar string tensor."""

    data: bytes


class NewTensor(NamedTuple):
    """A tensor that the result has and the base has not, or has with another value.

    Attributes:
        dtype: Its type.
        shape: Its dimensions.
        content: Where its values come from: another artifact, these bytes (little-endian, C order), one number for
            every element, or a string; None are zeros.
        factor: What values of another artifact are multiplied by.
    """

    dtype: str
    shape: tuple[int, ...]
    content: TensorRef | bytes | Constant | Text | None
    factor: float = 1.0


@dataclass(slots=True)
class BundleReport:
    """What was written.

    Attributes:
        new: Bytes of the index and of new tensors.
        copied: Bytes of data files that were copied whole.
        linked: Bytes of data files that are shared by hard link.
        unlinked: Data files that should have been shared and had to be copied.
    """

    new: int = 0
    copied: int = 0
    linked: int = 0
    unlinked: list[str] = field(default_factory=list)


def write_bundle(
    prefix: str,
    tensors: Mapping[str, NewTensor],
    *,
    base: str | None = None,
    drop: Collection[str] = (),
    link: bool = False,
    progress: Progress | None = None,
) -> BundleReport:
    """Writes `P.index` and its data files.

    Args:
        prefix: P, in a directory that exists; none of its files may.
        tensors: Name → tensor, to be added to the base or to replace its tensors of that name, in the order in which
            their bytes are written.
        base: Prefix of the bundle whose other tensors stay; None: the result has these tensors only.
        drop: Names of tensors of the base that go.
        link: Share the base's data files, and those of tensors that are taken over unchanged, by hard link.
        progress: Told how many bytes have been dealt with.

    Raises:
        GraftRefused: The base is big-endian, or a tensor's values cannot be written in its type.
        UnreadableArtifact: An input is corrupt.
    """
    return _Writer(prefix, base, link=link, progress=progress).write(tensors, frozenset(drop))


class _Writer:
    """One bundle while it is written."""

    def __init__(self, prefix: str, base: str | None, *, link: bool, progress: Progress | None) -> None:
        self.prefix = prefix
        self.base = base
        self.link = link
        self.progress = progress
        self.report = BundleReport()
        self.kept = 0  # data files of the base: the first ones, so that its entries stay as they are
        self.header = pb.BundleHeader(num_shards=0, version=pb.VersionDef(producer=1))
        self.own: dict[str, int | None] = {}  # path → number of the base's data file it is
        self.guests: list[str] = []  # data files of other bundles that are shared

    def write(self, tensors: Mapping[str, NewTensor], drop: frozenset[str]) -> BundleReport:
        if self.base is not None:
            self._read_header(self.base)
        taken = {name: place for name, each in tensors.items() if (place := self._place(each)) is not None}
        fresh = [name for name in tensors if name not in taken]
        count = self.kept + len(self.guests) + bool(fresh or not self.kept + len(self.guests))
        entries = {name: self._taken(tensors[name], shard, at) for name, (shard, at) in taken.items()}
        if count > self.kept + len(self.guests):
            entries |= self._write_shard(count - 1, count, {name: tensors[name] for name in fresh})
        self.header.num_shards = count
        used = self._write_index(entries, drop | tensors.keys())
        for number in range(self.kept):
            self._take(shard_path(self.base or "", number, self.kept), number, count, used=number in used)
        for number, path in enumerate(self.guests, self.kept):
            self._take(path, number, count, used=True)
        return self.report

    # ------------------------------------------------------------------------------------------------ what is there

    def _read_header(self, base: str) -> None:
        with RegularFile(f"{base}.index") as file:
            key, value = next(Table(file).entries(), (None, b""))
        if key != b"":
            raise UnreadableArtifact(f"{os.path.basename(base)}.index is no TensorBundle index", base)
        self.header = parse(pb.BundleHeader, value, "the index's header", base)
        if self.header.endianness:
            raise GraftRefused(
                f"{os.path.basename(base)} was written by a big-endian machine: nothing can be added to it. "
                "Restore and save it with TensorFlow on this machine first",
                base,
            )
        self.kept = self.header.num_shards

    def _place(self, tensor: NewTensor) -> tuple[int, FileRange] | None:
        """The data file in which a tensor lies already as it should be: one of the base, or one that can be shared."""
        ref = tensor.content
        if not isinstance(ref, TensorRef) or not isinstance(ref.location, FileRange):
            return None
        at = ref.location
        same = tensor.factor == 1.0 and ref.dtype == tensor.dtype and ref.shape == tensor.shape
        if not same or at.crc32c is None or at.big_endian or at.fortran_order:
            return None
        if at.path not in self.own:
            self.own[at.path] = self._number(at.path)
        number = self.own[at.path]
        if number is None and self.link:
            number = self.own[at.path] = self.kept + len(self.guests)
            self.guests.append(at.path)
        return None if number is None else (number, at)

    def _number(self, path: str) -> int | None:
        for number in range(self.kept):
            mine = shard_path(self.base or "", number, self.kept)
            if os.path.exists(mine) and os.path.exists(path) and os.path.samefile(path, mine):
                return number
        return None

    def _taken(self, tensor: NewTensor, shard: int, at: FileRange) -> bytes:
        return entry_of(tensor, shard, at.offset, at.nbytes, at.crc32c or 0)

    # ------------------------------------------------------------------------------------------------- what is written

    def _write_shard(self, number: int, count: int, tensors: Mapping[str, NewTensor]) -> dict[str, bytes]:
        """Writes the data file of new tensors; answers their entries."""
        import google_crc32c

        entries: dict[str, bytes] = {}
        offset = 0
        with open(create(shard_path(self.prefix, number, count)), "wb", buffering=0) as file:
            for name, tensor in tensors.items():
                start = offset
                if isinstance(tensor.content, Text):
                    data, crc = string_of(tensor.content.data)
                    _write_all(file.fileno(), data)
                    offset += len(data)
                else:
                    raw = 0
                    for chunk in pieces(tensor.content, name, tensor.dtype, tensor.shape, tensor.factor):
                        raw = google_crc32c.extend(raw, chunk)
                        _write_all(file.fileno(), chunk)
                        offset += len(chunk)
                        if self.progress is not None:
                            self.progress(len(chunk))
                    crc = masked(raw)
                entries[name] = entry_of(tensor, number, start, offset - start, crc)
        self.report.new += offset
        return entries

    def _write_index(self, new: Mapping[str, bytes], drop: Collection[str]) -> set[int]:
        """Writes the index; answers which of the base's data files are still needed."""
        used: set[int] = set()
        ordered = sorted((name.encode("utf-8"), entry) for name, entry in new.items())
        for _, entry in ordered:
            used.add(pb.BundleEntry.FromString(entry).shard_id)
        header = (b"", self.header.SerializeToString())
        with open(create(f"{self.prefix}.index"), "wb") as file:
            if self.base is None:
                size = write_table(file, [header, *ordered])
            else:
                with RegularFile(f"{self.base}.index") as old:
                    size = write_table(file, merge([header], ordered, _kept(Table(old), old.path, drop, used)))
        self.report.new += size
        return used

    def _take(self, source: str, number: int, count: int, *, used: bool) -> None:
        destination = shard_path(self.prefix, number, count)
        if not used:
            os.close(create(destination))  # nothing refers to it any more, but TensorFlow expects every number
        elif self.link:
            done = link_file(source, destination, self.progress)
            self.report.linked += done.linked
            self.report.copied += done.copied
            if done.copied:
                self.report.unlinked.append(os.path.basename(source))
        else:
            self.report.copied += copy_file(source, destination, self.progress)


def _kept(table: Table, path: str, drop: Collection[str], used: set[int]) -> Iterator[tuple[bytes, bytes]]:
    """The base's entries that stay, byte for byte; their data files are added to `used`."""
    for key, value in table.entries():
        if not key or name_of(key) in drop:
            continue
        entry = parse(pb.BundleEntry, value, "an entry of the index", path)
        if not entry.slices:  # the whole of a partitioned tensor has no bytes of its own
            used.add(entry.shard_id)
        yield key, value


def name_of(key: bytes) -> str:
    """The tensor that an entry is about, or is a slice of."""
    if key[:1] == b"\0":
        try:
            return decode_name(decode_slice_key(key)[0])
        except CorruptBytes:
            pass
    return decode_name(key)


def entry_of(tensor: NewTensor, shard: int, offset: int, size: int, crc: int) -> bytes:
    """The index's entry for a tensor."""
    dims = [pb.TensorShape.Dim(size=extent) for extent in tensor.shape]
    entry = pb.BundleEntry(
        dtype=_NUMBERS[tensor.dtype], shape=pb.TensorShape(dim=dims), shard_id=shard, offset=offset, size=size
    )
    entry.crc32c = crc
    serialized: bytes = entry.SerializeToString()
    return serialized


def string_of(data: bytes) -> tuple[bytes, int]:
    """A string scalar's bytes and checksum: its length is stored as a varint and checked as a number."""
    length = len(data).to_bytes(4 if len(data) <= 0xFFFFFFFF else 8, "little")
    check = masked_crc32c(length).to_bytes(4, "little")
    return encode_varint(len(data)) + check + data, masked_crc32c(length + check + data)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
