"""`TensorRef.numpy()`: the values of every kind of artifact, in their shape."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import ckptdoctor
from ckptdoctor.containers.tensors.values import statistics
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.examination import Examination, tensors
from ckptdoctor.references import FileRange, Inline, TensorRef
from ckptdoctor.report.notebook import arrays


def test_of_every_artifact(museum_examined: dict[str, Examination]) -> None:
    """The largest tensor of each has its shape, and the figures that reading it in chunks gives."""
    read: dict[str, int] = {}
    for each in museum_examined.values():
        refs = [ref for ref in tensors(each.state) if ref.location is not None] if each.state is not None else []
        numbers = [ref for ref in refs if "float" in ref.dtype and ref.size]
        if not numbers:
            continue
        ref = max(numbers, key=lambda one: one.size)
        found = ref.numpy()
        assert found.shape == ref.shape
        assert found.dtype.name == ref.dtype
        told = statistics(ref)
        assert told is not None
        assert float(found.astype(np.float64).max()) == pytest.approx(told.max, nan_ok=True)
        assert float(found.astype(np.float64).mean()) == pytest.approx(told.mean, nan_ok=True)
        read[each.format.value] = read.get(each.format.value, 0) + 1
    assert len(read) > 8


def test_bfloat16_and_scalars() -> None:
    """Types that numpy lacks are ml_dtypes'; a scalar has no dimension."""
    found = TensorRef("w", "bfloat16", (2,), Inline(b"\x80\x3f\x00\x40")).numpy()
    assert found.dtype == ml_dtypes.bfloat16
    assert found.tolist() == [1.0, 2.0]
    scalar = TensorRef("n", "int64", (), Inline((7).to_bytes(8, "little"))).numpy()
    assert scalar.shape == ()
    assert scalar == 7


def test_column_major(tmp_path: Path) -> None:
    """Whatever order the file has, the array has its shape."""
    values = np.arange(6, dtype="float32").reshape(2, 3)
    (tmp_path / "raw").write_bytes(values.tobytes("F"))
    place = FileRange(str(tmp_path / "raw"), 0, 24, fortran_order=True)
    assert (TensorRef("w", "float32", (2, 3), place).numpy() == values).all()


def test_hdf5_in_parts(fixtures_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large data sets come from the worker part by part; a notebook does not load HDF5's library."""
    (each,) = ckptdoctor.inspect(fixtures_dir / "whole-model.h5")
    slot = each.optimizers[0].slots[0].tensor
    whole = slot.numpy()
    assert whole.any()
    assert arrays.part(slot, 0, 1 << 20) == whole.tobytes()
    assert arrays.part(slot, 1, 1 << 20) == b""
    monkeypatch.setattr(arrays, "_PART", 32)
    assert len(arrays.part(slot, 0, 32)) < whole.nbytes
    assert (slot.numpy() == whole).all()


@pytest.mark.parametrize(
    ("ref", "sentence"),
    [
        (TensorRef("w", "float32", (2,), None), "the values of 'w' are not in the artifact"),
        (TensorRef("w", "string", (2,), Inline(b"ab")), "tensors of type string cannot be read"),
        (TensorRef("w", "float32", (3,), Inline(b"\0" * 8)), "'w' holds 2 elements, and its shape says 3"),
        (TensorRef("w", "float32", (2,), FileRange("/no/such/file", 0, 8)), "no such file"),
    ],
)
def test_what_cannot_be_read(ref: TensorRef, sentence: str) -> None:
    """One sentence."""
    with pytest.raises(UnreadableArtifact, match=sentence):
        ref.numpy()
