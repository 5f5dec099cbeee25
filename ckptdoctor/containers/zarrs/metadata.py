"""What `.zarray` (zarr v2) and `zarr.json` (v3) say of an array, checked.

Formats: zarr-specs.readthedocs.io, v2 and v3 core. What Orbax writes is read: raw, zstd, gzip and zlib chunks, crc32c,
and shards.
"""

import base64
import binascii
import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

from ckptdoctor.containers.bytes.unpacking import UNPACKERS
from ckptdoctor.containers.strict_json import parse_object
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.containers.tensors.shapes import MAX_ELEMENTS
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import Shard

MAX_RANK = 32
"""numpy's limit up to 1.26; JAX's arrays have no more."""
MAX_CHUNK = 1 << 40
"""Bytes of one chunk: it is unpacked in parts, but somebody has to wait for it."""
_V2_TYPES = {
    "b1": "bool", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64", "u1": "uint8", "u2": "uint16",
    "u4": "uint32", "u8": "uint64", "f2": "float16", "f4": "float32", "f8": "float64", "c8": "complex64",
    "c16": "complex128",
}  # fmt: skip
_FLOATS = {"float16": "e", "float32": "f", "float64": "d"}
_INFINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class Unsupported(UnreadableArtifact):
    """Nothing is wrong with it, but values of this kind are not read."""


class ArrayLayout(NamedTuple):
    """An array's metadata; the fields of `Chunked`, and how the keys of chunks are made."""

    shape: tuple[int, ...]
    dtype: str
    chunk: tuple[int, ...]
    codecs: tuple[str, ...] = ()
    fill: bytes = b""
    big_endian: bool = False
    axes: tuple[int, ...] = ()
    shard: Shard | None = None
    prefix: str = ""
    separator: str = "."

    @property
    def grid(self) -> tuple[int, ...]:
        """How many chunks there are along each axis."""
        return tuple(-(-extent // size) for extent, size in zip(self.shape, self.chunk, strict=True))

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return prod(self.grid)

    def start(self, key: str) -> tuple[int, ...] | None:
        """The index of a chunk's first element, by the end of its key; None if that is no chunk's."""
        if not self.shape:
            return () if key == (self.prefix.rstrip(self.separator) or "0") else None
        if not key.startswith(self.prefix):
            return None
        parts = key[len(self.prefix) :].split(self.separator)
        if len(parts) != len(self.shape) or not all(_is_number(part) for part in parts):
            return None
        place = [int(part) for part in parts]
        if any(at >= most for at, most in zip(place, self.grid, strict=True)):
            return None
        return tuple(at * size for at, size in zip(place, self.chunk, strict=True))


_MOST_DIGITS = 18


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and (text == "0" or text[0] != "0")


def read_metadata(data: bytes, path: str, key: str) -> ArrayLayout | None:
    """Reads a metadata document.

    Args:
        data: Its bytes.
        path: The checkpoint, for errors.
        key: Its key, which ends in `.zarray` or `zarr.json`.

    Returns:
        The array; None for a group.

    Raises:
        UnreadableArtifact: It is not what the format requires.
        Unsupported: Its values are of a type, or coded in a way, that is not read; `shape` and type are not known then.
    """
    fields = parse_object(data, path, key)
    if key.endswith("zarr.json"):
        return None if fields.get("node_type", "array") == "group" else _v3(fields, path, key)
    return _v2(fields, path, key)


def _wrong(what: str, path: str, key: str) -> UnreadableArtifact:
    return UnreadableArtifact(f"is not an array's metadata: {what}", path, place=key)


def _extents(value: object, name: str, path: str, key: str, *, least: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > MAX_RANK:
        raise _wrong(f"its {name} is no list of at most {MAX_RANK} numbers", path, key)
    found = [each for each in value if isinstance(each, int) and not isinstance(each, bool) and each >= least]
    if len(found) != len(value) or prod(found) >= MAX_ELEMENTS or any(each >= MAX_ELEMENTS for each in found):
        raise _wrong(f"its {name} is impossible", path, key)
    return tuple(found)


def _checked(layout: ArrayLayout, path: str, key: str) -> ArrayLayout:
    if len(layout.chunk) != len(layout.shape):
        raise _wrong("its chunks have another number of dimensions", path, key)
    if prod(layout.chunk) * ITEMSIZE[layout.dtype] > MAX_CHUNK:
        raise _wrong("its chunks are larger than any that are read", path, key)
    return layout


def _v2(fields: Mapping[str, object], path: str, key: str) -> ArrayLayout:
    if fields.get("zarr_format") != 2:
        raise _wrong("its zarr_format is not 2", path, key)
    shape = _extents(fields.get("shape"), "shape", path, key, least=0)
    chunk = _extents(fields.get("chunks"), "list of chunks", path, key, least=1)
    name = fields.get("dtype")
    if not isinstance(name, str):
        raise Unsupported("its elements are records, which are not read", path, place=key)
    dtype = _V2_TYPES.get(name[1:]) if name[:1] in {"<", ">", "|"} else name
    if dtype not in ITEMSIZE:
        raise Unsupported(f"its elements are of the type {name[:80]!r}, which is not read", path, place=key)
    compressor = fields.get("compressor")
    coding = compressor.get("id") if isinstance(compressor, Mapping) else None
    if fields.get("filters") or (compressor is not None and coding not in UNPACKERS):
        raise Unsupported(f"it is compressed by {str(coding)[:80]!r}, which is not read", path, place=key)
    order = fields.get("order", "C")
    if order not in {"C", "F"}:
        raise _wrong("its order is neither C nor F", path, key)
    separator = fields.get("dimension_separator", ".")
    return _checked(
        ArrayLayout(
            shape, dtype, chunk,
            codecs=(coding,) if isinstance(coding, str) else (),
            fill=_fill(fields.get("fill_value"), dtype),
            big_endian=name[0] == ">",
            axes=tuple(reversed(range(len(shape)))) if order == "F" and len(shape) > 1 else (),
            separator="/" if separator == "/" else ".",
        ),
        path, key,
    )  # fmt: skip


def _v3(fields: Mapping[str, object], path: str, key: str) -> ArrayLayout:
    if fields.get("zarr_format") != 3:
        raise _wrong("its zarr_format is not 3", path, key)
    shape = _extents(fields.get("shape"), "shape", path, key, least=0)
    dtype = fields.get("data_type")
    if dtype not in ITEMSIZE or not isinstance(dtype, str):
        raise Unsupported(f"its elements are of the type {str(dtype)[:80]!r}, which is not read", path, place=key)
    grid = _named(fields.get("chunk_grid"))
    if grid[0] != "regular":
        raise Unsupported("its chunks are not on a regular grid, and are not read", path, place=key)
    chunk = _extents(grid[1].get("chunk_shape"), "chunk_shape", path, key, least=1)
    encoding, settings = _named(fields.get("chunk_key_encoding"))
    separator = settings.get("separator", "/" if encoding == "default" else ".")
    if encoding not in {"default", "v2"} or separator not in {"/", "."} or fields.get("storage_transformers"):
        raise Unsupported("its chunks have keys of a kind that is not read", path, place=key)
    codecs = fields.get("codecs")
    if not isinstance(codecs, list):
        raise _wrong("it lists no codecs", path, key)
    chain, axes, big, shard = _codecs(codecs, len(shape), path, key)
    return _checked(
        ArrayLayout(
            shape, dtype, chunk,
            codecs=chain,
            fill=_fill(fields.get("fill_value"), dtype),
            big_endian=big,
            axes=axes,
            shard=shard,
            prefix=f"c{separator}" if encoding == "default" else "",
            separator=str(separator),
        ),
        path, key,
    )  # fmt: skip


def _named(value: object) -> tuple[str, Mapping[str, object]]:
    """A name and its settings; v3 lets a bare name stand for one without."""
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, Mapping):
        return "", {}
    name, settings = value.get("name"), value.get("configuration")
    return name if isinstance(name, str) else "", settings if isinstance(settings, Mapping) else {}


def _codecs(
    codecs: Sequence[object], rank: int, path: str, key: str
) -> tuple[tuple[str, ...], tuple[int, ...], bool, Shard | None]:
    """Codings of a chunk's bytes, the order of its axes, whether it is big-endian, and whether it is a shard."""
    chain: list[str] = []
    axes: tuple[int, ...] = ()
    big = False
    shard: Shard | None = None
    for each in codecs:
        name, settings = _named(each)
        if name == "bytes":
            big = settings.get("endian") == "big"
        elif name == "transpose":
            order = settings.get("order")
            if not isinstance(order, list) or sorted(order, key=str) != sorted(range(rank), key=str):
                raise _wrong("it transposes axes that it does not have", path, key)
            axes = tuple(order) if order != list(range(rank)) else ()
        elif name in UNPACKERS or name == "crc32c":
            chain.append(name)
        elif name == "sharding_indexed" and shard is None:
            inner, inner_axes, big, nested = _codecs(_list(settings.get("codecs")), rank, path, key)
            index, _, index_big, _ = _codecs(_list(settings.get("index_codecs")), rank, path, key)
            if nested or inner_axes or index_big or set(index) - {"crc32c"}:
                raise Unsupported("its shards are of a kind that is not read", path, place=key)
            extents = _extents(settings.get("chunk_shape"), "chunk_shape", path, key, least=1)
            shard = Shard(extents, inner, index, settings.get("index_location") == "start")
        else:
            raise Unsupported(f"it is coded by {name[:80]!r}, which is not read", path, place=key)
    if "crc32c" in chain[1:-1]:
        raise Unsupported("it has checksums within its codings, and is not read", path, place=key)
    if shard is not None and (chain or axes):
        raise Unsupported("its shards are coded once more, and are not read", path, place=key)
    return tuple(chain), axes, big, shard


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _fill(value: object, dtype: str) -> bytes:
    """The bytes of one element, little-endian; b"" for zeros, and for what is no such element."""
    if isinstance(value, str) and value not in _INFINITE:
        try:
            data = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return b""
        return data if len(data) == ITEMSIZE[dtype] and data.strip(b"\0") else b""
    number = _INFINITE.get(value, 0.0) if isinstance(value, str) else value
    if not isinstance(number, (int, float)) or not number:
        return b""
    size = ITEMSIZE[dtype]
    try:
        if dtype in _FLOATS:
            return struct.pack(f"<{_FLOATS[dtype]}", number)
        if dtype == "bfloat16":
            return struct.pack("<f", number)[2:]
        return int(number).to_bytes(size, "little", signed=number < 0)
    except (OverflowError, ValueError, struct.error):
        return b""
