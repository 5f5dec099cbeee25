"""zarr arrays by numpy alone, in any layout that the formats allow, as the values of a store."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zstandard
from numpy.typing import NDArray

PACKERS: Mapping[str, Callable[[bytes], bytes]] = {
    "zstd": lambda data: zstandard.ZstdCompressor(level=1, write_content_size=False).compress(data),
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "crc32c": lambda data: data + struct.pack("<I", google_crc32c.value(data)),
}
_NOWHERE = (1 << 64) - 1


def padded(array: NDArray[Any], chunk: Sequence[int]) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
    """Every chunk by its place, those at the edge filled up."""
    for place in product(*(range(-(-extent // size)) for extent, size in zip(array.shape, chunk, strict=True))):
        window = tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, chunk, strict=True))
        part = array[window]
        whole = np.full(chunk, 77, array.dtype)
        whole[tuple(slice(0, extent) for extent in part.shape)] = part
        yield place, whole


def v2(
    array: NDArray[Any], chunk: Sequence[int], *, packer: str | None = None, order: Any = "C", separator: str = "."
) -> dict[str, bytes]:
    """An array of zarr v2: its values by the ends of their keys."""
    name = array.dtype.name if array.dtype.kind == "V" else array.dtype.str
    fields = {
        "zarr_format": 2, "shape": list(array.shape), "chunks": list(chunk), "dtype": name, "order": order,
        "compressor": None if packer is None else {"id": packer, "level": 1}, "fill_value": None, "filters": None,
        "dimension_separator": separator,
    }  # fmt: skip
    found = {".zarray": json.dumps(fields).encode()}
    for place, whole in padded(array, chunk):
        data = whole.tobytes(order)
        found[separator.join(map(str, place)) or "0"] = data if packer is None else PACKERS[packer](data)
    return found


def v3(
    array: NDArray[Any],
    chunk: Sequence[int],
    *,
    packers: Sequence[str] = (),
    inner: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    first: bool = False,
) -> dict[str, bytes]:
    """An array of zarr v3; with `inner`, each chunk is a shard of such chunks."""
    big = array.dtype.byteorder == ">"
    codecs: list[Any] = [{"name": "bytes", "configuration": {"endian": "big" if big else "little"}}]
    codecs += [{"name": name, "configuration": {}} for name in packers]
    if axes is not None:
        codecs.insert(0, {"name": "transpose", "configuration": {"order": list(axes)}})
    if inner is not None:
        index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
        settings: dict[str, Any] = {"chunk_shape": list(inner), "codecs": codecs, "index_codecs": index}
        settings["index_location"] = "start" if first else "end"
        codecs = [{"name": "sharding_indexed", "configuration": settings}]
    fields = {
        "zarr_format": 3, "node_type": "array", "shape": list(array.shape), "data_type": array.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunk)}},
        "chunk_key_encoding": {"name": "default"}, "fill_value": 0, "codecs": codecs,
    }  # fmt: skip
    found = {"zarr.json": json.dumps(fields).encode()}
    for place, whole in padded(array, chunk):
        data = _shard(whole, inner, packers, first=first) if inner is not None else _coded(whole, packers, axes)
        found["/".join(["c", *map(str, place)])] = data
    return found


def _coded(whole: NDArray[Any], packers: Sequence[str], axes: Sequence[int] | None = None) -> bytes:
    data = (whole if axes is None else whole.transpose(axes)).tobytes()
    for name in packers:
        data = PACKERS[name](data)
    return data


def _shard(whole: NDArray[Any], inner: Sequence[int], packers: Sequence[str], *, first: bool) -> bytes:
    parts = [_coded(part, packers) for _, part in padded(whole, inner)]
    nbytes = 16 * len(parts) + 4
    at = nbytes if first else 0
    index = b""
    for part in parts:
        index += struct.pack("<2Q", at, len(part))
        at += len(part)
    index = PACKERS["crc32c"](index)
    return index + b"".join(parts) if first else b"".join(parts) + index


def write(folder: Path, arrays: Mapping[str, Mapping[str, bytes]]) -> Path:
    """A directory of arrays."""
    for name, values in arrays.items():
        for key, data in values.items():
            path = folder / name / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return folder
