"""Arrays that were written as zarr: our reader gets the values, whatever type and shape they have."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from ckptdoctor.containers.tensors.shard_data import Constant
from ckptdoctor.containers.tensors.values import assembled
from ckptdoctor.containers.zarrs.arrays import arrays
from ckptdoctor.containers.zarrs.store import Directory
from ckptdoctor.containers.zarrs.writing import NewArray, chunk, chunk_key, metadata
from ckptdoctor.errors import GraftRefused
from ckptdoctor.references import Inline, TensorRef

TYPES = ["bool", "int8", "uint16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
SHAPES: list[tuple[int, ...]] = [(), (5,), (3, 4), (2, 1, 3), (0,), (3, 0)]


def store(folder: Path, array: NewArray, version: int) -> Directory:
    """A directory with one array."""
    key, described = metadata(array, version)
    values = {key: described}
    place = chunk_key(array, version)
    if place is not None:
        values[place] = b"".join(chunk(array, version))
    for name, value in values.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value)
    return Directory(str(folder), str(folder))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dtype", TYPES)
def test_values(tmp_path: Path, version: int, dtype: str) -> None:
    """Every type in every shape."""
    numpy_type = np.dtype(getattr(ml_dtypes, dtype) if dtype == "bfloat16" else dtype)
    for number, shape in enumerate(SHAPES):
        values = (np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2).astype(numpy_type)
        source = TensorRef("source", dtype, shape, Inline(values.tobytes()))
        found = arrays(store(tmp_path / str(number), NewArray("a.b", dtype, shape, source), version))
        ref = found.tensors["a.b"]
        assert (ref.dtype, ref.shape) == (dtype, shape)
        assert not found.lost
        if values.size:
            assert assembled(ref).tobytes() == values.tobytes()


@pytest.mark.parametrize("version", [2, 3])
def test_what_fills_them(tmp_path: Path, version: int) -> None:
    """Zeros, a constant, and values that are multiplied."""
    source = TensorRef("source", "float32", (4,), Inline(np.arange(4, dtype="float32").tobytes()))
    contents = {"zeros": (None, 1.0), "ones": (Constant(1.0), 1.0), "doubled": (source, 2.0)}
    expected = {"zeros": [0.0] * 4, "ones": [1.0] * 4, "doubled": [0.0, 2.0, 4.0, 6.0]}
    for name, (content, factor) in contents.items():
        array = NewArray(name, "float32", (4,), content, factor)
        ref = arrays(store(tmp_path / name, array, version)).tensors[name]
        assert assembled(ref).tolist() == expected[name]


def test_a_type_that_is_none() -> None:
    """Texts are no arrays."""
    with pytest.raises(GraftRefused, match="cannot hold"):
        metadata(NewArray("a", "string", (), None), 3)
