"""`ResumeGuard` in Lightning's and transformers' trainers: it ends a run that would begin anew, before a step."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.errors import NotResumed
from ckptdoctor.guard import assert_resumed
from ckptdoctor.guard.resuming import ResumeWarning

torch: Any = pytest.importorskip("torch", exc_type=ImportError)

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]


class Steps:
    """How many steps of an optimizer were taken in this process while it watched."""

    def __init__(self) -> None:
        self.taken = 0

    def __enter__(self) -> Steps:
        from torch.optim.optimizer import register_optimizer_step_post_hook

        def count(*_: object) -> None:
            self.taken += 1

        self._hook = register_optimizer_step_post_hook(count)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def refusal(fit: Callable[[], Any]) -> NotResumed:
    """The error of a guard that has to end a run before its first step."""
    with Steps() as steps, pytest.raises(NotResumed) as raised:
        fit()
    assert steps.taken == 0
    return raised.value


def passing(fit: Callable[[], Any]) -> None:
    """A run that trains on, without a warning of a guard."""
    with Steps() as steps, warnings.catch_warnings():
        warnings.simplefilter("error", ResumeWarning)
        fit()
    assert steps.taken > 0


class TestLightning:
    """With a scheduler a step, gradients that accumulate, and layers of one shape."""

    @pytest.fixture(scope="class")
    def run(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
        """Files of a run in its first epoch, and what trains on with a guard."""
        lightning = pytest.importorskip("lightning.pytorch")
        from ckptdoctor.guard.lightning import ResumeGuard

        folder = tmp_path_factory.mktemp("lightning")

        class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
            def __init__(self, order: int = 1) -> None:
                super().__init__()
                self.net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4))
                self.order = order

            def training_step(self, batch: Any, _: int) -> Any:
                return (self.net(batch[0]) - batch[1]).pow(2).mean()

            def configure_optimizers(self) -> Any:
                layers = [self.net[0], self.net[2]][:: self.order]
                optimizer = torch.optim.AdamW([one for each in layers for one in each.parameters()], 0.01)
                scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

        class Saving(lightning.Callback):  # type: ignore[misc, name-defined]
            def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
                if trainer.global_step == 4 and not (folder / "full.ckpt").exists():
                    trainer.save_checkpoint(folder / "full.ckpt")
                    trainer.save_checkpoint(folder / "weights.ckpt", weights_only=True)

        def fit(path: Path | None, checkpoint: Path | None, *, order: int = 1, module: Any = None, **more: Any) -> None:
            torch.manual_seed(3)
            pairs = torch.utils.data.TensorDataset(torch.randn(32, 4), torch.randn(32, 4))
            trainer = lightning.Trainer(
                max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                enable_model_summary=False, accelerator="cpu", accumulate_grad_batches=2,
                callbacks=[Saving()] if path is None else [ResumeGuard(path, **more)],
            )  # fmt: skip
            loader = torch.utils.data.DataLoader(pairs, batch_size=2)
            trainer.fit(module or Module(order), loader, ckpt_path=checkpoint)

        fit(None, None)
        fit.module = Module  # type: ignore[attr-defined]
        return folder, fit

    def test_good(self, run: tuple[Path, Any]) -> None:
        """What Lightning restored trains on."""
        folder, fit = run
        passing(lambda: fit(folder / "full.ckpt", folder / "full.ckpt"))

    def test_weights_alone(self, run: tuple[Path, Any]) -> None:
        """load_from_checkpoint, and fit without ckpt_path: the optimizer begins anew."""
        folder, fit = run
        module = fit.module.load_from_checkpoint(folder / "full.ckpt")
        found = refusal(lambda: fit(folder / "full.ckpt", None, module=module))
        assert found.lost[0] == "AdamW has no state here, and 8 slots there"
        assert "the trainer's global_step is 0 here, and 4 there" in found.lost
        assert "ckptdoctor recipe" in str(found)

    def test_a_checkpoint_of_weights(self, run: tuple[Path, Any]) -> None:
        """One that was saved so says it; allow_fresh lets it pass."""
        folder, fit = run
        module = fit.module.load_from_checkpoint(folder / "weights.ckpt")
        found = refusal(lambda: fit(folder / "weights.ckpt", None, module=module))
        assert "it holds no optimizer state" in found.lost[0]
        passing(lambda: fit(folder / "weights.ckpt", None, module=module, allow_fresh=True))

    @pytest.mark.parametrize(
        ("edit", "lost"),
        [
            ({"lr_schedulers": []}, "LambdaLR begins anew here, and its state is not there"),
            ({"optimizer_states": []}, "it holds no optimizer state"),
        ],
    )
    def test_empty_lists(self, run: tuple[Path, Any], tmp_path: Path, edit: dict[str, Any], lost: str) -> None:
        """Lightning takes them without a word."""
        folder, fit = run
        state = torch.load(folder / "full.ckpt", weights_only=False)
        torch.save({**state, **edit}, tmp_path / "a.ckpt")
        found = refusal(lambda: fit(tmp_path / "a.ckpt", tmp_path / "a.ckpt"))
        assert found.lost[-1].startswith(lost)

    def test_another_order(self, run: tuple[Path, Any]) -> None:
        """Nothing in the file proves its order: the guard warns, and the run goes on."""
        folder, fit = run
        with pytest.warns(ResumeWarning, match="went to net"):
            fit(folder / "full.ckpt", folder / "full.ckpt", order=-1)


class TestTrainer:
    """transformers' Trainer loads optimizer.pt and scheduler.pt, or neither, and says nothing."""

    @pytest.fixture(scope="class")
    def run(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
        """A checkpoint after five steps of ten, and what trains on from one with a guard."""
        transformers = pytest.importorskip("transformers")
        pytest.importorskip("accelerate")
        from ckptdoctor.guard.transformers import ResumeGuard

        folder = tmp_path_factory.mktemp("trainer")
        config = transformers.GPT2Config(
            n_layer=2, n_head=2, n_embd=8, vocab_size=32, n_positions=8, resid_pdrop=0.1, embd_pdrop=0, attn_pdrop=0
        )
        words = torch.randint(0, 32, (64, 8), generator=torch.Generator().manual_seed(0))
        rows = [{"input_ids": each, "labels": each} for each in words]

        def fit(path: Path | None, checkpoint: Path | None, **more: Any) -> None:
            torch.manual_seed(0)
            arguments = transformers.TrainingArguments(
                output_dir=str(folder / "run"), max_steps=10, save_steps=5, per_device_train_batch_size=4,
                learning_rate=0.01, warmup_steps=2, report_to=[], disable_tqdm=True, use_cpu=True,
                gradient_accumulation_steps=2, lr_scheduler_type="cosine",
            )  # fmt: skip
            model = transformers.GPT2LMHeadModel(config)
            trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows)
            if path is not None:
                trainer.add_callback(ResumeGuard(path, **more))
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))

        fit(None, None)
        return folder / "run" / "checkpoint-5", fit

    def test_good(self, run: tuple[Path, Any]) -> None:
        """What Trainer restored trains on, tied embeddings and decayed groups included."""
        checkpoint, fit = run
        passing(lambda: fit(checkpoint, checkpoint, slots=None))

    @pytest.mark.parametrize(("gone", "there"), [("scheduler.pt", "optimizer.pt"), ("optimizer.pt", "scheduler.pt")])
    def test_half_of_it(self, run: tuple[Path, Any], tmp_path: Path, gone: str, there: str) -> None:
        """Without one file neither is loaded: S013 says so."""
        checkpoint, fit = run
        copy = shutil.copytree(checkpoint, tmp_path / "checkpoint-5")
        (copy / gone).unlink()
        found = refusal(lambda: fit(copy, copy))
        assert "S013" in found.codes
        assert f"{there} is here and {gone} is not: Trainer loads neither" in str(found)
        if gone == "scheduler.pt":
            assert found.lost[0] == "AdamW has no state here, and 56 slots there"

    def test_without_resuming(self, run: tuple[Path, Any]) -> None:
        """A `train()` whose argument was forgotten."""
        checkpoint, fit = run
        found = refusal(lambda: fit(checkpoint, None))
        assert "the trainer's global_step is 0 here, and 5 there" in found.lost

    def test_another_count(self, run: tuple[Path, Any], tmp_path: Path) -> None:
        """A scheduler that stands elsewhere than the guard's checkpoint has it."""
        checkpoint, fit = run
        copy = shutil.copytree(checkpoint, tmp_path / "checkpoint-5")
        state = torch.load(copy / "scheduler.pt", weights_only=True)
        torch.save({**state, "last_epoch": 0}, copy / "scheduler.pt")
        found = refusal(lambda: fit(checkpoint, copy))
        assert found.lost == ("LambdaLR stands at 0 here, and at 5 there",)
        progress = json.loads((copy / "trainer_state.json").read_text())
        (copy / "trainer_state.json").write_text(json.dumps({**progress, "global_step": 3}))
        shutil.copy(checkpoint / "scheduler.pt", copy)
        found = refusal(lambda: fit(checkpoint, copy))
        assert found.lost == ("the trainer's global_step is 3 here, and 5 there",)


class TestAccelerate:
    """What `Accelerator.prepare` wraps is asked through its wrappers."""

    @pytest.fixture
    def program(self) -> Callable[[], tuple[Any, Any, Any, Any]]:
        """Accelerator, model, optimizer and scheduler, prepared."""
        accelerate = pytest.importorskip("accelerate")

        def made() -> tuple[Any, Any, Any, Any]:
            accelerator = accelerate.Accelerator(cpu=True)
            model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4))
            optimizer = torch.optim.AdamW(model.parameters(), 0.01)
            scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
            return (accelerator, *accelerator.prepare(model, optimizer, scheduler))

        return made

    def test_load_state(self, program: Callable[[], tuple[Any, Any, Any, Any]], tmp_path: Path) -> None:
        """What it loads passes; what was not loaded does not, and a forgotten scheduler neither."""
        accelerator, model, optimizer, scheduler = program()
        for _ in range(3):
            accelerator.backward(model(torch.ones(2, 4)).pow(2).sum())
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        accelerator.save_state(tmp_path / "state")
        accelerator, model, optimizer, scheduler = program()
        found = refusal(lambda: assert_resumed(optimizer, tmp_path / "state", model=model, scheduler=scheduler))
        assert found.lost[0] == "AdamW has no state here, and 8 slots there"
        assert "LambdaLR stands at 0 here, and at 3 there" in found.lost
        accelerator.load_state(tmp_path / "state")
        assert assert_resumed(optimizer, tmp_path / "state", model=model, scheduler=scheduler).slots == 4
