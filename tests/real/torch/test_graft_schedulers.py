"""Schedulers in grafts into PyTorch's files: of the same class they go along, and of another one they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.commands import ckptdoctor

torch = pytest.importorskip("torch", exc_type=ImportError)

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

schedulers = torch.optim.lr_scheduler


def stepped(model: Any, steps: int, rate: float = 0.01) -> Any:
    """An Adam that stepped."""
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for _ in range(steps):
        for each in model.parameters():
            each.grad = torch.ones_like(each)
        optimizer.step()
    return optimizer


def test_of_another_class(tmp_path: Path) -> None:
    """load_state_dict would take it: it is refused, and the state alone can be had."""
    model = torch.nn.Linear(3, 2)
    for name, rate, make, size in (
        ("donor", 0.01, schedulers.StepLR, 3),
        ("target", 0.5, schedulers.CosineAnnealingLR, 9),
    ):
        optimizer = stepped(model, 4, rate)
        held = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save({**held, "scheduler": make(optimizer, size).state_dict()}, tmp_path / f"{name}.pt")
    files = ("--from", tmp_path / "donor.pt", "--into", tmp_path / "target.pt", "--output", tmp_path / "out.pt")
    refused = ckptdoctor("graft", *files)
    assert refused.code == 4
    assert all(each in refused.err for each in ("StepLR", "CosineAnnealingLR", "--only slots --only iterations"))
    done = ckptdoctor("graft", *files, "--only", "slots", "--only", "iterations")
    assert done.code == 0, done.err
    before, after = (torch.load(tmp_path / f"{name}.pt") for name in ("target", "out"))
    assert after["scheduler"] == before["scheduler"]
    assert after["optimizer"]["param_groups"] == before["optimizer"]["param_groups"]


def test_of_several_optimizers(tmp_path: Path) -> None:
    """Each comes with its own, into every form of a Lightning checkpoint, and none takes the place of another."""
    parts = {"g": torch.nn.Linear(3, 3), "d": torch.nn.Linear(3, 3)}
    optimizers = {name: stepped(each, steps) for steps, (name, each) in enumerate(parts.items(), 2)}
    own = {"g": schedulers.StepLR(optimizers["g"], 3), "d": schedulers.StepLR(optimizers["d"], 5)}
    donor: dict[str, Any] = {name: each.state_dict() for name, each in parts.items()}
    donor |= {f"opt_{name}": each.state_dict() for name, each in optimizers.items()}
    torch.save({**donor, **{f"sched_{name}": each.state_dict() for name, each in own.items()}}, tmp_path / "donor.pt")
    weights = {f"{name}.{key}": each for name, part in parts.items() for key, each in part.state_dict().items()}
    bare = {"pytorch-lightning_version": "2.6.6", "epoch": 1, "global_step": 5, "state_dict": weights}
    fresh = [torch.optim.Adam(each.parameters()).state_dict() for each in parts.values()]
    there = [schedulers.StepLR(each, 9).state_dict() for each in optimizers.values()]
    targets = {
        "bare": bare,
        "none": {**bare, "optimizer_states": [{}], "lr_schedulers": []},
        "fresh": {**bare, "optimizer_states": fresh, "lr_schedulers": []},
        "full": {**bare, "optimizer_states": fresh, "lr_schedulers": there},
    }
    for name, held in targets.items():
        torch.save(held, tmp_path / f"{name}.ckpt")
        out = tmp_path / f"out-{name}.ckpt"
        result = ckptdoctor(
            "graft", "--from", tmp_path / "donor.pt", "--into", tmp_path / f"{name}.ckpt", "--output", out
        )
        assert result.code == 0, (name, result.err)
        assert "left behind" not in result.out, name
        found = torch.load(out, weights_only=True)
        assert [float(each["state"][0]["step"]) for each in found["optimizer_states"]] == [2, 3], name
        assert [each["step_size"] for each in found["lr_schedulers"]] == [3, 5], name


def test_published_weights(tmp_path: Path) -> None:
    """Lightning resumes from no file without its version, so what is written is for torch.load, and says so."""
    model = torch.nn.Linear(3, 2)
    optimizer = stepped(model, 2)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "donor.pt")
    torch.save({"state_dict": model.state_dict()}, tmp_path / "zoo.ckpt")
    files = ("--from", tmp_path / "donor.pt", "--into", tmp_path / "zoo.ckpt", "--output", tmp_path / "out.ckpt")
    result = ckptdoctor("graft", *files)
    assert result.code == 0, result.err
    assert "trainer.fit" not in result.out
    optimizer.load_state_dict(torch.load(tmp_path / "out.ckpt", weights_only=True)["optimizer"])
