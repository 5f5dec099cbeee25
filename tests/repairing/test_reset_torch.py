"""Optimizers of PyTorch that begin anew: none remembers anything of its first life, in its state or in its groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ckptdoctor
from ckptdoctor.errors import Refused

torch: Any = pytest.importorskip("torch")

CLASSES = [f"torch.optim.{name}" for name in ("Adadelta", "Adagrad", "AdamW", "ASGD", "NAdam", "RAdam", "RMSprop")]
CLASSES += [f"schedulefree.{name}" for name in ("AdamWScheduleFree", "RAdamScheduleFree", "SGDScheduleFree")]
CLASSES += ["prodigyopt.Prodigy"]
AVERAGED = {
    "lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8, "r": 0.0, "k": 3, "warmup_steps": 0, "train_mode": True,
    "weight_sum": 0.0003, "lr_max": 0.01, "scheduled_lr": 0.01, "weight_lr_power": 2.0, "weight_decay": 0,
    "foreach": True, "params": [0],
}  # fmt: skip
"""A group of schedulefree 1.4's AdamWScheduleFree."""


def _train(model: Any, optimizer: Any, steps: int) -> None:
    if hasattr(optimizer, "train"):
        optimizer.train()
    for number in range(steps):
        optimizer.zero_grad()
        (model(torch.arange(6.0).reshape(2, 3)) ** 2).sum().backward()
        for each in model.parameters():
            each.grad += number
        optimizer.step()


@pytest.mark.parametrize("name", CLASSES)
def test_trains_on_as_a_new_one(tmp_path: Path, name: str) -> None:
    """The real classes: with what was reset and with a new one the weights are the same."""
    package, _, last = name.rpartition(".")
    make = getattr(pytest.importorskip(package), last)
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 4)
    optimizer = make(model.parameters(), lr=0.01)
    _train(model, optimizer, 3)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a.pt")
    ckptdoctor.repair(tmp_path / "a.pt", tmp_path / "b.pt", fixes=["reset"])
    found = torch.load(tmp_path / "b.pt", weights_only=True)
    ends = []
    for state in (found["optimizer"], None):
        model.load_state_dict(found["model"])
        optimizer = make(model.parameters(), lr=0.01)
        if state is not None:
            optimizer.load_state_dict(state)
        _train(model, optimizer, 4)
        ends.append(model.weight.detach().clone())
    assert torch.equal(*ends)


def test_what_groups_count(tmp_path: Path) -> None:
    """A count, the sum of weights and the largest rate of schedulefree are no settings."""
    state = {0: {"z": torch.rand(4, 3), "exp_avg_sq": torch.rand(4, 3)}}
    torch.save({"model": {"w": torch.rand(4, 3)}, "o": {"state": state, "param_groups": [AVERAGED]}}, tmp_path / "a.pt")
    ckptdoctor.repair(tmp_path / "a.pt", tmp_path / "b.pt", fixes=["reset"])
    found = torch.load(tmp_path / "b.pt", weights_only=True)["o"]
    new = {"k": 0, "weight_sum": 0.0, "lr_max": -1.0, "scheduled_lr": 0.0}
    assert found == {"state": {}, "param_groups": [{**AVERAGED, **new}]}


@pytest.mark.parametrize("count", ["k", "step", "counter", "lookahead_step"])
def test_what_nobody_knows(tmp_path: Path, count: str) -> None:
    """An unknown class that counts in its groups may keep more there: nothing is written."""
    group = {"lr": 0.1, "secret": 2.5, count: 3, "params": [0]}
    optimizer = {"state": {0: {"m": torch.rand(4)}}, "param_groups": [group]}
    torch.save({"model": {"w": torch.rand(4)}, "optimizer": optimizer}, tmp_path / "a.pt")
    with pytest.raises(Refused, match=f"{count} in its groups is not known"):
        ckptdoctor.repair(tmp_path / "a.pt", tmp_path / "b.pt", fixes=["reset"])
    assert not (tmp_path / "b.pt").exists()


def test_pickled_whole(tmp_path: Path) -> None:
    """An optimizer that was pickled has a defaultdict of states, without which it takes no step."""
    model = torch.nn.Linear(3, 4)
    optimizer = torch.optim.Adam(model.parameters())
    _train(model, optimizer, 2)
    torch.save({"model": model, "optimizer": optimizer}, tmp_path / "a.pt")
    with pytest.raises(Refused, match="pickled whole"):
        ckptdoctor.repair(tmp_path / "a.pt", tmp_path / "b.pt", fixes=["reset"])
    assert not (tmp_path / "b.pt").exists()
