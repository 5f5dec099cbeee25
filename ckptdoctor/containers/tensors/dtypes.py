"""Element types: TensorFlow's numbers for them, their names in numpy and ml_dtypes, and their sizes."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable
from math import prod
from operator import itemgetter

from ckptdoctor.references import TensorRef

# tensorflow/core/framework/types.proto, DataType; sizes are those in a TensorBundle (sub-byte types take a whole byte).
TENSORFLOW: dict[int, tuple[str, int]] = {
    1: ("float32", 4),
    2: ("float64", 8),
    3: ("int32", 4),
    4: ("uint8", 1),
    5: ("int16", 2),
    6: ("int8", 1),
    7: ("string", 0),
    8: ("complex64", 8),
    9: ("int64", 8),
    10: ("bool", 1),
    11: ("qint8", 1),
    12: ("quint8", 1),
    13: ("qint32", 4),
    14: ("bfloat16", 2),
    15: ("qint16", 2),
    16: ("quint16", 2),
    17: ("uint16", 2),
    18: ("complex128", 16),
    19: ("float16", 2),
    20: ("resource", 0),
    21: ("variant", 0),
    22: ("uint32", 4),
    23: ("uint64", 8),
    24: ("float8_e5m2", 1),
    25: ("float8_e4m3fn", 1),
    26: ("float8_e4m3fnuz", 1),
    27: ("float8_e4m3b11fnuz", 1),
    28: ("float8_e5m2fnuz", 1),
    29: ("int4", 1),
    30: ("uint4", 1),
    31: ("int2", 1),
    32: ("uint2", 1),
    33: ("float4_e2m1fn", 1),
}
"""DataType number → name and bytes an element; 0 bytes: elements have no fixed size."""

OPAQUE = {
    "complex32": 4, "float4_e2m1fn_x2": 1, "bits8": 1, "bits16": 2, "bits1x8": 1, "bits2x4": 1, "bits4x2": 1,
}  # fmt: skip
"""PyTorch's types that nobody else has numbers for → bytes an element: they are carried and compared as they are."""
ITEMSIZE: dict[str, int] = {
    **{name: size for name, size in TENSORFLOW.values() if size}, "float8_e8m0fnu": 1, **OPAQUE,
}  # fmt: skip
"""Name → bytes an element, for types of fixed size."""

INTEGRAL = frozenset(
    {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "int4", "uint4", "int2", "uint2"}
)
"""The types that count."""

_STRUCT = {
    "float16": "e",
    "float32": "f",
    "float64": "d",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
    "bool": "?",
}


def array_nbytes(dtype: str, shape: tuple[int, ...]) -> int:
    """Bytes of an array's elements; 0 for types without a fixed size."""
    return prod(shape) * ITEMSIZE.get(dtype, 0)


def nbytes(ref: TensorRef) -> int:
    """Bytes of a tensor's elements; 0 for types without a fixed size."""
    return array_nbytes(ref.dtype, ref.shape)


def total_nbytes(refs: Iterable[TensorRef]) -> int:
    """Bytes of the elements of all of them, which are of a few types and shapes."""
    alike = Counter(map(itemgetter(1, 2), refs))
    return sum([count * array_nbytes(dtype, shape) for (dtype, shape), count in alike.items()])


def tensorflow_dtype(number: int) -> str:
    """The name of a DataType number; numbers that no TensorFlow knows answer `unknown(N)`."""
    known = TENSORFLOW.get(number)
    return known[0] if known else f"unknown({number})"


def unpack_scalar(dtype: str, data: bytes, *, big_endian: bool = False) -> int | float | bool | None:
    """One element from its bytes, without numpy; None for types that Python has no number for."""
    if len(data) != ITEMSIZE.get(dtype):
        return None
    if dtype == "bfloat16":
        ordered = data if big_endian else data[::-1]
        value: float = struct.unpack(">f", ordered + b"\0\0")[0]
        return value
    code = _STRUCT.get(dtype)
    if code is None:
        return None
    number: int | float | bool = struct.unpack((">" if big_endian else "<") + code, data)[0]
    return number
