"""CRC-32 of parts and of wholes."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st

from ckptdoctor.containers.bytes.crc32 import combined, fastest


@given(st.binary(), st.binary())
def test_combined(first: bytes, second: bytes) -> None:
    """What two parts come to is the checksum of both together."""
    assert combined(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


def test_combined_of_much() -> None:
    """Also where a part is of gigabytes: its length counts bit by bit, not byte by byte."""
    zeros = 0
    block = zlib.crc32(bytes(1 << 20))
    for _ in range(3000):
        zeros = combined(zeros, block, 1 << 20)
    whole = zlib.crc32(b"head")
    in_one = combined(whole, zeros, 3000 << 20)
    for _ in range(3000):
        whole = combined(whole, block, 1 << 20)
    assert whole == in_one


@given(st.binary(), st.integers(0, 0xFFFFFFFF))
def test_fastest(data: bytes, start: int) -> None:
    """Whatever library sums up, it is the same checksum, continued from any."""
    assert fastest()(data, start) == fastest(len(data))(data, start) == zlib.crc32(data, start)
