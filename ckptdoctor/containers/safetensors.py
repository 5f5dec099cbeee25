"""safetensors: eight bytes of length, a JSON header, and the elements of all tensors without gaps.

Source: the format's README and `safetensors/src/tensor.rs` (`validate`), whose refusals are ours. There is no checksum.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from typing import NamedTuple

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.strict_json import parse_object
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import FileRange, TensorRef

MAX_HEADER = 100_000_000
"""Bytes that the library reads of a header."""
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu", "C64": "complex64",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_METADATA = "__metadata__"
_ENDS = ("first", "last")
_INTEGER = frozenset({int})
_NAMED = re.compile(rb'"((?:[^"\\]|\\.)*)"\s*:\s*\{\s*"(?:dtype|shape|data_offsets)"')


class Safetensors(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: By their names, in the header's order.
        metadata: Text beside them.
    """

    tensors: dict[str, TensorRef]
    metadata: Mapping[str, str]


def begins_so(head: bytes, size: int) -> bool:
    """Whether a file may be one: its header fits into it and is an object."""
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and 2 <= length <= min(size - 8, MAX_HEADER) and head[8:9] == b"{"


def read_safetensors(path: str, *, cut_off: bool = False) -> Safetensors:
    """Reads a file's header.

    Args:
        path: The file.
        cut_off: It may end before its tensors do: those that are not all there have no location.

    Raises:
        UnreadableArtifact: It is none, truncated, or claims what is not there.
    """
    with RegularFile(path) as file:
        length = int.from_bytes(file.read(0, 8, "the length of the header"), "little")
        if not 2 <= length <= min(file.size - 8, MAX_HEADER):
            raise UnreadableArtifact(
                f"says that its header has {length:,} bytes, of {file.size:,} in the file: truncated or corrupt",
                path,
            )
        text = file.read(8, length, "the header")
        header = parse_object(text, path, "the header", recursed=False)
        metadata = header.pop(_METADATA, {})
        # The plain count is fast; some of what it counts may be text in the metadata.
        if text.count(b'"data_offsets"') > len(header):
            names = [each for each in _NAMED.findall(text) if each != _METADATA.encode()]
            if len(names) > len(header):
                raise UnreadableArtifact("names a tensor twice in its header", path)
        tensors = {name: _tensor(path, name, entry, 8 + length) for name, entry in header.items()}
        _check_places(path, tensors, 8 + length, None if cut_off else file.size)
        if cut_off:
            tensors = {name: _or_lost(ref, file.size) for name, ref in tensors.items()}
    texts = metadata.items() if isinstance(metadata, dict) else ()
    return Safetensors(tensors, {name: value for name, value in texts if isinstance(value, str)})


def _tensor(path: str, name: str, entry: object, start: int) -> TensorRef:
    told = entry if isinstance(entry, dict) else {}
    kind, shape, place = told.get("dtype"), told.get("shape"), told.get("data_offsets")
    if not (isinstance(kind, str) and isinstance(shape, list) and isinstance(place, list) and len(place) == len(_ENDS)):
        raise UnreadableArtifact(f"describes {name[:80]!r} by something that no tensor has", path)
    dtype = DTYPES.get(kind)
    if dtype is None:
        raise UnreadableArtifact(f"has {name[:80]!r} of the type {kind[:20]!r}, which is not read", path)
    extents = tuple(shape)
    nbytes = _nbytes(dtype, extents) if _INTEGER.issuperset(map(type, extents)) else -1
    first, last = place if _INTEGER.issuperset(map(type, place)) else (-1, -1)
    if not 0 <= first <= last or last - first != nbytes:
        needed = f"{nbytes:,}" if nbytes >= 0 else "no such"
        raise UnreadableArtifact(
            f"gives {name[:80]!r} the bytes {first:,} to {last:,}, where its shape needs {needed}", path
        )
    return TensorRef(name, dtype, extents, FileRange(path, start + first, nbytes))


@lru_cache(4096)
def _nbytes(dtype: str, extents: tuple[int, ...]) -> int:
    """Bytes of a tensor; -1 of a shape that none has."""
    return prod(extents) * ITEMSIZE[dtype] if all(0 <= each < 1 << 62 for each in extents) else -1


def _or_lost(ref: TensorRef, size: int) -> TensorRef:
    place = ref.location
    there = isinstance(place, FileRange) and place.offset + place.nbytes <= size
    return ref if there else ref.at(None)


def _check_places(path: str, tensors: Mapping[str, TensorRef], start: int, size: int | None) -> None:
    """Holds the tensors against the file: one after the other, to its end, where that is to be held."""
    at = start
    for offset, nbytes in sorted([place[1:3] for *_, place, _ in tensors.values() if isinstance(place, FileRange)]):
        if offset != at:
            raise UnreadableArtifact(f"has {'a gap' if offset > at else 'an overlap'} at byte {at:,}", path)
        at += nbytes
    if size is not None and at != size:
        lost = "is truncated" if at > size else "has bytes behind its end"
        raise UnreadableArtifact(f"{lost}: its tensors end at byte {at:,}, the file at {size:,}", path)
