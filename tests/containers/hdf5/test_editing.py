"""Edited copies of HDF5 files: what is new is there, what stays is what it was, and the old state is gone."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import h5py as _h5py
import ml_dtypes
import numpy as np
import pytest

from ckptdoctor.containers.hdf5.editing import ATTRIBUTE_BYTES, Edit, NewDataset, create_file, edit_file
from ckptdoctor.containers.hdf5.file import H5File
from ckptdoctor.errors import GraftRefused, UnreadableArtifact
from ckptdoctor.references import H5Data, Inline, TensorRef

h5py: Any = _h5py

SMALL, LARGE = 10, 200_000
MARK = 12345.678


def make(path: Path, state: int, **options: Any) -> Path:
    """A file with every kind of object and attribute, and `state` elements of optimizer state."""
    with h5py.File(path, "w", **options) as file:
        file.attrs["model_config"] = '{"x": "ä"}' * 20_000
        file.attrs["bytes"] = np.bytes_(b"abc")
        file.attrs["fixed"] = np.array([b"a", b"bcd"])
        file.attrs["nothing"] = h5py.Empty("f4")
        file.attrs["no_names"] = []
        file.attrs["texts"] = ["x", "yy"]
        file.attrs["matrix"] = np.arange(6, dtype="i2").reshape(2, 3)
        file["z/kernel"] = np.arange(1000.0)
        file["z"].attrs["weight_names"] = [b"kernel"]
        file["z/kernel"].attrs["unit"] = 3
        file["a/same"] = file["z/kernel"]
        file["a/bf16"] = np.zeros(3, "V2")
        file["later"] = file["a"]
        file["soft"] = h5py.SoftLink("/z")
        file["away"] = h5py.ExternalLink("other.h5", "/x")
        file.create_dataset("packed", data=np.zeros(10_000), compression="gzip", chunks=(100,))
        file["optimizer_weights/v"] = np.full(state, MARK)
        file["optimizer_weights"].attrs["weight_names"] = [b"v"]
    return path


def everything(path: Path) -> dict[str, Any]:
    """Every object but the optimizer's: its links, attributes, and bytes, and the order of its address."""
    found: dict[str, Any] = {}

    def walk(group: Any, path: str) -> None:
        found[path] = {name: (repr(group.attrs[name]), group.attrs.get_id(name).dtype) for name in group.attrs}
        for name in group:
            if name == "optimizer_weights":
                continue
            link = group.get(name, getlink=True)
            where = f"{path}/{name}"
            if not isinstance(link, h5py.HardLink):
                found[where] = (type(link), link.path)
                continue
            each = group[name]
            if isinstance(each, h5py.Group):
                walk(each, where)
            else:
                stored = (each.dtype, each.shape, each.compression, each.chunks, each[()].tobytes())
                found[where] = (*stored, {key: repr(each.attrs[key]) for key in each.attrs})

    with h5py.File(path, "r") as file:
        walk(file, "")
        found["is one object"] = (file["a/same"] == file["z/kernel"], file["later"] == file["a"])
    return found


NEW = Edit(
    delete=("optimizer_weights",),
    datasets=(
        NewDataset("optimizer_weights/Adam/iter:0", "int64", (), struct.pack("<q", 7)),
        NewDataset("optimizer_weights/Adam/m:0", "float32", (3, 4), None),
        NewDataset("optimizer_weights/half", "bfloat16", (2,), np.array([1, 2], ml_dtypes.bfloat16).tobytes()),
        NewDataset("optimizer_weights/empty", "float32", (0, 3), None),
    ),
    texts={("", "training_config"): '{"loss": "ö"}'},
    names={("optimizer_weights", "weight_names"): ["Adam/iter:0", "Adam/m:0", "half", "empty"]},
)


@pytest.mark.parametrize("state", [SMALL, LARGE])
def test_the_rest_stays(state: int, tmp_path: Path) -> None:
    """Types, attributes, packing, links and their order stay, whether the copy is edited or made anew."""
    source = make(tmp_path / "source.h5", state)
    before = source.read_bytes()
    sizes = edit_file(str(source), str(tmp_path / "out.h5"), NEW)
    wanted, found = everything(source), everything(tmp_path / "out.h5")
    assert found[""].pop("training_config")[0] == repr('{"loss": "ö"}')
    assert found == wanted
    assert source.read_bytes() == before
    assert sizes.new == 8 + 48 + 4
    with H5File(str(source)) as one, H5File(str(tmp_path / "out.h5")) as other:
        kept = [name for name in one.children("")[0] if name != "optimizer_weights"]
        assert [name for name in other.children("")[0] if name != "optimizer_weights"] == kept
        assert other.names("optimizer_weights", "weight_names") == NEW.names["optimizer_weights", "weight_names"]


def test_what_is_new(tmp_path: Path) -> None:
    """Data sets are contiguous, of their type, and hold their values; bfloat16 is marked as Keras marks it."""
    edit_file(str(make(tmp_path / "source.h5", SMALL)), str(tmp_path / "out.h5"), NEW)
    with h5py.File(tmp_path / "out.h5") as file:
        group = file["optimizer_weights"]
        assert group["Adam/iter:0"][()] == 7
        assert group["Adam/iter:0"].dtype == "<i8"
        assert (group["Adam/m:0"][()] == 0).all()
        assert group["Adam/m:0"].chunks is None
        assert group["half"][()].view(ml_dtypes.bfloat16).astype("f4").tolist() == [1, 2]
        assert group["half"].attrs["dtype"] == "bfloat16"
        assert group["empty"].shape == (0, 3)


@pytest.mark.parametrize("state", [SMALL, LARGE])
def test_old_state_does_not_travel_along(state: int, tmp_path: Path) -> None:
    """Much of it: the file is made anew, without its bytes. Little of it may leave dead bytes, at most a tenth."""
    source = make(tmp_path / "source.h5", state)
    edit_file(str(source), str(tmp_path / "out.h5"), NEW)
    left = (tmp_path / "out.h5").read_bytes().count(struct.pack("<d", MARK))
    assert left <= (0 if state == LARGE else SMALL)
    assert os.path.getsize(tmp_path / "out.h5") < os.path.getsize(make(tmp_path / "bare.h5", 0)) + 20_000


@pytest.mark.parametrize("state", [SMALL, LARGE])
@pytest.mark.parametrize("options", [{"userblock_size": 512}, {"libver": "latest"}, {"track_order": True}])
def test_unusual_files(state: int, options: dict[str, Any], tmp_path: Path) -> None:
    """A user block, the newest format, tracked order: new values still land in their places."""
    source = make(tmp_path / "source.h5", state, **options)
    edit_file(str(source), str(tmp_path / "out.h5"), NEW)
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["optimizer_weights/Adam/iter:0"][()] == 7
    found = everything(tmp_path / "out.h5")
    del found[""]["training_config"]
    assert found == everything(source)


def test_values_are_streamed_and_scaled(tmp_path: Path) -> None:
    """Tensors of another file come over, multiplied, and cast where nothing is lost."""
    values = np.arange(3_000_000, dtype="f4").reshape(1000, 3000)
    with h5py.File(tmp_path / "donor.h5", "w") as file:
        file["x"] = values
    ref = TensorRef("x", "float32", values.shape, H5Data(str(tmp_path / "donor.h5"), "/x"))
    edit = Edit(
        datasets=(
            NewDataset("o/same", "float32", values.shape, ref),
            NewDataset("o/scaled", "float32", values.shape, ref, -0.5),
            NewDataset("o/wide", "float64", values.shape, ref),
        )
    )
    assert create_file(str(tmp_path / "out.h5"), edit) == values.nbytes * 4
    with h5py.File(tmp_path / "out.h5") as file:
        assert (file["o/same"][()] == values).all()
        assert (file["o/scaled"][()] == values * np.float32(-0.5)).all()
        assert (file["o/wide"][()] == values).all()


@pytest.mark.parametrize(("count", "parts"), [(0, 0), (1, 0), (64, 0), (65, 2), (700, 11)])
def test_long_lists_of_names(count: int, parts: int, tmp_path: Path) -> None:
    """Lists of more than 64,512 bytes are split as Keras splits them, and read back whole; 0: not split."""
    names = [f"{number:04}".ljust(1000, "x") for number in range(count)]
    create_file(str(tmp_path / "out.h5"), Edit(names={("g", "weight_names"): names}))
    with h5py.File(tmp_path / "out.h5") as file:
        keys = sorted(file["g"].attrs)
        assert all(file["g"].attrs[key].nbytes <= ATTRIBUTE_BYTES for key in keys)
    assert keys == sorted(f"weight_names{index}" for index in range(parts)) or (parts == 0 and keys == ["weight_names"])
    with H5File(str(tmp_path / "out.h5")) as opened:
        assert opened.names("g", "weight_names") == names


def test_what_does_not_fit(tmp_path: Path) -> None:
    """Types without a place in these files, names too long for an attribute and wrong shapes are refused."""
    ref = TensorRef("x", "float32", (2,), Inline(bytes(8)))
    for edit in (
        Edit(datasets=(NewDataset("o/x", "float8_e5m2", (1,), None),)),
        Edit(names={("o", "weight_names"): ["x" * 70_000]}),
        Edit(datasets=(NewDataset("o/x", "float32", (3,), ref),)),
    ):
        with pytest.raises(GraftRefused):
            create_file(str(tmp_path / f"{id(edit)}.h5"), edit)


def test_broken_and_hostile_sources(tmp_path: Path) -> None:
    """Damaged files, and data sets that lie in other files, end in one sentence."""
    source = make(tmp_path / "source.h5", LARGE)
    data = source.read_bytes()
    (tmp_path / "cut.h5").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableArtifact):
        edit_file(str(tmp_path / "cut.h5"), str(tmp_path / "out1.h5"), NEW)
    (tmp_path / "secret").write_bytes(bytes(80))
    with h5py.File(source, "r+") as file:
        file.create_dataset("z/outside", (10,), "f8", external=[(str(tmp_path / "secret"), 0, 80)])
    with pytest.raises(UnreadableArtifact, match="another file"):
        edit_file(str(source), str(tmp_path / "out2.h5"), NEW)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """An output that exists is left alone."""
    (tmp_path / "out.h5").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        edit_file(str(make(tmp_path / "source.h5", SMALL)), str(tmp_path / "out.h5"), NEW)
    assert (tmp_path / "out.h5").read_bytes() == b"mine"
