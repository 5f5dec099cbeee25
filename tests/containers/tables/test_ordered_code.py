"""OrderedCode: the binary keys of tensor slices."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptdoctor.containers.tables.ordered_code import Extent, decode_slice_key, encode_slice_key
from ckptdoctor.containers.tables.wire import CorruptBytes

# Keys by TensorFlow 2.15 (SaveV2 with shape_and_slices).
BY_TENSORFLOW: list[tuple[bytes, tuple[Extent, ...], str]] = [
    (b"net/d1/kernel", ((0, 2), (0, 4)), "00 6e65742f64312f6b65726e656c 0001 0102 80 82 80 84"),
    (b"v", ((0, -1),), "00 76 0001 0101 80 7f"),
    (b"v", (), "00 76 0001 00"),
    (b"v", ((64, 8192),), "00 76 0001 0101 c040 e02000"),
    (b"a\0b\xffc", ((1, 2),), "00 61 00ff 62 ff00 63 0001 0101 81 82"),
]


@pytest.mark.parametrize(("name", "extents", "key"), BY_TENSORFLOW)
def test_keys_by_tensorflow(name: bytes, extents: tuple[Extent, ...], key: str) -> None:
    """What TensorFlow writes is read, and written the same."""
    assert decode_slice_key(bytes.fromhex(key)) == (name, extents)
    assert encode_slice_key(name, extents) == bytes.fromhex(key)


_EXTENT = st.tuples(st.integers(0, 2**62), st.one_of(st.just(-1), st.integers(0, 2**62)))


@given(st.binary(max_size=20), st.lists(_EXTENT, max_size=9).map(tuple))
def test_round_trip(name: bytes, extents: tuple[Extent, ...]) -> None:
    """Every name and every extent comes back from its key."""
    assert decode_slice_key(encode_slice_key(name, extents)) == (name, extents)


@pytest.mark.parametrize("exponent", range(63))
def test_borders_of_signed_numbers(exponent: int) -> None:
    """Numbers around each power of two, where the number of bytes changes, come back."""
    for value in (2**exponent - 1, 2**exponent, -(2**exponent)):
        assert decode_slice_key(encode_slice_key(b"v", ((value, 1),)))[1] == ((value, 1),)


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_keys_sort_as_their_numbers(one: int, other: int) -> None:
    """The order of keys is the order of slices: TensorFlow's search relies on it."""
    first, second = encode_slice_key(b"v", ((one, 1),)), encode_slice_key(b"v", ((other, 1),))
    assert (first < second) == (one < other)


KEY = encode_slice_key(b"kernel", ((0, 2), (0, -1)))


@pytest.mark.parametrize("length", range(len(KEY)))
def test_truncated(length: int) -> None:
    """No beginning of a key is a key."""
    with pytest.raises(CorruptBytes, match="a slice"):
        decode_slice_key(KEY[:length])


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (b"\x01\x05" + KEY[1:], "does not begin with 0"),
        (KEY + b"\0", "bytes to spare"),
        (b"\x00a\x00\x02\x00\x01\x00", "not escaped"),
        (b"\x00a\xff\x01\x00\x01\x00", "not escaped"),
        (b"\x00a\x00\x01\x02\x7f\xff", "a slice of rank 32767"),
        (b"\x00a\x00\x01\x09" + b"\xff" * 9, "a number too long"),
        (b"\x00a\x00\x01\x01\x01" + b"\xff" * 30, "a number too long"),
        (b"\x00a\x00\x01\x01\x01" + b"\x00" * 30, "a number too long"),
    ],
    ids=["first byte", "spare", "zero", "255", "rank", "9-byte number", "long positive", "long negative"],
)
def test_corrupt(key: bytes, message: str) -> None:
    """A key that says what no key says is refused."""
    with pytest.raises(CorruptBytes, match=message):
        decode_slice_key(key)


@given(st.binary(max_size=40))
def test_garbage(data: bytes) -> None:
    """Any bytes are a key or refused, nothing else."""
    with contextlib.suppress(CorruptBytes):
        decode_slice_key(b"\0" + data)
