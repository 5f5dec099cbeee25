"""What torch saves, made by torch itself: a small model, its optimizer, and programs that load them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from support.frameworks import verified

from ckptdoctor.verification import Outcome, Verification

torch: Any = pytest.importorskip("torch")


def net() -> Any:
    """Two layers, whose parameters all differ in shape."""
    nn = torch.nn
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def stepped(optimizer: Any, steps: int = 3) -> Any:
    """An optimizer after some steps with gradients that differ everywhere."""
    generator = torch.Generator().manual_seed(7)

    def loss() -> float:
        for group in optimizer.param_groups:
            for each in group["params"]:
                each.grad = torch.randn(each.shape, generator=generator).to(each.dtype)
        return 0.5

    for _ in range(steps):
        loss()
        optimizer.step(loss)
    return optimizer


def adam(model: Any, **settings: Any) -> Any:
    """Adam after three steps."""
    return stepped(torch.optim.Adam(model.parameters(), lr=0.01, **settings))


def saved(path: Path, **more: Any) -> Path:
    """A file with a model and its Adam."""
    model = net()
    torch.save({"model": model.state_dict(), "optimizer": adam(model).state_dict(), **more}, path)
    return path


def script(folder: Path, text: str) -> str:
    """A script whose function `build` makes a program; `model`, the one of `net`, and `torch` are at hand."""
    path = folder / "program.py"
    head = "import torch\nnn = torch.nn\ndef build():\n"
    body = f"    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))\n    return {text}\n"
    path.write_text(head + body, encoding="utf-8")
    return f"{path}:build"


def by_program(path: Path, folder: Path, text: str) -> Verification:
    """What the program makes of a file."""
    return verified(path, script=script(folder, text))


def outcomes(found: Verification) -> set[Outcome]:
    """What became of slots and counts."""
    return {each.outcome for one in found.optimizers for each in (*one.slots, *one.counts)}


class Touch:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)
