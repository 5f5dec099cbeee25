"""The texts of HDF5 attributes: of one length, or in heaps (HDF5 File Format Specification 3.0, III.E)."""

from __future__ import annotations

import struct

from ckptdoctor.containers.hdf5.messages import Attribute, ElementType, nbytes
from ckptdoctor.containers.hdf5.opening import Strange

Heaps = dict[int, dict[int, bytes]]
"""By address, and by the number of what lies in one."""
VARIABLE = ElementType("string", 16)
_TEXT = struct.Struct("<IQI")
"""A text of variable length: its length, the heap it lies in, its number there."""
_OBJECT = struct.Struct("<H6xQ")


def heaps_of(found: Attribute) -> list[int]:
    """The heaps that an attribute's texts lie in."""
    return [heap for _, heap, number in _TEXT.iter_unpack(found.data[: nbytes(found.type, found.shape)]) if number]


def objects(heap: bytes) -> dict[int, bytes]:
    """What lies in a heap, by number; raises Strange."""
    found: dict[int, bytes] = {}
    at = 16
    while len(heap) - at >= _OBJECT.size:
        number, size = _OBJECT.unpack_from(heap, at)
        end = at + size if not number else at + _OBJECT.size + -(-size // 8) * 8
        if end > len(heap) or number in found or (not number and end != len(heap)):
            raise Strange
        if number:
            found[number] = heap[at + _OBJECT.size : at + _OBJECT.size + size]
        at = end
    return found


def texts(found: Attribute, heaps: Heaps) -> list[bytes] | list[str]:
    """The texts of an attribute, in C order; raises Strange."""
    data, item = found.data[: nbytes(found.type, found.shape)], found.type.item
    if found.type == VARIABLE:
        return [_in_heap(heaps, heap, number, length) for length, heap, number in _TEXT.iter_unpack(data)]
    parts = [data[at : at + item] for at in range(0, len(data), item)]
    return [each.partition(b"\0")[0] if found.type.ends else each.rstrip(b"\0") for each in parts]


def _in_heap(heaps: Heaps, heap: int, number: int, length: int) -> str:
    if not length and not number:  # nothing was written; what is empty lies in a heap, too
        return ""
    data = heaps.get(heap, {}).get(number)
    if data is None or len(data) != length:
        raise Strange
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
