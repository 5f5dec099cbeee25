"""`at(step)` of schedules, held against the frameworks' own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ckptdoctor
from ckptdoctor.errors import UsageProblem
from ckptdoctor.state import Schedule, SchedulerState


def test_keras() -> None:
    """A schedule of Keras at any step; one of the program's own at none."""
    config = {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5}
    schedule = Schedule("ExponentialDecay", config)
    assert schedule.at(0) == pytest.approx(0.1)
    assert schedule.at(20) == pytest.approx(0.025)
    assert Schedule("Own>Warmup", config).at(3) is None
    with pytest.raises(UsageProblem, match="no step -1"):
        schedule.at(-1)


def test_of_an_artifact(fixtures_dir: Path) -> None:
    """That of a file goes on from the rate that is told."""
    (each,) = ckptdoctor.inspect(fixtures_dir / "keras3.keras")
    schedule = each.optimizers[0].schedule
    assert schedule is not None
    assert schedule.at(7) == schedule.learning_rate
    assert schedule.at(0) == schedule.learning_rate_if_lost


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("StepLR", {"step_size": 3, "gamma": 0.5}),
        ("MultiStepLR", {"milestones": [5, 9, 12]}),
        ("LinearLR", {"total_iters": 20}),
        ("ExponentialLR", {"gamma": 0.9}),
        ("PolynomialLR", {"total_iters": 15}),
        ("CosineAnnealingLR", {"T_max": 12}),
        ("CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2}),
        ("OneCycleLR", {"max_lr": 0.1, "total_steps": 40}),
    ],
)
def test_torch(tmp_path: Path, name: str, settings: dict[str, Any]) -> None:
    """The next 20 rates are those of the class; what has passed is not told."""
    torch: Any = pytest.importorskip("torch", exc_type=ImportError)
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.05, momentum=0.9)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **settings)
    weight.grad = torch.ones(2)
    for _ in range(7):
        optimizer.step()
        scheduler.step()
    state = {"model": {"w": weight.detach()}, "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save(state, tmp_path / "a.pt")
    (each,) = ckptdoctor.inspect(tmp_path / "a.pt")
    assert each.state is not None
    (told,) = each.state.schedulers
    group = each.optimizers[0].groups[0].hyperparameters
    for step in range(7, 28):
        assert told.at(step, group) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
        optimizer.step()
        scheduler.step()
    assert told.at(8) == told.at(8, group)
    assert (told.at(20) is None) == (name == "OneCycleLR")
    assert told.at(6) is None
    with pytest.raises(UsageProblem, match="no step -3"):
        told.at(-3)


def test_of_another_library() -> None:
    """Rates of a scheduler that counts by other rules are not told."""
    stored = {"base_values": [0.1], "step_size": 3, "gamma": 0.5, "last_epoch": 2}
    assert SchedulerState("s", "StepLR", last_epoch=2, learning_rates=(0.1,), stored=stored).at(9) is None
    assert SchedulerState("s", None).at(9) is None
