"""Programs of PyTorch that save and resume, and may be guarded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.errors import NotResumed
from ckptdoctor.guard import assert_resumed

torch: Any = pytest.importorskip("torch", exc_type=ImportError)


def net() -> Any:
    """Two layers of one shape: their moments could be exchanged, and nothing would fail."""
    torch.manual_seed(0)
    return torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})


def parameters(model: Any, order: str = "ab", *, named: bool = False) -> list[Any]:
    """Those of the layers in some order."""
    found = [(f"{each}.{name}", one) for each in order for name, one in model[each].named_parameters()]
    return found if named else [one for _, one in found]


def halving(optimizer: Any) -> Any:
    """A schedule of a function, which no file holds."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)


def program(order: str = "ab", *, kind: str = "Adam", named: bool = False, **settings: Any) -> tuple[Any, Any, Any]:
    """Model, optimizer, scheduler, as the program makes them."""
    model = net()
    optimizer = getattr(torch.optim, kind)(parameters(model, order, named=named), lr=0.01, **settings)
    return model, optimizer, halving(optimizer)


def trained(model: Any, optimizer: Any, scheduler: Any = None, steps: int = 7, accumulate: int = 1) -> None:
    """Some steps."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for _ in range(accumulate):
            model["b"](model["a"](torch.randn(4, 3, generator=generator)).tanh()).pow(2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        if scheduler is not None:
            scheduler.step()


def saved(path: Path, *without: str, **settings: Any) -> Path:
    """A file of a run of seven steps."""
    model, optimizer, scheduler = program(**settings)
    trained(model, optimizer, scheduler)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save({name: each for name, each in state.items() if name not in without}, path)
    return path


def resumed(path: Path, order: str = "ab", **settings: Any) -> tuple[Any, Any, Any]:
    """A program that loads all that the file has."""
    made = program(order, **settings)
    state = torch.load(path, weights_only=True)
    for one, name in zip(made, ("model", "optimizer", "scheduler"), strict=True):
        if name in state:
            one.load_state_dict(state[name])
    return made


def refusal(live: Any, path: Path, **options: Any) -> NotResumed:
    """The error of a guard that has to refuse."""
    with pytest.raises(NotResumed) as raised:
        assert_resumed(live, path, **options)
    assert f"ckptdoctor recipe {path}" in str(raised.value)
    return raised.value
