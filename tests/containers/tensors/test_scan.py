"""One pass over a tensor: extremes and counts of every type, against numpy on the same values in float64."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.bundles import array, write_bundle

from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.containers.tensors.scan import TensorScan, scan_tensor
from ckptdoctor.references import FileRange, TensorRef

SHORT = [
    "float16",
    "bfloat16",
    "float8_e5m2",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e4m3b11fnuz",
]


def scanned(folder: Path, raw: bytes, dtype: str, *, big_endian: bool = False) -> TensorScan:
    """The figures of a tensor whose bytes are these."""
    path = folder / "raw"
    path.write_bytes(raw)
    size = np.dtype(getattr(ml_dtypes, dtype, dtype)).itemsize
    location = FileRange(str(path), 0, len(raw), big_endian=big_endian)
    return scan_tensor(TensorRef("t", dtype, (len(raw) // size,), location))


def expected(raw: bytes, dtype: str) -> TensorScan:
    """The same by numpy, in float64."""
    with np.errstate(all="ignore"):
        values = np.frombuffer(raw, getattr(ml_dtypes, dtype, dtype)).astype(np.float64)
    nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    ordered = values[~np.isnan(values)]
    if not ordered.size:
        return TensorScan(None, None, nan, infinite)
    return TensorScan(float(ordered.min()), float(ordered.max()), nan, infinite)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("dtype", [*SHORT, "float32", "int8", "uint16"])
@given(
    codes=st.lists(
        st.one_of(st.integers(0, 0xFFFF), st.sampled_from([0, 0x8000, 0x7C00, 0xFC00, 0x7F80, 0xFF80])), max_size=12
    )
)
def test_any_bits(tmp_path: Path, dtype: str, codes: list[int]) -> None:
    """Whatever the bits are: zeros of both signs, infinities, NaN, subnormals, or none at all."""
    raw = np.array(codes * 2, np.uint16).tobytes()
    assert scanned(tmp_path, raw, dtype) == expected(raw, dtype)


@pytest.mark.parametrize("dtype", SHORT)
def test_every_value_alone(tmp_path: Path, dtype: str) -> None:
    """Each value that a type has is its own least and greatest."""
    size = np.dtype(getattr(ml_dtypes, dtype, dtype)).itemsize
    step = 1 if size == 1 else 97
    for code in range(0, 1 << (8 * size), step):
        raw = code.to_bytes(size, "little")
        assert scanned(tmp_path, raw, dtype) == expected(raw, dtype), hex(code)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_other_byte_order(tmp_path: Path, dtype: str) -> None:
    """Big-endian values are turned first."""
    values = np.array([1.5, -3, 0.25], getattr(ml_dtypes, dtype, dtype))
    found = scanned(tmp_path, values.byteswap().tobytes(), dtype, big_endian=True)
    assert (found.least, found.greatest) == (-3, 1.5)


def test_several_blocks(tmp_path: Path) -> None:
    """Extremes in different blocks, and a block that is not finite."""
    values = np.zeros(3_000_000, np.float16)
    values[0], values[1_500_000], values[-1] = -2, np.nan, 3
    found = scanned(tmp_path, values.tobytes(), "float16")
    assert found == TensorScan(-2, 3, 1, 0)


def test_checksums(tmp_path: Path) -> None:
    """A bundle's checksum is verified on the way."""
    bundle = read_bundle(write_bundle(tmp_path / "p", {"w": array([1.0, -2.0], "bfloat16")}))
    assert scan_tensor(bundle.tensors["w"]) == TensorScan(-2, 1, checksum_ok=True)
