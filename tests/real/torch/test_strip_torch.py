"""What `strip` leaves of PyTorch's checkpoints is loaded by torch, Lightning, transformers and accelerate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.commands import ckptdoctor

torch = pytest.importorskip("torch", exc_type=ImportError)

from support.pytorch.nets import BEFORE, Net, decayed, difference, net, train  # noqa: E402 - they need torch

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]


def strip(path: Path, out: Path) -> None:
    """Strips an artifact, which has to succeed."""
    result = ckptdoctor("strip", path, "--output", out)
    assert result.code == 0, result.err


@pytest.fixture(scope="module")
def run() -> tuple[Any, Any]:
    """A model that was trained, and its optimizer."""
    model = net()
    optimizer = torch.optim.AdamW(decayed(model), 0.01)
    train(model, optimizer, 0, BEFORE)
    return model, optimizer


@pytest.mark.parametrize("legacy", [False, True])
def test_torch_load(run: tuple[Any, Any], tmp_path: Path, *, legacy: bool) -> None:
    """With weights_only=True; files of the archive mapped into memory too."""
    model, optimizer = run
    saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    strip(tmp_path / "a.pt", tmp_path / "b.pt")
    for mapped in (False,) if legacy else (False, True):
        left = torch.load(tmp_path / "b.pt", weights_only=True, mmap=mapped)
        assert (list(left), left["epoch"]) == (["model", "epoch"], 3)
        loaded = Net()
        loaded.load_state_dict(left["model"])
        assert difference(model, loaded) == 0


@pytest.mark.parametrize("layout", ["plain", "named", "flat"])
def test_distributed(run: tuple[Any, Any], tmp_path: Path, layout: str) -> None:
    """dcp.load fills a model from a directory that has lost its optimizer, whatever its keys were."""
    dcp = pytest.importorskip("torch.distributed.checkpoint", exc_type=ImportError)
    states = pytest.importorskip("torch.distributed.checkpoint.state_dict", exc_type=ImportError)
    model, optimizer = run
    if layout == "plain":
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    else:
        options = states.StateDictOptions(flatten_optimizer_state_dict=layout == "flat")
        weights, held = states.get_state_dict(model, optimizer, options=options)
        state = {"model": weights, "optimizer": held}
    dcp.save(state, checkpoint_id=tmp_path / "a")
    strip(tmp_path / "a", tmp_path / "b")
    loaded = Net()
    left = {"model": loaded.state_dict()}
    dcp.load(left, checkpoint_id=tmp_path / "b")
    loaded.load_state_dict(left["model"])
    assert difference(model, loaded) == 0
    metadata = dcp.FileSystemReader(tmp_path / "b").read_metadata()
    assert {key.partition(".")[0] for key in metadata.state_dict_metadata} == {"model"}
    size = sum(os.path.getsize(each) for each in (tmp_path / "b").iterdir())
    assert size < sum(os.path.getsize(each) for each in (tmp_path / "a").iterdir()) / 2


def test_two_ranks(tmp_path: Path) -> None:
    """Chunks of a tensor in the files of several ranks stay where their metadata says."""
    dcp = pytest.importorskip("torch.distributed.checkpoint", exc_type=ImportError)
    spawn = pytest.importorskip("torch.multiprocessing").spawn
    spawn(_saving, (str(tmp_path),), nprocs=2)
    strip(tmp_path / "a", tmp_path / "b")
    left = {"model": {"w": torch.zeros(5, 3)}}
    dcp.load(left, checkpoint_id=tmp_path / "b")
    assert torch.equal(left["model"]["w"], torch.arange(15.0).reshape(5, 3))


def _saving(rank: int, folder: str) -> None:
    """One of two ranks that save a tensor which is cut between them, and its momentum."""
    from torch import distributed
    from torch.distributed import checkpoint, device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    mesh = device_mesh.init_device_mesh("cpu", (2,))
    weight = distribute_tensor(torch.arange(15.0).reshape(5, 3), mesh, [Shard(0)])
    momentum = distribute_tensor(torch.full((5, 3), 7.5), mesh, [Shard(0)])
    group = {"lr": 0.1, "momentum": 0.9, "params": ["w"]}
    optimizer = {"state": {"w": {"momentum_buffer": momentum}}, "param_groups": [group]}
    checkpoint.state_dict_saver.save({"model": {"w": weight}, "optim": optimizer}, checkpoint_id=f"{folder}/a")
    distributed.destroy_process_group()


def test_lightning(tmp_path: Path) -> None:
    """load_from_checkpoint gives the module, with its hyperparameters."""
    lightning = pytest.importorskip("lightning")

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self, width: int = 4) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = torch.nn.Linear(width, width)

        def training_step(self, batch: Any, _: int) -> Any:
            return self.net(batch[0]).pow(2).mean()

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), 0.01)
            return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 2)}

    module = Module(6)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(8, 6)), batch_size=4)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = lightning.Trainer(max_epochs=2, enable_checkpointing=False, **quiet)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    strip(tmp_path / "a.ckpt", tmp_path / "b.ckpt")
    loaded = Module.load_from_checkpoint(tmp_path / "b.ckpt")
    assert loaded.hparams.width == 6
    assert difference(module, loaded) == 0
    lightning.Trainer(**quiet).validate  # noqa: B018 - a trainer is made without a checkpoint as well


def test_transformers(tmp_path: Path) -> None:
    """from_pretrained loads what is left of a `checkpoint-N`."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=16, n_positions=8)
    model = transformers.GPT2LMHeadModel(config)
    data = [{"input_ids": torch.arange(4), "labels": torch.arange(4)}] * 8
    arguments = transformers.TrainingArguments(
        str(tmp_path / "run"), max_steps=2, save_steps=2, report_to=[], use_cpu=True, disable_tqdm=True
    )
    transformers.Trainer(model, arguments, train_dataset=data).train()
    strip(tmp_path / "run" / "checkpoint-2", tmp_path / "checkpoint-2")
    left = set(os.listdir(tmp_path / "checkpoint-2"))
    assert not left & {"optimizer.pt", "scheduler.pt", "rng_state.pth"}
    loaded = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "checkpoint-2")
    assert difference(model.cpu(), loaded) == 0


def test_accelerate(tmp_path: Path) -> None:
    """load_checkpoint_in_model loads what is left of save_state."""
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    model = net()
    prepared, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), 0.01))
    train(prepared, optimizer, 0, 3)
    accelerator.save_state(tmp_path / "a")
    strip(tmp_path / "a", tmp_path / "b")
    loaded = Net()
    accelerate.load_checkpoint_in_model(loaded, str(tmp_path / "b"))
    assert difference(accelerator.unwrap_model(prepared), loaded) == 0
