"""Arrays as zarr, v2 and v3, in one chunk each, compressed by zstd: what Orbax writes of an array on one device."""

import json
import struct
from collections.abc import Iterator
from typing import NamedTuple

from ckptdoctor.containers.tensors.dtypes import array_nbytes
from ckptdoctor.containers.tensors.shard_data import Constant, pieces
from ckptdoctor.errors import GraftRefused
from ckptdoctor.references import TensorRef

_V2_TYPES = {
    "bool": "|b1", "int8": "|i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "uint8": "|u1", "uint16": "<u2",
    "uint32": "<u4", "uint64": "<u8", "float16": "<f2", "float32": "<f4", "float64": "<f8", "complex64": "<c8",
    "complex128": "<c16", "bfloat16": "bfloat16",
}  # fmt: skip
_LEVELS = {2: 1, 3: 3}
"""Levels of zstd, by the version of the format."""


class NewArray(NamedTuple):
    """An array to be written.

    Attributes:
        name: Its name in the store.
        dtype: Its type.
        shape: Its shape.
        content: A tensor, the bytes of a scalar, one number for every element, or None for zeros.
        factor: What a tensor's values are multiplied by.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    content: TensorRef | bytes | Constant | None
    factor: float = 1.0

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return array_nbytes(self.dtype, self.shape)


def metadata(array: NewArray, version: int) -> tuple[str, bytes]:
    """The key and the bytes of an array's metadata.

    Raises:
        GraftRefused: The format has no such type.
    """
    if array.dtype not in _V2_TYPES:
        raise GraftRefused(f"{array.name!r} is {array.dtype}, which zarr arrays of Orbax cannot hold")
    fields = _v3(array) if version == 3 else _v2(array)
    ending = "zarr.json" if version == 3 else ".zarray"
    return f"{array.name}/{ending}", json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()


def _chunk(array: NewArray) -> list[int]:
    return [max(extent, 1) for extent in array.shape]


def _v2(array: NewArray) -> dict[str, object]:
    return {
        "chunks": _chunk(array), "compressor": {"id": "zstd", "level": _LEVELS[2]}, "dimension_separator": ".",
        "dtype": _V2_TYPES[array.dtype], "fill_value": None, "filters": None, "order": "C",
        "shape": list(array.shape), "zarr_format": 2,
    }  # fmt: skip


def _v3(array: NewArray) -> dict[str, object]:
    plain: dict[str, object] = {"name": "bytes"}
    if array.dtype not in {"bool", "int8", "uint8"}:
        plain["configuration"] = {"endian": "little"}
    numbers = {"name": "bytes", "configuration": {"endian": "little"}}
    packed = {"name": "zstd", "configuration": {"level": _LEVELS[3], "checksum": False}}
    shard = {"chunk_shape": _chunk(array), "codecs": [plain, packed], "index_codecs": [numbers, {"name": "crc32c"}]}
    zero: object = False if array.dtype == "bool" else 0 if "int" in array.dtype else 0.0
    return {
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": _chunk(array)}},
        "chunk_key_encoding": {"name": "default"},
        "codecs": [{"name": "sharding_indexed", "configuration": shard}],
        "data_type": array.dtype, "fill_value": [zero, zero] if array.dtype.startswith("complex") else zero,
        "node_type": "array", "shape": list(array.shape), "zarr_format": 3,
    }  # fmt: skip


def chunk_key(array: NewArray, version: int) -> str | None:
    """The key of an array's only chunk; None where the array has no elements, and so no chunk."""
    if not array.nbytes:
        return None
    places = ["0"] * len(array.shape)
    if version == 3:
        return "/".join((array.name, "c", *places))
    return f"{array.name}/{'.'.join(places) or '0'}"


def chunk(array: NewArray, version: int) -> Iterator[bytes]:
    """The bytes of that chunk, piece by piece.

    Raises:
        GraftRefused: The values do not fit the type or the shape.
        UnreadableArtifact: The source is truncated, or its checksum does not match.
    """
    import zstandard

    packing = zstandard.ZstdCompressor(level=_LEVELS[version]).compressobj(size=array.nbytes)
    size = 0
    for piece in pieces(array.content, array.name, array.dtype, array.shape, array.factor):
        packed = packing.compress(piece)
        size += len(packed)
        yield packed
    packed = packing.flush()
    yield packed
    if version == 3:
        yield _index(size + len(packed))


def _index(nbytes: int) -> bytes:
    """The index of a shard of one chunk, which stands behind it."""
    import google_crc32c

    index = struct.pack("<QQ", 0, nbytes)
    return index + struct.pack("<I", google_crc32c.value(index))
