"""`ckptdoctor verify` of directories: torch.distributed.checkpoint's, and those of the trainers above PyTorch."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
from support.frameworks import verified
from support.pytorch.saved import Touch, adam, by_program, net, outcomes, stepped, torch

from ckptdoctor.verification import Outcome

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")
DROPPED = Outcome.DROPPED


@pytest.mark.parametrize("style", ["plain", "named", "flat"])
def test_a_distributed_checkpoint(tmp_path: Path, style: str) -> None:
    """With numbers for parameters, with names, and flattened: over stand-ins, and into a program."""
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    states = pytest.importorskip("torch.distributed.checkpoint.state_dict")
    model = net()
    optimizer = adam(model)
    if style == "plain":
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    else:
        options = states.StateDictOptions(flatten_optimizer_state_dict=style == "flat")
        state = dict(zip(("model", "optimizer"), states.get_state_dict(model, optimizer, options=options), strict=True))
    dcp.save(state, checkpoint_id=str(tmp_path / "at"), no_dist=True)
    found = verified(tmp_path / "at")
    assert found.ok, found.error
    assert (found.iterations.found, len(found.slots)) == (3, 8)
    turned = by_program(tmp_path / "at", tmp_path, "model, torch.optim.Adam([*model.parameters()][::-1])")
    assert turned.ok == (style != "plain")  # names find their parameters in any order
    assert by_program(tmp_path / "at", tmp_path, "model, torch.optim.Adam(model.parameters())").ok


def test_a_setting_that_a_directory_lacks(tmp_path: Path) -> None:
    """As newer versions of torch want more: the usual call fails, and the one that restores it is tried."""
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    model = net()
    state = {"model": model.state_dict(), "optimizer": adam(model).state_dict()}
    del state["optimizer"]["param_groups"][0]["maximize"]
    dcp.save(state, checkpoint_id=str(tmp_path / "at"), no_dist=True)
    found = verified(tmp_path / "at")
    assert not found.ok
    assert "Missing key in checkpoint state_dict: optimizer.param_groups.0.maximize" in (found.error or "")
    assert found.restoring is not None
    assert "allow_partial_load=True" in found.restoring.call


def trainer(folder: Path) -> Path:
    """A `checkpoint-3` as transformers' Trainer leaves it."""
    model = net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 9)
    for _ in range(3):
        stepped(optimizer, 1)
        scheduler.step()
    folder.mkdir()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    torch.save(scheduler.state_dict(), folder / "scheduler.pt")
    (folder / "trainer_state.json").write_text('{"global_step": 3, "max_steps": 9}', encoding="utf-8")
    return folder


def test_a_trainers_directory(tmp_path: Path) -> None:
    """Trainer loads optimizer.pt and scheduler.pt together or not at all."""
    path = trainer(tmp_path / "checkpoint-3")
    found = verified(path)
    assert found.ok
    assert [each.last_epoch.found for each in found.optimizers[0].schedulers] == [3]
    assert any("transformers itself was not asked" in each for each in found.notes)
    (path / "scheduler.pt").rename(tmp_path / "kept")
    found = verified(path)
    assert not found.ok
    assert outcomes(found) == {DROPPED}
    assert found.restoring is not None
    assert found.restoring.key == "torch-by-hand"
    (tmp_path / "kept").rename(path / "scheduler.pt")
    (path / "optimizer.pt").unlink()
    found = verified(path)
    assert not found.ok
    assert "Trainer loads neither" in (found.error or "")


def test_a_state_of_accelerate(tmp_path: Path) -> None:
    """Its parts are files of torch.save."""
    source = trainer(tmp_path / "source")
    path = tmp_path / "state"
    path.mkdir()
    for old, new in (("pytorch_model.bin",) * 2, ("optimizer.pt", "optimizer.bin"), ("scheduler.pt", "scheduler.bin")):
        shutil.copy(source / old, path / new)
    found = verified(path)
    assert found.format.value == "accelerate-state"
    assert found.ok
    assert len(found.slots) == 8


def test_deepspeed_is_not_faked(tmp_path: Path) -> None:
    """What nothing here can load is said, and is no success."""
    path = tmp_path / "global_step3"
    path.mkdir()
    model = net()
    state = {
        "module": model.state_dict(),
        "optimizer": adam(model).state_dict(),
        "global_steps": 3,
        "ds_version": "0.19",
    }
    torch.save(state, path / "mp_rank_00_model_states.pt")
    (tmp_path / "latest").write_text("global_step3", encoding="utf-8")
    found = verified(tmp_path)
    assert not found.ok
    assert "only deepspeed itself loads it" in (found.error or "")


def test_nothing_of_a_directory_is_run(tmp_path: Path) -> None:
    """Neither what `.metadata` names, nor what an object among the data does; dcp.load would run both."""
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    model = net()
    state = {"model": model.state_dict(), "optimizer": adam(model).state_dict()}
    state["optimizer"]["param_groups"][0]["eps"] = Touch(tmp_path / "ran")
    dcp.save(state, checkpoint_id=str(tmp_path / "objects"), no_dist=True)
    found = verified(tmp_path / "objects")
    assert "refuses posix.mkdir" in (found.error or "")
    del state["optimizer"]["param_groups"][0]["eps"]
    dcp.save(state, checkpoint_id=str(tmp_path / "named"), no_dist=True)
    metadata = tmp_path / "named" / ".metadata"
    described = pickle.loads(metadata.read_bytes())
    described.storage_meta = Touch(tmp_path / "ran")
    metadata.write_bytes(pickle.dumps(described))
    found = verified(tmp_path / "named")
    assert found.error == ".metadata names posix.mkdir, which dcp.load would run: it was not loaded"
    assert not (tmp_path / "ran").exists()
