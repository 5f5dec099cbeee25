"""A damaged member of a zip archive is no donor: its state would get a new, correct checksum."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import ckptdoctor
from ckptdoctor.errors import UnreadableArtifact


def flipped(source: Path, out: Path, member: str, back: int) -> Path:
    """A copy with one bit of a stored member changed, so many bytes before its end."""
    data = bytearray(source.read_bytes())
    with zipfile.ZipFile(source) as archive:
        raw = archive.read(member)
    data[data.find(raw) + len(raw) - back] ^= 0x40
    out.write_bytes(data)
    return out


@pytest.mark.parametrize("deflated", [False, True])
def test_a_damaged_npz(fixtures_dir: Path, tmp_path: Path, deflated: bool) -> None:  # noqa: FBT001 - a parameter
    """One bit of one array differs from its member's checksum."""
    donor, target, out = tmp_path / "donor.npz", fixtures_dir / "whole-model.h5", tmp_path / "out.h5"
    state = ckptdoctor.inspect(fixtures_dir / "whole-model.h5")[0].state
    assert state is not None
    shapes = [slot.tensor.shape for slot in state.optimizers[0].slots]
    (np.savez_compressed if deflated else np.savez)(
        donor, np.array(7), *(np.arange(np.prod(shape), dtype="float32").reshape(shape) + 1 for shape in shapes)
    )
    ckptdoctor.graft(donor, target, tmp_path / "fine.h5")
    if deflated:
        data = bytearray(donor.read_bytes())
        with zipfile.ZipFile(donor) as archive:
            crc = archive.getinfo("arr_3.npy").CRC.to_bytes(4, "little")
        where = data.rfind(crc)  # in the central directory
        data[where] ^= 1
        broken = tmp_path / "broken.npz"
        broken.write_bytes(data)
    else:
        broken = flipped(donor, tmp_path / "broken.npz", "arr_3.npy", 2)
    with pytest.raises(UnreadableArtifact, match=r"arr_\d.npy"):
        ckptdoctor.graft(broken, target, out)
    assert not out.exists()


def test_a_damaged_keras_archive(fixtures_dir: Path, tmp_path: Path) -> None:
    """The HDF5 file inside is read without its checksum, and held against it before anything is written."""
    source, out = fixtures_dir / "keras3.keras", tmp_path / "out.keras"
    state = ckptdoctor.inspect(source)[0].state
    assert state is not None
    with zipfile.ZipFile(source) as archive:
        weights = archive.read("model.weights.h5")
    (tmp_path / "weights.h5").write_bytes(weights)
    with h5py.File(str(tmp_path / "weights.h5")) as file:
        offset = file["optimizer/vars/3"].id.get_offset()
    broken = flipped(source, tmp_path / "broken.keras", "model.weights.h5", len(weights) - offset - 3)
    with pytest.raises(UnreadableArtifact, match=r"model.weights.h5.*CRC"):
        ckptdoctor.graft(broken, source, out)
    assert not out.exists()


@pytest.mark.parametrize("side", ["donor", "target"])
@pytest.mark.parametrize("width", [64, 640], ids=["compared", "summed up"])
def test_a_damaged_torch_file(tmp_path: Path, side: str, width: int) -> None:
    """Neither a moment nor a weight is copied that is not what its archive says; large ones are not read twice."""
    torch: Any = pytest.importorskip("torch")
    files = {}
    for name in ("donor", "target"):
        net = torch.nn.Linear(width, width)
        optimizer = torch.optim.Adam(net.parameters())
        if name == "donor":
            net(torch.ones(1, width)).sum().backward()
            optimizer.step()
        files[name] = tmp_path / f"{name}.pt"
        torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, files[name])
    with zipfile.ZipFile(files[side]) as archive:
        sizes = {each.filename: each.file_size for each in archive.infolist() if "/data/" in each.filename}
    tensors = sorted(name for name, size in sizes.items() if size == width * width * 4)
    files[side] = flipped(files[side], tmp_path / f"broken-{side}.pt", tensors[-1], width)
    out = tmp_path / "out.pt"
    with pytest.raises(UnreadableArtifact, match=r"CRC"):
        ckptdoctor.graft(files["donor"], files["target"], out)
    assert not out.exists()
