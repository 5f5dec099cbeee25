"""Snappy's raw format."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import snappy, varint

from ckptdoctor.containers.tables.snappy import MAX_OUTPUT, decompress
from ckptdoctor.containers.tables.wire import CorruptBytes


@pytest.mark.parametrize("size", [0, 1, 59, 60, 61, 255, 256, 257, 65_535, 65_536, 65_537, 200_000])
def test_literals(size: int) -> None:
    """Literals of every length encoding come back."""
    data = random.Random(size).randbytes(size)
    assert decompress(snappy(data)) == data


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x04ab" + b"\x11\x02", b"ab" * 5),
        (b"\x0cabcd" + b"\x01\x04", b"abcdabcd"),
        (b"\x00a" + b"\x1e\x01\x00", b"a" * 9),
        (b"\x0cabcd" + b"\x0f\x04\x00\x00\x00", b"abcdabcd"),
        (b"\xf0\x03abcd" + b"\x00e", b"abcde"),
        (b"\xfc\x03\x00\x00\x00abcd", b"abcd"),
    ],
    ids=["overlap", "one-byte offset", "run", "four-byte offset", "length of one byte", "length of four bytes"],
)
def test_tags(data: bytes, expected: bytes) -> None:
    """Copies of each kind, overlapping ones too, as the format's description has them."""
    assert decompress(varint(len(expected)) + data) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no varint"),
        (varint(1 << 32) + b"\x00a", "claims 4,294,967,296 bytes"),
        (varint(MAX_OUTPUT + 1), "claims"),
        (b"\x05\x00a", "gives 1 bytes instead of 5"),
        (b"\x01\x04ab", "gives 2 bytes instead of 1"),
        (b"\x08\x1cabc", "a snappy literal runs past the block"),
        (b"\x08\xf0", "runs past the block"),
        (b"\x08\x01", "a snappy copy runs past the block"),
        (b"\x08\x00a\x01\x02", "a snappy copy points before the block"),
        (b"\x08\x00a\x01\x00", "a snappy copy points before the block"),
    ],
    ids=[
        "empty", "4 GiB", "over the limit", "too little", "too much", "literal cut", "length cut", "copy cut",
        "too far", "offset 0",
    ],
)  # fmt: skip
def test_corrupt(data: bytes, message: str) -> None:
    """A block that is cut, lies about its size or copies from nowhere is refused."""
    with pytest.raises(CorruptBytes, match=message):
        decompress(data)


def test_a_bomb_stays_within_its_claim() -> None:
    """Decompression stops as soon as there is more than was announced."""
    bomb = varint(100) + b"\x00a" + b"\xfe\x01\x00" * 1_000_000
    with pytest.raises(CorruptBytes, match=r"gives 1\d\d bytes instead of 100"):
        decompress(bomb)


@given(st.binary(max_size=200))
def test_garbage(data: bytes) -> None:
    """Any bytes are decompressed or refused, nothing else."""
    with contextlib.suppress(CorruptBytes):
        decompress(data)
