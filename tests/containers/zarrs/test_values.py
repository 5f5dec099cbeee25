"""Values of arrays in chunks, against numpy: every layout, every size of block, in order and chunk by chunk."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from numpy.typing import NDArray
from support.orbax.zarr_arrays import v2, v3, write

from ckptdoctor.containers.tensors.scan import scan_pair, scan_tensor
from ckptdoctor.containers.tensors.values import assembled, chunks, ordered_chunks, read_scalar, statistics
from ckptdoctor.containers.zarrs.arrays import Arrays, arrays
from ckptdoctor.containers.zarrs.store import Directory
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import TensorRef


def _array(shape: tuple[int, ...], dtype: str = "float32") -> NDArray[Any]:
    count = int(np.prod(shape, dtype="int64"))
    kind = getattr(ml_dtypes, dtype) if hasattr(ml_dtypes, dtype) else dtype
    return (np.arange(count) % 113 + 1).astype(kind).reshape(shape)


def _found(folder: Path, **stored: Mapping[str, bytes]) -> Arrays:
    return arrays(Directory(str(write(folder, stored)), str(folder)))


def _one(folder: Path, stored: Mapping[str, bytes]) -> TensorRef:
    return _found(folder, a=stored).tensors["a"]


def _agrees(ref: TensorRef, array: NDArray[Any]) -> None:
    """The same elements in order, whatever the block; the same ones chunk by chunk."""
    native = array.astype(array.dtype.newbyteorder("="))
    assert (ref.shape, ref.dtype) == (native.shape, native.dtype.name)
    assert assembled(ref).tobytes() == native.tobytes()
    for step in (1, 16, 100, 1 << 20):
        blocks = list(ordered_chunks(ref, step))
        assert b"".join(block.tobytes() for block in blocks) == native.tobytes(), step
        parts = [each.astype("float64") for each in chunks(ref, step)]
        assert Counter(np.concatenate([np.empty(0), *parts])) == Counter(native.astype("float64").ravel()), step


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.data())
def test_any_grid(tmp_path_factory: pytest.TempPathFactory, data: some.DataObject) -> None:
    """Chunks smaller, as large and larger than the array, along any axis."""
    shape = tuple(data.draw(some.lists(some.integers(1, 6), min_size=0, max_size=4)))
    chunk = tuple(data.draw(some.integers(1, 7)) for _ in shape)
    packer = data.draw(some.sampled_from([None, "zstd", "gzip", "zlib"]))
    order = data.draw(some.sampled_from("CF"))
    array = _array(shape).astype(data.draw(some.sampled_from(["<f4", ">f4", "<i2", "|u1"])))
    folder = tmp_path_factory.mktemp("grid")
    _agrees(_one(folder, v2(array, chunk, packer=packer, order=order)), array)


@pytest.mark.parametrize("separator", [".", "/"])
def test_separators(tmp_path: Path, separator: str) -> None:
    """Places stand in one name or in directories."""
    array = _array((5, 4))
    _agrees(_one(tmp_path, v2(array, (2, 3), separator=separator)), array)


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint16", "float16", "float64", "bfloat16", "float8_e4m3fn"])
def test_types(tmp_path: Path, dtype: str) -> None:
    """The types of JAX."""
    array = _array((4, 3), dtype)
    _agrees(_one(tmp_path / "two", {**v2(array, (3, 2), packer="zstd")}), array)
    _agrees(_one(tmp_path / "three", v3(array, (3, 2), packers=["zstd"])), array)


@pytest.mark.parametrize("packers", [[], ["zstd"], ["gzip", "crc32c"], ["crc32c", "zstd"], ["crc32c"]])
@pytest.mark.parametrize("first", [False, True])
def test_shards(tmp_path: Path, packers: list[str], first: bool) -> None:  # noqa: FBT001 - a parameter
    """Chunks within chunks, their index before or behind them, each with its checksum."""
    array = _array((7, 5))
    _agrees(_one(tmp_path / "flat", v3(array, (4, 2), packers=packers)), array)
    _agrees(_one(tmp_path / "shard", v3(array, (4, 4), inner=(2, 1), packers=packers, first=first)), array)


def test_axes(tmp_path: Path) -> None:
    """Chunks whose axes are stored in another order."""
    array = _array((4, 5, 3))
    for number, axes in enumerate([(2, 1, 0), (1, 2, 0), (0, 2, 1)]):
        _agrees(_one(tmp_path / str(number), v3(array, (3, 2, 3), packers=["zstd"], axes=axes)), array)


def test_large_chunks_are_streamed(tmp_path: Path) -> None:
    """A chunk of megabytes, side by side with another one, comes in blocks of what is asked for."""
    array = _array((700, 600))
    ref = _one(tmp_path, v2(array, (700, 300), packer="zstd"))
    blocks = list(ordered_chunks(ref, 1 << 16))
    assert max(block.nbytes for block in blocks) <= 1 << 16
    assert b"".join(block.tobytes() for block in blocks) == array.tobytes()
    assert max(block.nbytes for block in chunks(ref, 1 << 16)) <= 1 << 16
    deep = _array((3, 400, 300))  # a row of the first axis is larger than a block
    ref = _one(tmp_path / "deep", v2(deep, (2, 400, 200), packer="gzip"))
    assert b"".join(block.tobytes() for block in ordered_chunks(ref, 1 << 15)) == deep.tobytes()


def test_figures(tmp_path: Path) -> None:
    """Statistics, scans and pairs take the same way."""
    array = _array((40, 30))
    array[3, 4] = np.nan
    found = _found(tmp_path, a=v2(array, (16, 16), packer="zstd"), b=v2(_array((40, 30)), (40, 7), packer="zstd"))
    figures = statistics(found.tensors["a"])
    assert figures is not None
    assert (figures.nan, figures.min, figures.max) == (1, 1.0, 113.0)
    assert scan_tensor(found.tensors["a"]).nan == 1
    one, other, _ = scan_pair(found.tensors["a"], found.tensors["b"], 5.0, (None, None))
    assert (one.nan, other.nan, other.greatest) == (1, 0, 113.0)


def test_scalars(tmp_path: Path) -> None:
    """A scalar is a chunk of one element."""
    for number, stored in enumerate([v2(np.asarray(7, ">i8"), (), packer="zstd"), v3(np.asarray(7, "int32"), ())]):
        assert read_scalar(_one(tmp_path / str(number), stored)) == 7


# ------------------------------------------------------------------------------------------------- what is wrong


def test_lost_chunks(tmp_path: Path) -> None:
    """They are counted, and read as the fill value where that is asked for all the same."""
    stored = v3(_array((4, 4)), (2, 2), packers=["zstd"])
    del stored["c/0/1"], stored["c/1/0"]
    found = _found(tmp_path, a=stored)
    assert found.lost == {"a": (2, 4)}
    expected = _array((4, 4))
    expected[:2, 2:] = expected[2:, :2] = 0
    _agrees(found.tensors["a"], expected)


@pytest.mark.parametrize(
    ("packer", "change", "says"),
    [
        ("zstd", lambda data: data[:-3], "early"),
        ("zstd", lambda data: b"garbage" + data, "cannot be unpacked"),
        ("gzip", lambda data: data[:-20], "cannot be unpacked"),
        ("zstd", lambda data: data + data, "more bytes"),
    ],
)
def test_damaged_chunks(tmp_path: Path, packer: str, change: Any, says: str) -> None:
    """What does not unpack to a chunk is an error, never numbers."""
    stored = v2(_array((50, 3)), (50, 3), packer=packer)
    stored["0.0"] = change(stored["0.0"])
    ref = _one(tmp_path, stored)
    for read in (chunks, ordered_chunks):
        with pytest.raises(UnreadableArtifact, match=says) as caught:
            list(read(ref))
        assert caught.value.code == "I004"


@pytest.mark.parametrize("packers", [["crc32c"], ["zstd", "crc32c"], ["crc32c", "zstd"]])
def test_flipped_bits(tmp_path: Path, packers: list[str]) -> None:
    """Where chunks have checksums, a flipped bit is told."""
    stored = v3(_array((50,)), (50,), packers=packers)
    data = bytearray(stored["c/0"])
    data[12] ^= 1
    stored["c/0"] = bytes(data)
    with pytest.raises(UnreadableArtifact, match=r"checksum|unpacked|early"):
        list(chunks(_one(tmp_path, stored)))


def test_too_many_side_by_side(tmp_path: Path) -> None:
    """An array of more large chunks beside each other than can be open is read chunk by chunk, not in order."""
    array = np.zeros((300, 70 * 300), "float32")
    ref = _one(tmp_path, v2(array, (300, 300), packer="zstd"))
    assert sum(part.size for part in chunks(ref)) == array.size
    with pytest.raises(LimitExceeded, match="side by side"):
        list(ordered_chunks(ref, 1 << 16))


def test_overlapping_shards(tmp_path: Path) -> None:
    """A shard whose index names one chunk many times would unpack it many times."""
    import struct

    array = np.zeros((64, 8), "float32")
    stored = v3(array, (64, 8), inner=(1, 8), packers=["zstd"])
    data = stored["c/0/0"]
    index = struct.pack("<2Q", 0, len(data) // 8) * 64
    from support.orbax.zarr_arrays import PACKERS

    stored["c/0/0"] = data[: -(16 * 64 + 4)] + PACKERS["crc32c"](index)
    with pytest.raises(UnreadableArtifact, match="overlap"):
        list(chunks(_one(tmp_path, stored)))


_GOOD: dict[str, Any] = json.loads(v2(_array((4,)), (2,))[".zarray"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"shape": [-1]}, "impossible"),
        ({"shape": [1 << 62, 8]}, "impossible"),
        ({"shape": [10**400]}, "impossible"),
        ({"shape": "4"}, "no list"),
        ({"shape": [1] * 100}, "no list"),
        ({"shape": [True]}, "impossible"),
        ({"chunks": [0]}, "impossible"),
        ({"chunks": [1 << 45]}, "larger than any"),
        ({"chunks": [2, 2]}, "another number of dimensions"),
        ({"order": "K"}, "order"),
        ({"zarr_format": 3}, "zarr_format"),
    ],
)
def test_impossible_metadata(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    """Sizes are claims."""
    stored = {**v2(_array((4,)), (2,)), ".zarray": json.dumps({**_GOOD, **change}).encode()}
    with pytest.raises(UnreadableArtifact, match=says):
        _one(tmp_path, stored)


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "|O"},
        {"dtype": "|V2147483647"},
        {"dtype": [["a", "<f4"]]},
        {"dtype": "\x1b[31m"},
        {"compressor": {"id": "blosc"}},
        {"filters": [{"id": "pickle"}]},
    ],
)
def test_what_is_not_read(tmp_path: Path, change: dict[str, Any]) -> None:
    """Types and codings that are not known are told, and nothing of them is run or read."""
    stored = {**v2(_array((4,)), (2,)), ".zarray": json.dumps({**_GOOD, **change}).encode()}
    found = _found(tmp_path, a=stored)
    assert found.tensors["a"].location is None
    assert "not read" in found.unread["a"]
