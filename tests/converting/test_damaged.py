"""What is damaged is not converted: the result would have checksums of its own, which are right."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest

import ckptdoctor
from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.errors import UnreadableArtifact

WAYS = ("torch-checkpoint", "safetensors", "torch-dcp")


def _refused(source: Path, folder: Path, *ways: str) -> None:
    for way in ways:
        with pytest.raises(UnreadableArtifact, match="cannot be trusted"):
            ckptdoctor.convert(source, folder / f"out.{way}", to=way)
        assert not (folder / f"out.{way}").exists()


@pytest.fixture
def content() -> Any:
    """A model, its Adam, and a tensor beside them."""
    torch: Any = pytest.importorskip("torch")
    net = torch.nn.Linear(5, 4)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 5)).sum().backward()
    optimizer.step()
    return {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "more": {"seen": torch.rand(7)}}


def test_every_member_of_an_archive(content: Any, tmp_path: Path) -> None:
    """Each storage of a file of torch.save, one after the other."""
    import torch

    torch.save(content, tmp_path / "a.pt")
    whole = (tmp_path / "a.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        members = {each.filename: archive.read(each) for each in archive.infolist() if "/data/" in each.filename}
    assert len(members) == 9
    for data in {content for content in members.values() if len(content) > 4}:
        broken = bytearray(whole)
        broken[whole.index(data) + 2] ^= 0x40
        (tmp_path / "b.pt").write_bytes(broken)
        _refused(tmp_path / "b.pt", tmp_path, "torch-dcp")


@pytest.mark.parametrize("what", ["model", "exp_avg"])
def test_a_distributed_checkpoint(content: Any, tmp_path: Path, what: str) -> None:
    """Its files hold an archive a tensor; nor is its optimizer's state put into another file."""
    import torch

    torch.save(content, tmp_path / "a.pt")
    ckptdoctor.convert(tmp_path / "a.pt", tmp_path / "ranks", to="torch-dcp")
    held = content["model"]["weight"] if what == "model" else content["optimizer"]["state"][0]["exp_avg"]
    (file,) = (tmp_path / "ranks").glob("*.distcp")
    data = bytearray(file.read_bytes())
    data[data.index(held.numpy().tobytes()) + 6] ^= 0x40
    file.write_bytes(data)
    _refused(tmp_path / "ranks", tmp_path, *WAYS[:2])
    if what == "exp_avg":
        with pytest.raises(UnreadableArtifact, match="cannot be trusted"):
            ckptdoctor.graft(tmp_path / "ranks", tmp_path / "a.pt", tmp_path / "out.pt")


def test_a_checkpoint_of_tensorflow(museum: Path, tmp_path: Path) -> None:
    """Whose index has a CRC-32C of each tensor."""
    for each in (museum / "tf/v2.10-tfk-ckpt-adam").glob("ckpt.*"):
        shutil.copy(each, tmp_path)
    (data,) = tmp_path.glob("ckpt.data*")
    for ref in (each for each in read_bundle(str(tmp_path / "ckpt")).tensors.values() if len(each.shape) == 2):
        broken = bytearray(data.read_bytes())
        whole = bytes(broken)
        broken[ref.location.offset + 1] ^= 1  # type: ignore[union-attr]
        data.write_bytes(broken)
        _refused(tmp_path / "ckpt", tmp_path, *WAYS)
        data.write_bytes(whole)


def test_an_archive_of_keras(museum: Path, tmp_path: Path) -> None:
    """One member has all tensors."""
    source = museum / "keras/k3.15jax-sameshape-keras.keras"
    with zipfile.ZipFile(source) as archive:
        weights = archive.read("model.weights.h5")
    (tmp_path / "w.h5").write_bytes(weights)
    with h5py.File(str(tmp_path / "w.h5")) as file:
        offset = file["optimizer/vars/3"].id.get_offset()
    data = bytearray(source.read_bytes())
    data[data.index(weights) + offset + 3] ^= 0x40
    (tmp_path / "a.keras").write_bytes(data)
    _refused(tmp_path / "a.keras", tmp_path, *WAYS)
