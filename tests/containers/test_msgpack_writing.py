"""msgpack documents with parts exchanged: our reader gets them, and every other byte is as it was."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from ckptdoctor.containers import msgpack_writing
from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.msgpack import Array, read
from ckptdoctor.containers.msgpack_writing import Value, exchange
from ckptdoctor.containers.tensors.values import assembled
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import Inline, TensorRef

UNKNOWN = b"\xc7\x03\x2aabc"
"""An extension that nobody knows."""
DOCUMENT = b"\x83\xa1a\x82\xa1x\x01\xa1y" + UNKNOWN + b"\xa1b\xc0\xa1c\x93\x01\x02\x03"


def ref(*shape: int, dtype: str = "float32") -> TensorRef:
    """Numbers one after another."""
    values = np.arange(np.prod(shape, dtype=int), dtype=dtype)
    return TensorRef("w", dtype, shape, Inline(values.tobytes()))


def exchanged(folder: Path, values: dict[tuple[str, ...], Value], document: bytes = DOCUMENT) -> bytes:
    """The document with these values."""
    path = folder / "document"
    path.write_bytes(document)
    stream = BytesIO()
    sizes = exchange(str(path), stream, values)
    assert sum(sizes) == len(stream.getvalue())
    return stream.getvalue()


def test_what_stays(tmp_path: Path) -> None:
    """Nothing is exchanged, nothing changes; what is not known stays."""
    assert exchanged(tmp_path, {}) == DOCUMENT
    found = exchanged(tmp_path, {("a", "x"): 200})
    assert UNKNOWN in found
    document = read(Cursor(found, "found"))
    assert isinstance(document, dict)
    assert document["a"]["x"] == 200
    assert (document["b"], document["c"]) == (None, [1, 2, 3])


@pytest.mark.parametrize("document", [DOCUMENT, b"\x92\x01\x02"])
def test_the_whole_document(tmp_path: Path, document: bytes) -> None:
    """A list has no keys: an item of Orbax that is nothing but an optimizer's chain is one."""
    found = exchanged(tmp_path, {(): [{"count": "PLACEHOLDER://0.count"}, None]}, document)
    assert read(Cursor(found, "found")) == [{"count": "PLACEHOLDER://0.count"}, None]


@pytest.mark.parametrize("count", [0, 1, 15, 16, 70_000])
def test_maps_of_every_size(tmp_path: Path, count: int) -> None:
    """Headers have 4, 16 and 32 bits of length, texts 5 to 32."""
    value: Value = {f"{number:0{1 + number % 300}}": number for number in range(count)}
    document = read(Cursor(exchanged(tmp_path, {("new",): value}), "found"))
    assert isinstance(document, dict)
    assert document["new"] == value
    assert set(document) == {"a", "b", "c", "new"}


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0,), (100,), (20_000,), (1,) * 17])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64", "bfloat16"])
def test_arrays(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    """Every shape and type, with every width of its length."""
    stored = ref(*shape, dtype="uint16")._replace(dtype=dtype) if dtype == "bfloat16" else ref(*shape, dtype=dtype)
    document = read(Cursor(exchanged(tmp_path, {("a", "x"): {"w": stored}}), "found"))
    assert isinstance(document, dict)
    array = document["a"]["x"]["w"]
    assert isinstance(array, Array)
    assert (array.dtype, array.shape) == (dtype, shape)
    assert isinstance(array.location, Inline)
    assert isinstance(stored.location, Inline)
    assert array.location.data == stored.location.data


def test_an_array_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flax cuts what is larger than a gigabyte."""
    monkeypatch.setattr(msgpack_writing, "_MOST", 100)
    stored = ref(9, 11)
    path = tmp_path / "result"
    path.write_bytes(exchanged(tmp_path, {("w",): stored}))
    document = read(Cursor(path.read_bytes(), str(path)))
    assert isinstance(document, dict)
    array = document["w"]
    assert isinstance(array, Array)
    found = assembled(TensorRef("w", array.dtype, array.shape, array.location)).reshape(array.shape)
    assert (found == np.arange(99, dtype="float32").reshape(9, 11)).all()


@pytest.mark.parametrize(
    "document", [b"", b"\x93\x01\x02\x03", DOCUMENT[:-1], DOCUMENT + b"\0", b"\xdf\xff\xff\xff\xff"]
)
def test_what_is_no_document(tmp_path: Path, document: bytes) -> None:
    """It is refused."""
    with pytest.raises(UnreadableArtifact):
        exchanged(tmp_path, {("new",): 1}, document)


def test_a_place_in_what_is_no_map(tmp_path: Path) -> None:
    """What lies above the place has to be a map."""
    with pytest.raises(UnreadableArtifact, match="map"):
        exchanged(tmp_path, {("c", "x"): 1})
