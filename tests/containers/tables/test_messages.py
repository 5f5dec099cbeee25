"""Messages read by hand are what the protocol buffer library reads."""

from __future__ import annotations

import contextlib
import struct

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.tables.messages import Message
from ckptdoctor.containers.tables.wire import CorruptBytes

INT32 = st.integers(-(1 << 31), (1 << 31) - 1)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TENSORS = st.builds(
    pb.TensorProto,
    dtype=INT32,
    tensor_content=st.binary(max_size=5),
    float_val=st.lists(st.floats(width=32, allow_nan=False), max_size=3),
    double_val=st.lists(st.floats(allow_nan=False), max_size=3),
    int_val=st.lists(INT32, max_size=3),
    int64_val=st.lists(INT64, max_size=3),
    bool_val=st.lists(st.booleans(), max_size=3),
)
ENTRIES = st.builds(
    pb.BundleEntry, dtype=INT32, shard_id=INT32, offset=INT64, size=INT64, crc32c=st.integers(0, (1 << 32) - 1)
)


def _same_tensor(raw: bytes) -> None:
    mine, theirs = Message(raw), pb.TensorProto.FromString(raw)
    assert mine.integer(1, bits=32) == theirs.dtype
    assert mine.raw(5) == struct.pack(f"<{len(theirs.float_val)}f", *theirs.float_val)
    assert mine.raw(6) == struct.pack(f"<{len(theirs.double_val)}d", *theirs.double_val)
    assert mine.integers(7, bits=32) == list(theirs.int_val)
    assert mine.integers(10) == list(theirs.int64_val)
    assert [value != 0 for value in mine.integers(11)] == list(theirs.bool_val)


@given(TENSORS)
def test_numbers(message: pb.TensorProto) -> None:
    """Signed and unsigned, packed, of fixed size."""
    _same_tensor(message.SerializeToString())


@given(ENTRIES, ENTRIES)
def test_the_last_one_counts(first: pb.BundleEntry, second: pb.BundleEntry) -> None:
    """Of a field that is given twice the last value counts, as where two messages are joined."""
    raw = first.SerializeToString() + second.SerializeToString()
    mine, theirs = Message(raw), pb.BundleEntry.FromString(raw)
    found = (mine.integer(1, bits=32), mine.integer(3, bits=32), mine.integer(4), mine.integer(5))
    assert found == (theirs.dtype, theirs.shard_id, theirs.offset, theirs.size)
    assert mine.fixed32(6) == theirs.crc32c


def test_messages_in_parts() -> None:
    """A message that is given in two parts is one; texts are texts."""
    one, two = pb.MetaInfo(tags=["a", "b"]), pb.MetaInfo(tensorflow_version="2.1", tags=["ü"])
    both = Message(one.SerializeToString() + two.SerializeToString())
    assert (both.texts(4), both.text(5), both.text(9)) == (["a", "b", "ü"], "2.1", "")
    assert 5 in both
    assert 9 not in both
    header = pb.BundleHeader(num_shards=3, version=pb.VersionDef(producer=1)).SerializeToString()
    header += pb.BundleHeader(version=pb.VersionDef(min_consumer=2)).SerializeToString()
    version = Message(header).message(3)
    assert (version.integer(1), version.integer(2)) == (1, 2)


def test_unpacked_numbers() -> None:
    """Repeated numbers may be written one by one."""
    assert Message(b"\x38\x01\x38\x02\x3a\x02\x03\x04").integers(7) == [1, 2, 3, 4]


@given(st.binary(max_size=40))
def test_any_bytes(raw: bytes) -> None:
    """What the library does not read is no message here either; what is read here means the same."""
    try:
        pb.MetaInfo.FromString(raw)
        Message(raw)
    except DecodeError:
        with pytest.raises(CorruptBytes):
            _texts(raw)
    except CorruptBytes:
        return  # groups, which TensorFlow does not write
    else:
        theirs = pb.MetaInfo.FromString(raw)
        assert _texts(raw) == ([*theirs.tags], theirs.tensorflow_version)


def _texts(raw: bytes) -> tuple[list[str], str]:
    message = Message(raw)
    return message.texts(4), message.text(5)


@pytest.mark.parametrize(
    "seed", [b"\x12\x02\x12\x02\x12\x02\x08\x04", b"\x11abcdefgh", b"\x30\x07", b"\x32\x04abcd\x35efgh"]
)
@given(st.data())
def test_entries_of_any_form(seed: bytes, data: st.DataObject) -> None:
    """Parts of a message that are none by themselves, numbers where a message should be: as the library has it."""
    raw = bytearray(seed)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for each in (seed, bytes(raw)):
        try:
            theirs = pb.BundleEntry.FromString(each)
        except DecodeError:
            with pytest.raises(CorruptBytes):
                _entry(each)
            continue
        with contextlib.suppress(CorruptBytes):  # groups
            assert _entry(each) == (theirs.dtype, [dim.size for dim in theirs.shape.dim], theirs.crc32c)


def _entry(raw: bytes) -> tuple[int, list[int], int]:
    entry = Message(raw)
    for part in entry.messages(7):
        part.messages(1)
    dims = [(dim.integer(1), dim.texts(2)) for dim in entry.message(2).messages(2)]
    return entry.integer(1, bits=32), [size for size, _ in dims], entry.fixed32(6)
