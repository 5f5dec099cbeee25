"""The order of an array's bytes, without numpy: for the small arrays that are carried inline."""

from __future__ import annotations

from ckptdoctor.containers.tensors.dtypes import ITEMSIZE


def c_order(data: bytes, shape: tuple[int, ...], dtype: str, *, big: bool, fortran: bool) -> bytes:
    """Little-endian, row-major bytes of an array that may be stored big-endian or column-major."""
    width = ITEMSIZE.get(dtype, 1)
    if big and width > 1:
        data = swapped(data, width // 2 if dtype.startswith("complex") else width)
    if fortran and len(shape) > 1 and data:
        data = _row_major(data, shape, len(data) // _product(shape))
    return data


def swapped(data: bytes, width: int) -> bytes:
    """Each element's bytes in reverse."""
    result = bytearray(len(data))
    for index in range(width):
        result[index::width] = data[width - 1 - index :: width]
    return bytes(result)


def _row_major(data: bytes, shape: tuple[int, ...], width: int) -> bytes:
    """Transposes one axis at a time: column-major (a, …) is, for each index of the rest, a run of `a` elements."""
    first, rest = shape[0], _product(shape[1:])
    rows = []
    for index in range(first):
        row = bytearray(rest * width)
        for byte in range(width):
            row[byte::width] = data[index * width + byte :: first * width]
        rows.append(bytes(row))
    if len(shape) > 2:
        rows = [_row_major(row, shape[1:], width) for row in rows]
    return b"".join(rows)


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count
