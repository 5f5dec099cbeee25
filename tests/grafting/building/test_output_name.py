"""Names under which a result could not be loaded are refused, with one that works; our advice uses only such."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py as _h5py
import pytest

import ckptdoctor
from ckptdoctor.diagnosis.mending import output_for
from ckptdoctor.diagnosis.names import misnamed
from ckptdoctor.errors import GraftRefused
from ckptdoctor.state import Format

h5py: Any = _h5py  # the stubs leave half of it out

ARCHIVE, WEIGHTS, HDF5 = (
    "keras/k3.15tf-lion-keras.keras",
    "keras/k3.15tf-adam-wh5.weights.h5",
    "keras/tf2.10-adam-h5.h5",
)
CHECKPOINT = "tf/v2.10-tfk-ckpt-adam/ckpt"


@pytest.mark.parametrize(
    ("target", "name", "works"),
    [
        (ARCHIVE, "x.h5", "x.keras"),
        (ARCHIVE, "x", "x.keras"),
        (ARCHIVE, "x.KERAS", "x.keras"),
        (ARCHIVE, "x.weights.h5", "x.keras"),
        (WEIGHTS, "x.h5", "x.weights.h5"),
        (WEIGHTS, "x.keras", "x.weights.h5"),
        (WEIGHTS, "x.weights.json", "x.weights.h5"),
        (HDF5, "x.keras", "x.h5"),
        (HDF5, "x.weights.h5", "x.h5"),
        (CHECKPOINT, "x.h5", "x"),
        (CHECKPOINT, "x.keras", "x"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_a_name_that_loaders_refuse(
    museum: Path, tmp_path: Path, target: str, name: str, works: str, *, dry: bool
) -> None:
    """Nothing is written, and the name that is told is taken."""
    donor = museum / target
    act = ckptdoctor.plan_graft if dry else ckptdoctor.graft
    with pytest.raises(GraftRefused, match=f"name it {works}$"):
        act(donor, donor, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    act(donor, donor, tmp_path / works)


@pytest.mark.parametrize("name", ["x", "x.hdf5", "x.h5", "x.bin"])
def test_old_keras_takes_any_name(museum: Path, tmp_path: Path, name: str) -> None:
    """It looks at the bytes; only an ending that promises something else is refused."""
    ckptdoctor.graft(museum / HDF5, museum / HDF5, tmp_path / name)


@pytest.mark.parametrize(
    ("kind", "path", "output"),
    [
        (Format.KERAS_H5, "m.keras", "m-resumed.h5"),
        (Format.KERAS_H5, "m.hdf5", "m-resumed.hdf5"),
        (Format.KERAS_ARCHIVE, "m.h5", "m-resumed.keras"),
        (Format.KERAS_ARCHIVE, "m", "m-resumed.keras"),
        (Format.KERAS_WEIGHTS, "m.h5", "m-resumed.weights.h5"),
        (Format.KERAS_WEIGHTS, "m.weights.json", "m-resumed.weights.json"),
        (Format.TF_CHECKPOINT, "run/ckpt-7.index", "run/ckpt-7-resumed"),
    ],
)
def test_the_name_in_advice(kind: Format, path: str, output: str) -> None:
    """It never promises something else."""
    assert output_for(path, kind) == output
    assert misnamed(output, kind) is None


def test_advice_for_a_misnamed_file(museum: Path, tmp_path: Path) -> None:
    """The command in the finding can be run as it stands, and its result is no P004."""
    target = tmp_path / "m.keras"
    shutil.copy(museum / HDF5, target)
    with h5py.File(target, "r+") as file:
        del file["optimizer_weights"]
    found = ckptdoctor.check(target).results[0].findings
    (hint,) = [each.hint for each in found if each.code == "S001"]
    words = hint.rpartition("ckptdoctor graft ")[2].split()
    output = words[words.index("--output") + 1]
    ckptdoctor.graft(museum / HDF5, target, output)
    assert "P004" not in {each.code for each in ckptdoctor.check(output).results[0].findings}
