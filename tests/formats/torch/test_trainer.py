"""The schedule of a Trainer's checkpoint, whose function is in training_args.bin."""

from __future__ import annotations

import enum
import json
import shutil
import sys
import types
from pathlib import Path

import pytest

import ckptdoctor
from ckptdoctor.state import SchedulerState


def _arguments(path: Path, **values: object) -> None:
    """Writes arguments as Trainer does: an object of transformers' class, with the schedule's kind as an enum."""
    torch = pytest.importorskip("torch")
    utils, arguments = types.ModuleType("transformers.trainer_utils"), types.ModuleType("transformers.training_args")
    names = {"LINEAR": "linear", "COSINE": "cosine"}
    SchedulerType = enum.Enum("SchedulerType", names, module=utils.__name__)  # type: ignore[misc]  # noqa: N806
    of = type("TrainingArguments", (), {"__module__": arguments.__name__, "__qualname__": "TrainingArguments"})
    utils.SchedulerType, arguments.TrainingArguments = SchedulerType, of  # type: ignore[attr-defined]
    held = of()
    held.__dict__.update({"learning_rate": 0.01, "warmup_steps": 0, "warmup_ratio": 0.0, "lr_scheduler_kwargs": {}})
    held.__dict__.update(
        {name: SchedulerType(each) if name == "lr_scheduler_type" else each for name, each in values.items()}
    )
    with pytest.MonkeyPatch.context() as patch:
        for each in (types.ModuleType("transformers"), utils, arguments):
            patch.setitem(sys.modules, each.__name__, each)
        torch.save(held, path)


def _scheduler(museum: Path, tmp_path: Path, total: int, **values: object) -> SchedulerState:
    run = tmp_path / "checkpoint-7"
    shutil.copytree(museum / "torch2.13/trainer/checkpoint-7", run)
    _arguments(run / "training_args.bin", **values)
    progress = json.loads((run / "trainer_state.json").read_text())
    (run / "trainer_state.json").write_text(json.dumps({**progress, "max_steps": total}))
    (found,) = ckptdoctor.inspect(run)
    assert found.state is not None
    (scheduler,) = found.state.schedulers
    return scheduler


def test_told_by_the_arguments(museum: Path, tmp_path: Path) -> None:
    """The rate in force, 0.0065 after 7 of 20 steps, is a linear schedule's: what follows is known."""
    found = _scheduler(museum, tmp_path, 20, lr_scheduler_type="linear")
    assert found.next == pytest.approx((0.006, 0.0055, 0.005))
    assert found.if_lost == pytest.approx((0.0095, 0.009, 0.0085))
    assert (found.class_name, found.class_candidates) == ("LambdaLR", ())


@pytest.mark.parametrize(
    ("total", "values"),
    [
        (14, {"lr_scheduler_type": "linear"}),  # of another run: the rate would be 0.005
        (20, {"lr_scheduler_type": "cosine"}),
        (20, {"lr_scheduler_type": "linear", "warmup_steps": 3}),
        (20, {"lr_scheduler_type": "linear", "warmup_steps": "many"}),
        (20, {}),
    ],
)
def test_arguments_that_do_not_give_the_rate(
    museum: Path, tmp_path: Path, total: int, values: dict[str, object]
) -> None:
    """Arguments that contradict the rate in force, or tell no schedule, are not believed."""
    found = _scheduler(museum, tmp_path, total, **values)
    assert (found.next, found.if_lost) == (None, None)
    assert found.class_candidates == ("MultiplicativeLR",)
