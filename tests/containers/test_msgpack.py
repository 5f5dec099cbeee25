"""msgpack with flax's extensions: what a document holds, and what no document may do."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.msgpack import Array, Opaque, read
from ckptdoctor.containers.tensors.values import assembled
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import FileRange, Inline, TensorRef


def text(value: str) -> bytes:
    """A text."""
    data = value.encode()
    return b"\xd9" + bytes([len(data)]) + data


def binary(data: bytes) -> bytes:
    """Bytes."""
    return b"\xc6" + struct.pack(">I", len(data)) + data


def extension(kind: int, data: bytes, *, size: int | None = None) -> bytes:
    """An extension."""
    return b"\xc9" + struct.pack(">I", len(data) if size is None else size) + bytes([kind]) + data


def array(values: np.ndarray, *, shape: bytes | None = None, dtype: bytes | None = None, kind: int = 1) -> bytes:
    """An array as flax writes it."""
    extents = shape or b"\xdc" + struct.pack(">H", values.ndim) + b"".join(
        b"\xcd" + struct.pack(">H", each) for each in values.shape
    )
    return extension(kind, b"\x93" + extents + (dtype or text(values.dtype.name)) + binary(values.tobytes()))


def mapping(**values: bytes) -> bytes:
    """A map."""
    return b"\xde" + struct.pack(">H", len(values)) + b"".join(text(key) + value for key, value in values.items())


def _of(data: bytes) -> object:
    return read(Cursor(data, "memory"))


def test_plain_values() -> None:
    """Numbers of every width, texts, lists, maps, nothing."""
    numbers = b"\x7f\xff\xcc\xff\xcd\xff\xff\xce\xff\xff\xff\xff\xd0\x80\xd1\x80\x00\xd2\x80\x00\x00\x00"
    assert _of(b"\x98" + numbers) == [127, -1, 255, 65535, 2**32 - 1, -128, -32768, -(2**31)]
    assert _of(b"\x92\xcf" + struct.pack(">Q", 2**64 - 1) + b"\xd3" + struct.pack(">q", -5)) == [2**64 - 1, -5]
    assert _of(b"\x92\xca" + struct.pack(">f", 0.5) + b"\xcb" + struct.pack(">d", 0.1)) == [0.5, 0.1]
    assert _of(mapping(a=b"\xc0", b=b"\xc3", c=b"\xa2hi", d=b"\x90")) == {"a": None, "b": True, "c": "hi", "d": []}
    assert _of(b"\x81\x07\x01") == {"7": 1}
    assert _of(b"\xd6\x05abcd") == Opaque(5, 4)


def test_arrays(tmp_path: Path) -> None:
    """Small ones are kept, large ones are found in the file, and both are what they were."""
    small, large = np.arange(6, dtype="float32").reshape(2, 3), np.arange(5000, dtype="int64").reshape(50, 100)
    path = tmp_path / "state"
    path.write_bytes(mapping(small=array(small), large=array(large), count=array(np.asarray(7, "int32"), kind=3)))
    with RegularFile(str(path)) as file:
        found = read(Cursor(file, str(path)))
    assert isinstance(found, dict)
    assert isinstance(found["small"].location, Inline)
    assert isinstance(found["large"].location, FileRange)
    for name, expected in (("small", small), ("large", large)):
        ref = TensorRef(name, found[name].dtype, found[name].shape, found[name].location)
        assert np.array_equal(assembled(ref).reshape(ref.shape), expected)
    assert found["count"] == Array("int32", (), Inline(struct.pack("<i", 7)))


def test_an_array_in_chunks() -> None:
    """What is larger than a gigabyte flax cuts into pieces of its flat elements."""
    whole = np.arange(24, dtype="float32").reshape(4, 6)
    parts = {str(number): array(part) for number, part in enumerate(np.split(whole.ravel(), [10, 20]))}
    chunked = mapping(
        __msgpack_chunked_array__=b"\xc3", shape=mapping(**{"0": b"\x04", "1": b"\x06"}), chunks=mapping(**parts)
    )
    found = _of(chunked)
    assert isinstance(found, Array)
    assert np.array_equal(assembled(TensorRef("a", found.dtype, found.shape, found.location)), whole.ravel())
    for wrong in ({"0": parts["0"]}, {"0": parts["0"], "2": parts["2"]}, {}):
        with pytest.raises(UnreadableArtifact, match="chunks"):
            _of(mapping(__msgpack_chunked_array__=b"\xc3", shape=mapping(**{"0": b"\x18"}), chunks=mapping(**wrong)))


def test_types_that_are_not_read() -> None:
    """Their shape is known, their values are not."""
    found = _of(array(np.zeros(2, "float32"), dtype=text("object")))
    assert found == Array("object", (2,), None)


_ONE = np.zeros(3, "float32")

WRONG: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "msgpack object"),
    "trailing": (b"\xc0\xc0", "follow its end"),
    "unused tag": (b"\xc1", "no object begins"),
    "cut text": (b"\xd9\x05ab", "text"),
    "not UTF-8": (b"\xa1\xff", "not UTF-8"),
    "2^32 texts": (b"\xdb\xff\xff\xff\xff", "a text of"),
    "2^32 bytes": (b"\xc6\xff\xff\xff\xff", "bytes"),
    "2^32 elements": (b"\xdd\xff\xff\xff\xff", "claims"),
    "2^32 keys": (b"\xdf\xff\xff\xff\xff", "claims"),
    "2^32 of an extension": (b"\xc9\xff\xff\xff\xff\x01", "claims"),
    "deep lists": (b"\x91" * 100_000 + b"\xc0", "deep"),
    "deep maps": (b"\x81\xa1a" * 100_000 + b"\xc0", "deep"),
    "a key twice": (b"\x82\xa1a\x01\xa1a\x02", "twice"),
    "a list as key": (b"\x81\x90\x01", "neither text nor a number"),
    "an array as key": (b"\x81" + array(_ONE) + b"\x01", "neither text nor a number"),
    "a shape that lies": (array(_ONE, shape=b"\x91\x04"), "has 12 bytes"),
    "a negative shape": (array(_ONE, shape=b"\x91\xff"), "impossible"),
    "an overflow": (array(_ONE, shape=b"\x92" + (b"\xcf" + struct.pack(">Q", 2**62)) * 2), "impossible"),
    "no shape": (array(_ONE, shape=b"\xc0"), "impossible"),
    "no type": (array(_ONE, dtype=b"\x07"), "no name"),
    "two fields": (extension(1, b"\x92\x90" + text("float32")), "does not consist"),
    "garbage in an array": (extension(1, b"\x93\x90" + text("float32") + b"\xc0"), "bytes are none"),
    "longer than it says": (extension(1, array(_ONE)[6:], size=10), "claims|as long as|follow|ends|text"),
    "half a number": (extension(2, b"\x91\x01"), "consist of two"),
    "deep extensions": (extension(2, extension(2, b"\x92\x01\x01")), "consist of two"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong(name: str) -> None:
    """One sentence, and nothing is allocated for a claim."""
    data, says = WRONG[name]
    with pytest.raises(UnreadableArtifact, match=says):
        _of(data)


def test_many_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """A document of a million empty maps costs no more than the limit."""
    monkeypatch.setattr("ckptdoctor.containers.msgpack.MAX_OBJECTS", 1000)
    with pytest.raises(LimitExceeded, match="objects"):
        _of(b"\xdd" + struct.pack(">I", 2000) + b"\x80" * 2000)
