"""The models, data and training that grafts of PyTorch are proven with: resumed, a run equals the one that went on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

BEFORE, AFTER = 7, 12
"""Steps before a checkpoint, and in all."""

Optimizer = torch.optim.Optimizer
Make = Callable[[Iterable[Any]], Optimizer]

CLASSES: dict[str, Make] = {
    "SGD": lambda p: torch.optim.SGD(p, 0.05),
    "momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, 0.01),
    "AMSGrad": lambda p: torch.optim.Adam(p, 0.01, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.01),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.9, centered=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 0.01),
    "Adadelta": torch.optim.Adadelta,
    "Adamax": torch.optim.Adamax,
    "NAdam": torch.optim.NAdam,
    "RAdam": torch.optim.RAdam,
    "ASGD": torch.optim.ASGD,
    "Rprop": torch.optim.Rprop,
    "Adafactor": torch.optim.Adafactor,
}


class Net(torch.nn.Module):
    """Three layers of one shape, whose order nothing but their names tells."""

    def __init__(self, names: str = "abc", *, longer: bool = False) -> None:
        super().__init__()
        for name in names:
            setattr(self, name, torch.nn.Linear(4, 4))
        self.norm = torch.nn.BatchNorm1d(4)
        self.out = torch.nn.Linear(4, 2)
        self.new = torch.nn.Linear(2, 2) if longer else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layers in the order of their names."""
        for name in "abc":
            x = torch.tanh(getattr(self, name)(x))
        x = self.out(self.norm(x))
        return x if self.new is None else self.new(x)


def train(model: torch.nn.Module, optimizer: Optimizer, start: int, end: int, scheduler: Any = None) -> None:
    """So many steps, each on data of its own."""
    for step in range(start, end):
        generator = torch.Generator().manual_seed(step)
        x, y = torch.randn(8, 4, generator=generator), torch.randn(8, 2, generator=generator)
        optimizer.zero_grad()
        ((model(x) - y) ** 2).mean().backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()


def decayed(model: torch.nn.Module) -> list[dict[str, Any]]:
    """Two groups: matrices decay, everything else does not."""
    parameters = list(model.parameters())
    return [
        {"params": [each for each in parameters if each.dim() > 1], "weight_decay": 0.1},
        {"params": [each for each in parameters if each.dim() <= 1], "weight_decay": 0.0},
    ]


def net(seed: int = 1, names: str = "abc", *, longer: bool = False) -> Net:
    """A model whose weights a seed tells."""
    torch.manual_seed(seed)
    return Net(names, longer=longer)


def resumed(weights: Any, state: Any, make: Make, *, groups: bool = False, scheduler: Any = None) -> Net:
    """A model that goes on from what was loaded, to the end."""
    model = Net()
    model.load_state_dict(weights)
    optimizer = make(decayed(model) if groups else model.parameters())
    follows = None if scheduler is None else torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
    optimizer.load_state_dict(state)
    if follows is not None:
        follows.load_state_dict(scheduler)
    train(model, optimizer, BEFORE, AFTER, follows)
    return model


def difference(one: torch.nn.Module, other: torch.nn.Module) -> float:
    """The largest between two models' weights."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return float(max((a - b).abs().max() for a, b in pairs))
