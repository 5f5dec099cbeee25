"""Models as they lie on the Hugging Face Hub: weights, whole or in shards, beside their configuration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.commands import ckptdoctor as run

import ckptdoctor
from ckptdoctor.examination import Examination
from ckptdoctor.formats.locate import locate
from ckptdoctor.state import Format, Status


def _read(path: Path) -> Examination:
    (found,) = ckptdoctor.inspect(path)
    return found


def _names(found: Examination) -> set[str]:
    assert found.state is not None
    return {each.path for each in found.state.variables}


@pytest.fixture
def whole(museum: Path, tmp_path: Path) -> Path:
    """What `save_pretrained` leaves of a small model."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.safetensors", "config.json"):
        shutil.copy(museum / "torch2.13/trainer/checkpoint-7" / name, folder)
    return folder


@pytest.fixture
def cut(whole: Path, tmp_path: Path) -> Path:
    """The same in shards, without the configuration."""
    folder = tmp_path / "cut"
    ckptdoctor.convert(whole, folder, "safetensors", max_shard=100)
    assert max(each.name for each in folder.iterdir()) == "model.safetensors.index.json"
    return folder


def test_whole(whole: Path) -> None:
    """It is weights alone, by the library that its configuration names; not what is in the file beside it."""
    found = _read(whole)
    assert (found.format, found.status) == (Format.SAFETENSORS, Status.ABSENT)
    assert found.state is not None
    assert found.state.producer.framework == "transformers"
    assert _names(found) == _names(_read(whole / "model.safetensors"))


def test_shards(whole: Path, cut: Path) -> None:
    """All of them, by the directory or by its index; one that is missing is an error."""
    expected = _names(_read(whole))
    for path in (cut, cut / "model.safetensors.index.json"):
        found = _read(path)
        assert (found.format, found.resolved) == (Format.SAFETENSORS, str(cut))
        assert _names(found) == expected
    gone = next(cut.glob("model-00001-*"))
    gone.unlink()
    found = _read(cut)
    assert f"shard {gone.name} is missing" in str(found.findings)
    assert "I002" in {each.code for each in found.findings}
    assert _names(found) < expected


def test_files_of_torch(museum: Path, tmp_path: Path) -> None:
    """An older model, of torch.save."""
    shutil.copy(museum / "torch2.13/accelerate-bin/pytorch_model.bin", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"transformers_version": "4.30.0"}))
    found = _read(tmp_path)
    assert (found.format, found.status) == (Format.TORCH_CHECKPOINT, Status.ABSENT)
    assert _names(found)


def test_an_adapter(whole: Path) -> None:
    """Peft's, which has no other weights beside it."""
    (whole / "model.safetensors").rename(whole / "adapter_model.safetensors")
    (whole / "config.json").rename(whole / "adapter_config.json")
    assert _read(whole).format is Format.SAFETENSORS


def test_a_run_that_saved_its_model(museum: Path, whole: Path) -> None:
    """Beside checkpoints it is the model that came of them: what resumes is the newest checkpoint."""
    shutil.copytree(museum / "torch2.13/trainer/checkpoint-7", whole / "checkpoint-7")
    (target,) = locate(str(whole))
    assert target.resolved == str(whole / "checkpoint-7")
    assert _read(whole).status is Status.COMPLETE


@pytest.mark.parametrize("configured", [True, False])
@pytest.mark.parametrize(
    ("artifact", "name"),
    [
        ("trainer/checkpoint-7/optimizer.pt", "optimizer.pt"),
        ("safetensors-optimizer.safetensors", "optimizer.safetensors"),
    ],
)
def test_an_optimizer_beside(museum: Path, whole: Path, artifact: str, name: str, *, configured: bool) -> None:
    """A program that saves its optimizer beside its model has more than weights: nobody says that there are no more."""
    shutil.copy(museum / "torch2.13" / artifact, whole / name)
    if not configured:
        (whole / "config.json").unlink()
    found = [each for each in ckptdoctor.inspect(whole, all=True) if each.state is not None and each.state.optimizers]
    assert [Path(each.path).name for each in found] == [name]


def test_what_can_be_done_with_it(whole: Path, cut: Path, tmp_path: Path) -> None:
    """It is compared and converted as a file is; nothing of it is to be mended."""
    assert ckptdoctor.diff(whole, cut, weights=True).weights.verdict.value == "equal"
    ckptdoctor.convert(cut, tmp_path / "again.safetensors")
    assert _names(_read(tmp_path / "again.safetensors")) == _names(_read(whole))
    listed = run("repair", "--list", cut)
    assert (listed.code, "nothing is to be mended" in listed.out) == (0, True), listed
