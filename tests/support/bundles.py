"""A writer of TensorFlow's checkpoint files: what TensorFlow writes, and on request what it never would.

Nothing of TensorFlow is used. tests/real/test_differential.py proves that TensorFlow reads these files as meant.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ckptdoctor.containers.bytes.crc import masked_crc32c
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.tables.ordered_code import Extent, encode_slice_key
from ckptdoctor.containers.tables.sstable import MAGIC
from ckptdoctor.containers.tensors.array_bytes import swapped
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE, TENSORFLOW
from ckptdoctor.containers.tensors.values import numpy_dtype

DTYPES = {name: number for number, (name, _) in TENSORFLOW.items()}
"""Name → DataType number."""


# ------------------------------------------------------------------------------------------------------------- tables


def varint(value: int) -> bytes:
    """A base-128 varint."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def snappy(data: bytes) -> bytes:
    """Raw snappy, of literals only."""
    out = bytearray(varint(len(data)))
    for start in range(0, len(data), 1 << 16):
        piece = data[start : start + (1 << 16)]
        length = len(piece) - 1
        if length < 60:
            out.append(length << 2)
        elif length < 1 << 8:
            out += bytes((60 << 2, length))
        else:
            out += bytes((61 << 2, length & 0xFF, length >> 8))
        out += piece
    return bytes(out)


def block(entries: Sequence[tuple[bytes, bytes]], restart_interval: int = 16) -> bytes:
    """The body of a table's block: keys share prefixes, but for every `restart_interval`-th."""
    out, restarts, last = bytearray(), [], b""
    for number, (key, value) in enumerate(entries):
        shared = 0
        if number % restart_interval == 0:
            restarts.append(len(out))
        else:
            shared = next(
                (at for at, (a, b) in enumerate(zip(last, key, strict=False)) if a != b), min(len(last), len(key))
            )
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    return bytes(out) + b"".join(each.to_bytes(4, "little") for each in (*restarts, len(restarts)))


def sealed(body: bytes, kind: int = 0) -> bytes:
    """A block with its trailer: compression type and checksum."""
    return body + bytes((kind,)) + masked_crc32c(body + bytes((kind,))).to_bytes(4, "little")


def footer(index: tuple[int, int], meta: tuple[int, int] = (0, 8)) -> bytes:
    """The 48 bytes at a table's end."""
    return b"".join(varint(each) for each in (*meta, *index)).ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def raw_table(bodies: Iterable[tuple[bytes, bytes]], kind: int = 0) -> bytes:
    """A table of blocks as they are: (last key, body)."""
    out, index = bytearray(), []
    for last, body in bodies:
        index.append((last, varint(len(out)) + varint(len(body))))
        out += sealed(body, kind)
    meta = len(out), 8
    out += sealed(block(()))
    body = block(index, 1)
    place = len(out), len(body)
    return bytes(out + sealed(body)) + footer(place, meta)


def table(
    entries: Iterable[tuple[bytes, bytes]],
    *,
    block_size: int = 262_144,
    restart_interval: int = 16,
    compressed: bool = False,
) -> bytes:
    """A table of these entries, in the order given.

    Args:
        entries: Keys and values; a reader wants them sorted.
        block_size: A block ends with the entry that reaches this size.
        restart_interval: Entries from one whole key to the next.
        compressed: Data blocks are snappy blocks.
    """
    bodies: list[tuple[bytes, bytes]] = []
    waiting: list[tuple[bytes, bytes]] = []
    size = 0
    for key, value in entries:
        waiting.append((key, value))
        size += len(key) + len(value) + 3
        if size >= block_size:
            bodies.append((key, block(waiting, restart_interval)))
            waiting, size = [], 0
    if waiting:
        bodies.append((waiting[-1][0], block(waiting, restart_interval)))
    if compressed:
        bodies = [(last, snappy(body)) for last, body in bodies]
    return raw_table(bodies, int(compressed))


# ------------------------------------------------------------------------------------------------------------ tensors


class Tensor(NamedTuple):
    """A tensor to be written.

    Attributes:
        dtype: Name of its type.
        shape: Its dimensions.
        data: Little-endian bytes in C order, unless it is of strings.
        strings: Its elements, if it is of strings.
        shard: The data file that holds it; its parts go to this one and the next ones in turn.
        parts: The slices that it is stored in; none: it is stored whole.
    """

    dtype: str
    shape: tuple[int, ...] = ()
    data: bytes = b""
    strings: tuple[bytes, ...] = ()
    shard: int = 0
    parts: tuple[tuple[Extent, ...], ...] = ()


def array(values: Any, dtype: str = "float32", **more: Any) -> Tensor:
    """A tensor of numbers."""
    made = np.asarray(values).astype(numpy_dtype(dtype))
    return Tensor(dtype, made.shape, made.tobytes(), **more)


def zeros(shape: tuple[int, ...], dtype: str = "float32") -> Tensor:
    """A tensor of zero bytes."""
    return Tensor(dtype, shape, bytes(_count(shape) * ITEMSIZE[dtype]))


def strings(*values: bytes, shape: tuple[int, ...] | None = None, shard: int = 0) -> Tensor:
    """A tensor of strings: a scalar if there is one of them and no shape."""
    if shape is None:
        shape = () if len(values) == 1 else (len(values),)
    return Tensor("string", shape, b"", values, shard)


def _count(shape: Iterable[int]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count


def _cut(tensor: Tensor, extents: Sequence[Extent]) -> tuple[tuple[int, ...], bytes]:
    """Shape and bytes of a slice."""
    whole = np.frombuffer(tensor.data, f"V{ITEMSIZE[tensor.dtype]}").reshape(tensor.shape)
    piece = whole[tuple(slice(None) if length == -1 else slice(start, start + length) for start, length in extents)]
    return piece.shape, piece.tobytes()


def split(shape: Sequence[int], lengths: Sequence[int], axis: int = 0) -> tuple[tuple[Extent, ...], ...]:
    """The slices of a variable that is partitioned along one axis."""
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    return tuple(
        tuple((start, length) if each == axis else (0, -1) for each in range(len(shape)))
        for start, length in zip(starts, lengths, strict=True)
    )


def _encoded(tensor: Tensor, data: bytes, *, big_endian: bool) -> tuple[bytes, int]:
    """A tensor's bytes in a data file, and their checksum."""
    if tensor.dtype != "string":
        width = ITEMSIZE[tensor.dtype] // (2 if tensor.dtype.startswith("complex") else 1)
        stored = swapped(data, width) if big_endian and width > 1 else data
        return stored, masked_crc32c(stored)
    order = "big" if big_endian else "little"
    lengths = b"".join(
        len(each).to_bytes(4, "big" if big_endian else "little") for each in tensor.strings
    )  # what is checked, though varints are stored
    check = masked_crc32c(lengths).to_bytes(4, "big" if order == "big" else "little")
    payload = b"".join(tensor.strings)
    stored = b"".join(varint(len(each)) for each in tensor.strings) + check + payload
    return stored, masked_crc32c(lengths + check + payload)


# ------------------------------------------------------------------------------------------------------------ bundles


@dataclass
class Index:
    """What an index is going to say; a test may change it before it is written."""

    header: pb.BundleHeader
    entries: dict[bytes, pb.BundleEntry] = field(default_factory=dict)
    sort: bool = True


def write_bundle(
    prefix: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    num_shards: int = 1,
    big_endian: bool = False,
    block_size: int = 262_144,
    restart_interval: int = 16,
    compressed: bool = False,
    gap: int = 0,
    edit: Callable[[Index], object] | None = None,
) -> str:
    """Writes `P.index` and its data files; answers the prefix.

    Args:
        prefix: P; its directory is made.
        tensors: Name → tensor, in the order in which their bytes are written.
        num_shards: Number of data files.
        big_endian: Write as a big-endian machine does.
        block_size: Of the index.
        restart_interval: Of the index.
        compressed: The index is of snappy blocks.
        gap: Bytes between tensors that belong to none.
        edit: Changes the index before it is written.
    """
    path = os.fspath(prefix)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    index = Index(pb.BundleHeader(num_shards=num_shards, endianness=int(big_endian), version=pb.VersionDef(producer=1)))
    shards = [bytearray() for _ in range(num_shards)]

    def store(key: bytes, tensor: Tensor, shape: tuple[int, ...], data: bytes, shard: int) -> None:
        stored, crc = _encoded(tensor, data, big_endian=big_endian)
        index.entries[key] = pb.BundleEntry(
            dtype=DTYPES[tensor.dtype],
            shape=_shape(shape),
            shard_id=shard,
            offset=len(shards[shard]),
            size=len(stored),
            crc32c=crc,
        )
        shards[shard] += stored + b"\xaa" * gap

    for name, tensor in tensors.items():
        key = name.encode("utf-8", "surrogateescape")
        if not tensor.parts:
            store(key, tensor, tensor.shape, tensor.data, tensor.shard)
            continue
        index.entries[key] = pb.BundleEntry(
            dtype=DTYPES[tensor.dtype], shape=_shape(tensor.shape), slices=[_slice(each) for each in tensor.parts]
        )
        for number, extents in enumerate(tensor.parts):
            shape, data = _cut(tensor, extents)
            store(encode_slice_key(key, extents), tensor, shape, data, (tensor.shard + number) % num_shards)
    if edit is not None:
        edit(index)
    pairs = [(key, entry.SerializeToString()) for key, entry in index.entries.items()]
    pairs = sorted(pairs) if index.sort else pairs
    with open(f"{path}.index", "wb") as file:
        file.write(
            table(
                [(b"", index.header.SerializeToString()), *pairs],
                block_size=block_size,
                restart_interval=restart_interval,
                compressed=compressed,
            )
        )
    for number, shard in enumerate(shards):
        with open(f"{path}.data-{number:05d}-of-{num_shards:05d}", "wb") as file:
            file.write(shard)
    return path


def _shape(shape: Iterable[int]) -> pb.TensorShape:
    return pb.TensorShape(dim=[pb.TensorShape.Dim(size=extent) for extent in shape])


def _slice(extents: Iterable[Extent]) -> pb.TensorSlice:
    return pb.TensorSlice(
        extent=[
            pb.TensorSlice.Extent() if length == -1 else pb.TensorSlice.Extent(start=start, length=length)
            for start, length in extents
        ]
    )


# ------------------------------------------------------------------------------------------------------ V1 checkpoints

_TYPED = {
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "float16": "half_val",
    "bfloat16": "half_val",
    "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
}


def write_v1(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    block_size: int = 262_144,
    edit: Callable[[list[tuple[bytes, bytes]]], object] | None = None,
) -> str:
    """Writes a V1 checkpoint: one table of slices, their values inside it.

    Args:
        path: The file.
        tensors: Name → tensor.
        block_size: Of the table.
        edit: Changes its entries before they are written.
    """
    meta = pb.SavedTensorSliceMeta(versions=pb.VersionDef(producer=1))
    entries: list[tuple[bytes, bytes]] = []
    for name, tensor in tensors.items():
        parts = tensor.parts or (tuple((0, -1) for _ in tensor.shape),)
        key = name.encode()
        meta.tensor.append(
            pb.SavedSliceMeta(
                name=key,
                shape=_shape(tensor.shape),
                type=DTYPES[tensor.dtype],
                slice=[_slice(each) for each in parts],
            )
        )
        for extents in parts:
            data = pb.SavedSlice(name=key, slice=_slice(extents), data=_typed(tensor, extents))
            value = pb.SavedTensorSlices(data=data).SerializeToString()
            entries.append((encode_slice_key(key, extents), value))
    entries = [(b"", pb.SavedTensorSlices(meta=meta).SerializeToString()), *sorted(entries)]
    if edit is not None:
        edit(entries)
    os.makedirs(os.path.dirname(os.fspath(path)) or ".", exist_ok=True)
    with open(path, "wb") as file:
        file.write(table(entries, block_size=block_size))
    return os.fspath(path)


def _typed(tensor: Tensor, extents: Sequence[Extent]) -> pb.TensorProto:
    """A slice's values in the field of its type; TensorFlow writes neither dtype nor shape here."""
    proto = pb.TensorProto(dtype=DTYPES[tensor.dtype])
    if tensor.dtype == "string":
        proto.string_val.extend(tensor.strings)
        return proto
    _, data = _cut(tensor, extents)
    plain = {"float16": "u2", "bfloat16": "u2", "complex64": "f4", "complex128": "f8"}.get(tensor.dtype)
    values = np.frombuffer(data, plain or numpy_dtype(tensor.dtype))
    getattr(proto, _TYPED.get(tensor.dtype, "int_val")).extend(values.tolist())
    return proto


# ------------------------------------------------------------------------------------------------------- state files


def write_state(directory: str | os.PathLike[str], latest: str, *others: str) -> str:
    """Writes a directory's `checkpoint` file: the latest prefix, and those before it."""
    path = os.path.join(directory, "checkpoint")
    lines = [f'model_checkpoint_path: "{latest}"']
    lines += [f'all_model_checkpoint_paths: "{each}"' for each in (*others, latest)]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path
