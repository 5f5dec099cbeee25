"""Grafts into checkpoints of Lightning that average weights, resumed by its own call: difference 0.

StochasticWeightAveraging exchanges the scheduler by its own once it has begun, and restores that from its callback's
state alone; EMAWeightAveraging saves the average as `state_dict` and what is trained beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.commands import Result, ckptdoctor

torch = pytest.importorskip("torch", exc_type=ImportError)
lightning = pytest.importorskip("lightning")
averages = pytest.importorskip("lightning.pytorch.callbacks")

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

if not hasattr(averages, "EMAWeightAveraging"):
    pytest.skip("Lightning before 2.6", allow_module_level=True)

Weights = dict[str, Any]
SWALR = {"swa_lrs": 0.02, "swa_epoch_start": 3, "annealing_epochs": 3, "annealing_strategy": "linear"}
CALLBACKS: dict[str, Callable[[], Any]] = {
    "swa": lambda: averages.StochasticWeightAveraging(**SWALR),
    "ema": lambda: averages.EMAWeightAveraging(decay=0.9),
}


class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
    """A net with a schedule of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4))

    def training_step(self, batch: Any, _: int) -> Any:
        """The loss."""
        return (self.net(batch[0]) - batch[1]).pow(2).mean()

    def configure_optimizers(self) -> Any:
        """AdamW, whose rate falls."""
        optimizer = torch.optim.AdamW(self.parameters(), 0.01)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 2)}


class Saving(lightning.Callback):  # type: ignore[misc, name-defined]
    """Saves at the ends of the second epoch, before averages begin, and of the fourth."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
        """Saves, once."""
        name = {1: "early", 3: "late"}.get(trainer.current_epoch)
        if name is not None and not (self.folder / f"{name}.ckpt").exists():
            trainer.save_checkpoint(self.folder / f"{name}.ckpt")
            trainer.save_checkpoint(self.folder / f"{name}-weights.ckpt", weights_only=True)


class Run(NamedTuple):
    """A run that was not stopped.

    Attributes:
        folder: What it saved, whole and without the optimizer.
        end: Its weights at the end.
        resumed: Its weights where it goes on from a checkpoint.
    """

    folder: Path
    end: Weights
    resumed: Callable[[Path], Weights]


@pytest.fixture(scope="module", params=CALLBACKS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Run]:
    """A run with averages."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)

    def fit(checkpoint: Path | None = None) -> Weights:
        torch.manual_seed(3)
        module, generator = Module(), torch.Generator().manual_seed(0)
        pairs = torch.utils.data.TensorDataset(*(torch.randn(16, 4, generator=generator) for _ in range(2)))
        trainer = lightning.Trainer(
            max_epochs=6, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
            enable_model_summary=False, callbacks=[Saving(folder), CALLBACKS[name]()],
        )  # fmt: skip
        trainer.fit(module, torch.utils.data.DataLoader(pairs, batch_size=4), ckpt_path=checkpoint)
        return {key: each.clone() for key, each in module.state_dict().items()}

    end = fit()
    for phase in ("early", "late"):
        whole = torch.load(folder / f"{phase}.ckpt", weights_only=False)
        (state,) = whole["optimizer_states"]
        torch.save({"model": whole["state_dict"], "optimizer": state, "scheduler": whole["lr_schedulers"][0]},
                   folder / f"{phase}-plain.pt")  # fmt: skip
        torch.save({**whole, "optimizer_states": [], "lr_schedulers": []}, folder / f"{phase}-empty.ckpt")
        whole["optimizer_states"][0] = {"state": {}, "param_groups": state["param_groups"]}
        for each in (*whole["lr_schedulers"], *_of_callbacks(whole)):
            each.update(last_epoch=0, _step_count=1, _last_lr=[0.5])
        torch.save(whole, folder / f"{phase}-fresh.ckpt")
    return name, Run(folder, end, fit)


def _of_callbacks(whole: dict[str, Any]) -> list[dict[str, Any]]:
    return [each["scheduler_state"] for each in whole["callbacks"].values() if each.get("scheduler_state")]


def graft(run: Run, donor: str, target: str, out: Path, *more: str) -> Result:
    """A graft between two files of a run."""
    return ckptdoctor("graft", "--from", run.folder / donor, "--into", run.folder / target, "--output", out, *more)


@pytest.mark.parametrize("phase", ["early", "late"])
@pytest.mark.parametrize("target", ["fresh", "empty"])
@pytest.mark.parametrize("donor", [".ckpt", "-plain.pt"])
def test_within_a_phase(run: tuple[str, Run], tmp_path: Path, phase: str, target: str, donor: str) -> None:
    """The optimizer and its scheduler come, wherever that stands; averages and their count stay."""
    _, held = run
    result = graft(held, f"{phase}{donor}", f"{phase}-{target}.ckpt", tmp_path / "out.ckpt")
    assert result.code == 0, result.err
    resumed = held.resumed(tmp_path / "out.ckpt")
    assert all(torch.equal(resumed[key], each) for key, each in held.end.items())
    before, after = (torch.load(path, weights_only=False) for path in
                     (held.folder / f"{phase}-{target}.ckpt", tmp_path / "out.ckpt"))  # fmt: skip
    assert list(after) == list(before)
    assert after["loops"] == before["loops"]


def test_from_one_phase_into_the_other(run: tuple[str, Run], tmp_path: Path) -> None:
    """What sets the rates has begun on one side only: refused, but for the state alone."""
    name, held = run
    if name != "swa":
        pytest.skip("its schedule stays the program's")
    for donor, target in (("late.ckpt", "early.ckpt"), ("early.ckpt", "late.ckpt"), ("early.ckpt", "late-empty.ckpt")):
        result = graft(held, donor, target, tmp_path / "out.ckpt")
        assert (result.code, "SWALR" in result.err, "StepLR" in result.err) == (4, True, True), result.err
    for target in ("late-weights.ckpt", "early-empty.ckpt"):
        result = graft(held, "late.ckpt", target, tmp_path / "out.ckpt")
        assert result.code == 4
        assert "StochasticWeightAveraging" in result.err
    more = ("--only", "slots", "--only", "iterations")
    assert graft(held, "early.ckpt", "late.ckpt", tmp_path / "out.ckpt", *more).code == 0
    before, after = (torch.load(path, weights_only=False) for path in
                     (held.folder / "late.ckpt", tmp_path / "out.ckpt"))  # fmt: skip
    assert (after["lr_schedulers"], _of_callbacks(after)) == (before["lr_schedulers"], _of_callbacks(before))
    assert not list(tmp_path.glob(".*"))
