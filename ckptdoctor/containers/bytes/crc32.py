"""CRC-32 as zip archives store it: of bytes, by the fastest there is, and of a whole from those of its parts."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

_POLYNOMIAL = 0xEDB88320
_ONE = 1 << 31
"""Polynomials over GF(2) with their terms reversed: the highest bit is x to the power of 0."""

_MANY = 256 << 10


def fastest(nbytes: int = _MANY) -> Callable[[Buffer, int], int]:
    """zlib-ng's, ten times as fast as zlib's, where there are wheels of it.

    Args:
        nbytes: So many are to be summed up: of a few zlib's own has told before zlib-ng is loaded.
    """
    if nbytes < _MANY:
        return zlib.crc32
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return zlib.crc32
    found: Callable[[Buffer, int], int] = zlib_ng.crc32
    return found


def combined(first: int, second: int, length: int) -> int:
    """The CRC-32 of two parts, one after the other, as zlib's `crc32_combine` has it.

    Args:
        first: That of the first part.
        second: That of the second part.
        length: Bytes of the second part.
    """
    power, square = _ONE, _ONE >> 8  # x to the power of 0, and of 8: a byte
    while length:
        if length & 1:
            power = _product(power, square)
        square = _product(square, square)
        length >>= 1
    return _product(power, first) ^ second


def _product(one: int, other: int) -> int:
    """One polynomial times another, modulo that of the checksum."""
    result, bit = 0, _ONE
    while bit:
        if one & bit:
            result ^= other
        other = other >> 1 ^ _POLYNOMIAL if other & 1 else other >> 1
        bit >>= 1
    return result
