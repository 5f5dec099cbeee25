"""Values: scalars without numpy, tensors in chunks, figures of tensors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import array, split, strings, write_bundle, zeros

from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE, OPAQUE, tensorflow_dtype, unpack_scalar
from ckptdoctor.containers.tensors.values import Statistics, chunks, kept_open, numpy_dtype, read_scalar, statistics
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import FileRange, Inline, TensorRef

PLAIN = [name for name in ITEMSIZE if not name.startswith(("complex", "q"))]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float16", 1.5), ("bfloat16", -2.5), ("float32", 0.25), ("float64", 1e300), ("int8", -1), ("int16", -300),
        ("int32", -70_000), ("int64", 1 << 40), ("uint8", 255), ("uint16", 65_535), ("uint32", 1 << 31),
        ("uint64", (1 << 64) - 1), ("bool", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("big_endian", [False, True])
def test_scalars(tmp_path: Path, dtype: str, value: float, *, big_endian: bool) -> None:
    """A scalar of every type that Python has a number for, in either byte order."""
    tensor = array(np.asarray(value), dtype)
    ref = read_bundle(write_bundle(tmp_path / "p", {"x": tensor}, big_endian=big_endian)).tensors["x"]
    assert read_scalar(ref) == value
    assert type(read_scalar(ref)) is type(value)


@pytest.mark.parametrize("dtype", ["complex64", "float8_e5m2", "int4", "string", "resource", "unknown(99)"])
def test_types_without_a_number(dtype: str) -> None:
    """Types that Python has no number for answer none."""
    assert unpack_scalar(dtype, b"\0" * 8) is None
    assert read_scalar(TensorRef("x", dtype, (), Inline(b"\0" * ITEMSIZE.get(dtype, 1)))) is None


def test_tensors_are_no_scalars(tmp_path: Path) -> None:
    """A tensor of several elements is no scalar; one of a single element is."""
    bundle = read_bundle(write_bundle(tmp_path / "p", {"x": array([1, 2]), "y": array([[3]]), "s": strings(b"a")}))
    assert [read_scalar(bundle.tensors[name]) for name in "xys"] == [None, 3.0, None]


def test_a_lost_tensor() -> None:
    """A tensor whose bytes are known to be lost has neither value nor chunks nor figures."""
    ref = TensorRef("x", "float32", (), None)
    assert read_scalar(ref) is None
    assert list(chunks(ref)) == []
    assert statistics(ref) is None


@given(st.binary(max_size=9))
def test_scalars_of_another_size(data: bytes) -> None:
    """Bytes that are not as many as the type has are no scalar."""
    for dtype, size in ITEMSIZE.items():
        if len(data) != size:
            assert unpack_scalar(dtype, data) is None


@pytest.mark.parametrize("number", [-1, 0, 34, 99, 1 << 31])
def test_unknown_types(number: int) -> None:
    """Type numbers that no TensorFlow knows are named by their number."""
    assert tensorflow_dtype(number) == f"unknown({number})"


@pytest.mark.parametrize("name", PLAIN)
def test_numpy_types(name: str) -> None:
    """Every type has numpy's or ml_dtypes' counterpart, of the size that a bundle stores, or is bytes to everybody."""
    assert numpy_dtype(name).itemsize == ITEMSIZE[name]
    assert numpy_dtype(name).name == name or (name in OPAQUE and numpy_dtype(name).kind == "u")


@pytest.mark.parametrize("name", ["resource", "variant", "unknown(99)", "no such type"])
def test_no_numpy_type(name: str) -> None:
    """Types without a counterpart are an error, not a guess."""
    with pytest.raises(UnreadableArtifact, match="cannot be read"):
        numpy_dtype(name)


@pytest.mark.parametrize("chunk_bytes", [1, 16, 100, 1 << 20])
def test_chunks(tmp_path: Path, chunk_bytes: int) -> None:
    """Chunks end between elements and add up to the tensor, whatever their size."""
    wanted = np.arange(1000, dtype=np.float64)
    ref = read_bundle(write_bundle(tmp_path / "p", {"x": array(wanted, "float64")})).tensors["x"]
    parts = list(chunks(ref, chunk_bytes))
    assert all(part.nbytes <= max(chunk_bytes, 16) for part in parts)
    assert np.array_equal(np.concatenate(parts), wanted)


def test_a_file_that_shrank(tmp_path: Path) -> None:
    """A tensor whose file was cut after the index was read is an error."""
    prefix = write_bundle(tmp_path / "p", {"x": zeros((100,))})
    ref = read_bundle(prefix).tensors["x"]
    Path(f"{prefix}.data-00000-of-00001").write_bytes(b"\0" * 10)
    with pytest.raises(UnreadableArtifact, match="truncated or corrupt"):
        list(chunks(ref))


def test_kept_open_opens_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many tensors of one file take one opening, and none is open afterwards."""
    prefix = write_bundle(tmp_path / "p", {str(number): array(number) for number in range(50)})
    bundle = read_bundle(prefix)
    opened: list[str] = []

    def counting(path: str) -> RegularFile:
        opened.append(path)
        return RegularFile(path)

    monkeypatch.setattr("ckptdoctor.containers.tensors.values.RegularFile", counting)
    with kept_open():
        assert [read_scalar(bundle.tensors[str(number)]) for number in range(50)] == list(range(50))
    assert len(opened) == 1


def test_kept_open_is_bounded(tmp_path: Path) -> None:
    """Tensors of more files than may be open are read all the same."""
    tensors = {str(number): array(number, shard=number) for number in range(40)}
    bundle = read_bundle(write_bundle(tmp_path / "p", tensors, num_shards=40))
    with kept_open():
        for _ in range(2):
            assert [read_scalar(bundle.tensors[str(number)]) for number in range(40)] == list(range(40))


# ------------------------------------------------------------------------------------------------------------- figures

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 2.0, 3.0, 0.0], Statistics(0.0, 3.0, 1.5, 0, 0, 1)),
        ([-1.0, NAN, INF, -INF, 0.0, -0.0], Statistics(-1.0, 0.0, -1 / 3, 1, 2, 2)),
        ([NAN, NAN], Statistics(None, None, None, 2, 0, 0)),
        ([INF], Statistics(None, None, None, 0, 1, 0)),
        ([], Statistics(None, None, None, 0, 0, 0)),
    ],
    ids=["plain", "mixed", "NaN only", "infinity only", "empty"],
)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_figures(tmp_path: Path, dtype: str, values: list[float], expected: Statistics) -> None:
    """Figures of the finite values, and counts of the others."""
    ref = read_bundle(write_bundle(tmp_path / "p", {"x": array(np.array(values, np.float64), dtype)})).tensors["x"]
    found = statistics(ref)
    assert found is not None
    assert found._replace(mean=None, rms=None) == expected._replace(mean=None)
    finite = [each for each in values if math.isfinite(each)]
    assert found.rms == (pytest.approx(math.sqrt(np.mean(np.square(finite)))) if finite else None)
    assert found.mean == (None if expected.mean is None else pytest.approx(expected.mean))


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("int64", [-3, 0, 5], Statistics(-3, 5, 2 / 3, 0, 0, 1)),
        ("uint8", [0, 255], Statistics(0, 255, 127.5, 0, 0, 1)),
        ("bool", [True, False, True], Statistics(0, 1, 2 / 3, 0, 0, 1)),
        ("float8_e4m3fn", [1.0, -2.0], Statistics(-2, 1, -0.5, 0, 0, 0)),
        ("int4", [-8, 7], Statistics(-8, 7, -0.5, 0, 0, 0)),
    ],
)
def test_figures_of_other_types(tmp_path: Path, dtype: str, values: list[Any], expected: Statistics) -> None:
    """Integers, truth values and the small floats have figures too."""
    ref = read_bundle(write_bundle(tmp_path / "p", {"x": array(values, dtype)})).tensors["x"]
    found = statistics(ref)
    assert found is not None
    assert found[:-1] == pytest.approx(expected[:-1])
    assert found.rms == pytest.approx(math.sqrt(np.mean(np.square(np.array(values, np.float64)))))


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_no_figures(tmp_path: Path, dtype: str) -> None:
    """Strings and complex numbers have none."""
    bundle = read_bundle(write_bundle(tmp_path / "p", {"x": array([1, 2], dtype), "s": strings(b"a", b"b")}))
    assert statistics(bundle.tensors["x"]) is None
    assert statistics(bundle.tensors["s"]) is None


def test_figures_over_chunks_and_pieces(tmp_path: Path) -> None:
    """Figures are of the whole tensor, however it is cut, and sums do not lose small values."""
    whole = np.full((3000, 1000), 0.1, np.float32)
    whole[2999, 999], whole[0, 0] = 5, -5
    tensors = {"whole": array(whole), "parts": array(whole, parts=split(whole.shape, (1000, 2000)))}
    bundle = read_bundle(write_bundle(tmp_path / "p", tensors))
    for name in tensors:
        found = statistics(bundle.tensors[name])
        assert found is not None
        assert (found.min, found.max, found.zeros) == (-5, 5, 0)
        assert found.mean == pytest.approx(0.1, rel=1e-6)


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A tensor of 400 MB is summed up in chunks: it is never in memory as a whole."""
    import resource

    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(400 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = statistics(TensorRef("x", "float32", (100 << 20,), FileRange(str(path), 0, 400 << 20)))
    assert found is not None
    assert found.zeros == 100 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 120_000
