"""Schedulers against torch.optim's own: the rates that come next, with their state and without."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.examination import examine
from ckptdoctor.state import SchedulerState

torch = pytest.importorskip("torch", exc_type=ImportError)
lrs = torch.optim.lr_scheduler

pytestmark = pytest.mark.filterwarnings("ignore")  # of schedulers that are stepped before, or beyond their end

Make = Callable[[Any], Any]
MAKE: dict[str, Make] = {
    "step": lambda o: lrs.StepLR(o, 3, 0.1),
    "step by one": lambda o: lrs.StepLR(o, 1, 0.9),
    "milestones": lambda o: lrs.MultiStepLR(o, [1, 4, 8, 8], 0.1),
    "constant": lambda o: lrs.ConstantLR(o, 0.5, 4),
    "linear": lambda o: lrs.LinearLR(o, 0.1, 1.0, 5),
    "linear down": lambda o: lrs.LinearLR(o, 1.0, 0.1, 9),
    "exponential": lambda o: lrs.ExponentialLR(o, 0.9),
    "polynomial": lambda o: lrs.PolynomialLR(o, 9, 2.0),
    "cosine": lambda o: lrs.CosineAnnealingLR(o, 5, 0.001),
    "cosine, long": lambda o: lrs.CosineAnnealingLR(o, 50),
    "restarts": lambda o: lrs.CosineAnnealingWarmRestarts(o, 3, 2, 0.01),
    "one cycle": lambda o: lrs.OneCycleLR(o, 0.5, total_steps=30),
    "one cycle, linear": lambda o: lrs.OneCycleLR(o, 0.5, total_steps=30, anneal_strategy="linear", three_phase=True),
    "cyclic": lambda o: lrs.CyclicLR(o, 0.001, 0.1, 4, 2),
    "cyclic, halves": lambda o: lrs.CyclicLR(o, 0.001, 0.1, 2, mode="triangular2"),
    "cyclic, exponential": lambda o: lrs.CyclicLR(o, 0.001, 0.1, 2, mode="exp_range", gamma=0.9),
    "averages": lambda o: torch.optim.swa_utils.SWALR(o, 0.02, anneal_epochs=6),
    "averages, linear": lambda o: torch.optim.swa_utils.SWALR(o, 0.02, anneal_epochs=6, anneal_strategy="linear"),
    "warm-up, cosine": lambda o: lrs.SequentialLR(o, [lrs.LinearLR(o, 0.1, 1.0, 4), lrs.CosineAnnealingLR(o, 9)], [4]),
    "three parts": lambda o: lrs.SequentialLR(
        o, [lrs.ConstantLR(o, 0.1, 2), lrs.LinearLR(o, 0.5, 1.0, 3), lrs.ExponentialLR(o, 0.8)], [2, 6]
    ),
    "chained": lambda o: lrs.ChainedScheduler([lrs.ExponentialLR(o, 0.9), lrs.StepLR(o, 4, 0.5)]),
    "chained warm-up": lambda o: lrs.ChainedScheduler([lrs.LinearLR(o, 0.2, 1.0, 5), lrs.MultiStepLR(o, [3, 8])]),
}
"""Every class whose state tells its rates."""


class Halves:
    """A scale of the program's own; of a mere function the state has nothing."""

    def __call__(self, value: float) -> float:
        """Half as much in each cycle."""
        return float(0.5**value)


UNTOLD: dict[str, Make] = {
    "lambda": lambda o: lrs.LambdaLR(o, lambda step: 0.95**step),
    "multiplied": lambda o: lrs.MultiplicativeLR(o, lambda _: 0.95),
    "plateau": lrs.ReduceLROnPlateau,
    "scaled by an object": lambda o: lrs.CyclicLR(o, 0.001, 0.1, 4, scale_fn=Halves()),
    "a lambda within": lambda o: lrs.SequentialLR(o, [lrs.LambdaLR(o, lambda _: 0.5), lrs.ExponentialLR(o, 0.9)], [30]),
}
"""Those that a function of the program sets, or a metric."""


def _optimizer() -> Any:
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)


def _step(optimizer: Any, scheduler: Any) -> float:
    optimizer.step()
    scheduler.step(1.0) if isinstance(scheduler, lrs.ReduceLROnPlateau) else scheduler.step()
    return float(optimizer.param_groups[0]["lr"])


def _read(tmp_path: Path, optimizer: Any, scheduler: Any) -> SchedulerState:
    path = tmp_path / "scheduled.pt"
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}, path)
    (found,) = examine(str(path))
    assert found.state is not None
    (told,) = found.state.schedulers
    return told


def _close(ours: Sequence[float] | None, theirs: Sequence[float]) -> bool:
    return ours is not None and all(map(math.isclose, ours, theirs))


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 4, 5, 7, 11])
@pytest.mark.parametrize("name", MAKE)
def test_what_comes_next(tmp_path: Path, name: str, steps: int) -> None:
    """The next three rates: as the run goes on, and as it does with a new scheduler and the old optimizer."""
    optimizer = _optimizer()
    scheduler = MAKE[name](optimizer)
    for _ in range(steps):
        _step(optimizer, scheduler)
    found = _read(tmp_path, optimizer, scheduler)
    assert found.class_name == type(scheduler).__name__
    assert found.last_epoch == steps
    assert _close(found.learning_rates, [optimizer.param_groups[0]["lr"]])
    other = _optimizer()
    anew = MAKE[name](other)
    other.load_state_dict(optimizer.state_dict())
    lost = [_step(other, anew) for _ in range(3)]
    kept = [_step(optimizer, scheduler) for _ in range(3)]
    assert _close(found.next, kept), f"{found.next} are {kept}"
    assert _close(found.if_lost, lost), f"{found.if_lost} are {lost}"


@pytest.mark.parametrize("name", UNTOLD)
def test_what_is_not_told(tmp_path: Path, name: str) -> None:
    """No rate is made up where a function or a metric sets it; the class and the count are told."""
    optimizer = _optimizer()
    scheduler = UNTOLD[name](optimizer)
    for _ in range(5):
        _step(optimizer, scheduler)
    state = {key: value for key, value in scheduler.state_dict().items() if key != "_scale_fn_ref"}
    path = tmp_path / "scheduled.pt"
    torch.save({"optimizer": optimizer.state_dict(), "scheduler": state}, path)
    (found,) = examine(str(path))
    assert found.state is not None
    (told,) = found.state.schedulers
    assert (told.next, told.if_lost, told.last_epoch) == (None, None, 5)
    assert type(scheduler).__name__ in {told.class_name, *told.class_candidates}


def test_the_museum(museum: Path) -> None:
    """The same of files by torch 1.5, 1.12 and 2.13, whose schedulers had other keys."""
    judged = 0
    for record in json.loads((museum / "truth.json").read_text(encoding="utf-8")):
        wanted = record.get("schedulers", ())
        if not wanted:
            continue
        (found,) = examine(str(museum / record["path"]))
        assert found.state is not None
        assert [each.name for each in found.state.schedulers] == [each["name"] for each in wanted], record["case"]
        for have, want in zip(found.state.schedulers, wanted, strict=True):
            assert want["class"] in {have.class_name, *have.class_candidates}, record["case"]
            assert have.last_epoch == want["last_epoch"], record["case"]
            assert _close(have.learning_rates, want["lr"]), record["case"]
            if have.next is not None and "lr_next" in want:
                judged += 1
                assert _close(have.next, want["lr_next"]["kept"]), record["case"]
                assert _close(have.if_lost, want["lr_next"]["lost"]), record["case"]
    assert judged > 35


def test_whose_it_is(tmp_path: Path) -> None:
    """Of two optimizers each scheduler is given the one in its place; of one too few nothing is said."""
    one, two = _optimizer(), _optimizer()
    first, second = lrs.StepLR(one, 3), lrs.ExponentialLR(two, 0.9)
    content = {
        "optimizers": [one.state_dict(), two.state_dict()],
        "schedulers": [first.state_dict(), second.state_dict()],
    }
    torch.save(content, tmp_path / "two.pt")
    torch.save({**content, "schedulers": [first.state_dict()]}, tmp_path / "one.pt")
    (both,), (single,) = (examine(str(tmp_path / name)) for name in ("two.pt", "one.pt"))
    assert both.state is not None
    assert single.state is not None
    assert [each.optimizer for each in both.state.schedulers] == ["optimizers/0", "optimizers/1"]
    assert [each.optimizer for each in single.state.schedulers] == [None]
