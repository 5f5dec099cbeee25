"""Grafts into checkpoints of Lightning, Trainer and accelerate, resumed by their own call: difference 0."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.commands import ckptdoctor

torch = pytest.importorskip("torch", exc_type=ImportError)

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]


def graft(donor: Path, target: Path, out: Path, *more: str) -> None:
    """Runs a graft that has to succeed."""
    result = ckptdoctor("graft", "--from", donor, "--into", target, "--output", out, *more)
    assert result.code == 0, result.err


def difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """The largest between two models' weights."""
    return float(max((one[name] - other[name]).abs().max() for name in one))


def copied(model: Any) -> dict[str, Any]:
    """A model's weights as they are now."""
    return {name: each.clone() for name, each in model.state_dict().items()}


class TestLightning:
    """A checkpoint that is saved at a batch inside training resumes exactly; so does one that gets its state."""

    @pytest.fixture(scope="class")
    def run(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Any]:
        """Files of a run at the end of its first epoch, its weights at the end, and what resumes from a file."""
        lightning = pytest.importorskip("lightning")
        folder = tmp_path_factory.mktemp("lightning")

        class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4))

            def training_step(self, batch: Any, _: int) -> Any:
                return (self.net(batch[0]) - batch[1]).pow(2).mean()

            def configure_optimizers(self) -> Any:
                optimizer = torch.optim.AdamW(self.parameters(), 0.01)
                return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 2)}

        class Saving(lightning.Callback):  # type: ignore[misc, name-defined]
            def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
                if trainer.global_step == 8 and not (folder / "full.ckpt").exists():
                    trainer.save_checkpoint(folder / "full.ckpt")
                    trainer.save_checkpoint(folder / "weights.ckpt", weights_only=True)

        def fit(checkpoint: Path | None = None) -> dict[str, Any]:
            torch.manual_seed(3)
            module = Module()
            generator = torch.Generator().manual_seed(0)
            pairs = torch.utils.data.TensorDataset(*(torch.randn(32, 4, generator=generator) for _ in range(2)))
            trainer = lightning.Trainer(
                max_epochs=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                enable_model_summary=False, accelerator="cpu", callbacks=[Saving()],
            )  # fmt: skip
            trainer.fit(module, torch.utils.data.DataLoader(pairs, batch_size=4), ckpt_path=checkpoint)
            return copied(module)

        return folder, fit(), fit

    def test_of_its_own(self, run: tuple[Path, dict[str, Any], Any], tmp_path: Path) -> None:
        """Into a checkpoint of weights alone, with the scheduler."""
        folder, end, fit = run
        graft(folder / "full.ckpt", folder / "weights.ckpt", tmp_path / "out.ckpt")
        assert difference(end, fit(tmp_path / "out.ckpt")) == 0

    def test_from_a_plain_file(self, run: tuple[Path, dict[str, Any], Any], tmp_path: Path) -> None:
        """Names without the module's prefix; a donor without scheduler leaves an empty list, which Lightning needs."""
        folder, end, fit = run
        whole = torch.load(folder / "full.ckpt", weights_only=False)
        plain = {name.removeprefix("net."): each for name, each in whole["state_dict"].items()}
        torch.save({"model": plain, "optimizer": whole["optimizer_states"][0]}, tmp_path / "donor.pt")
        whole["optimizer_states"][0] = {"state": {}, "param_groups": whole["optimizer_states"][0]["param_groups"]}
        torch.save(whole, tmp_path / "fresh.ckpt")
        assert difference(end, fit(tmp_path / "fresh.ckpt")) > 0.01
        graft(tmp_path / "donor.pt", tmp_path / "fresh.ckpt", tmp_path / "out.ckpt")
        assert difference(end, fit(tmp_path / "out.ckpt")) == 0
        graft(tmp_path / "donor.pt", folder / "weights.ckpt", tmp_path / "other.ckpt")
        assert torch.load(tmp_path / "other.ckpt", weights_only=True)["lr_schedulers"] == []


class TestTrainer:
    """transformers' Trainer loads optimizer.pt and scheduler.pt, or neither."""

    @pytest.fixture(scope="class")
    def run(self, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Any]:
        """A run's directory, its weights at the end, and what resumes from a checkpoint."""
        transformers = pytest.importorskip("transformers")
        pytest.importorskip("accelerate")
        folder = tmp_path_factory.mktemp("trainer")
        config = transformers.GPT2Config(
            n_layer=2, n_head=2, n_embd=8, vocab_size=32, n_positions=8, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
        )
        words = torch.randint(0, 32, (64, 8), generator=torch.Generator().manual_seed(0))
        rows = [{"input_ids": each, "labels": each} for each in words]

        def fit(name: str, checkpoint: Path | None = None, **more: Any) -> dict[str, Any]:
            torch.manual_seed(0)
            arguments = transformers.TrainingArguments(
                output_dir=str(folder / name), max_steps=10, save_steps=5, per_device_train_batch_size=4,
                learning_rate=0.01, warmup_steps=2, report_to=[], disable_tqdm=True, use_cpu=True, **more,
            )  # fmt: skip
            model = transformers.GPT2LMHeadModel(config)
            trainer = transformers.Trainer(model=model, args=arguments, train_dataset=rows)
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
            return copied(trainer.model)

        end = fit("run")
        fit("only", save_only_model=True)
        return folder, end, fit

    def test_of_its_own(self, run: tuple[Path, dict[str, Any], Any], tmp_path: Path) -> None:
        """Both files come along, and the tied embedding is none of the optimizer's twice."""
        folder, end, fit = run
        graft(folder / "run/checkpoint-5", folder / "only/checkpoint-5", tmp_path / "checkpoint-5", "--link")
        assert difference(end, fit("again", tmp_path / "checkpoint-5")) == 0
        assert difference(end, fit("dropped", folder / "only/checkpoint-5")) > 0.01

    def test_from_a_plain_file(self, run: tuple[Path, dict[str, Any], Any], tmp_path: Path) -> None:
        """A donor without scheduler: scheduler.pt is made at its count, as Trainer would load neither without it."""
        folder, end, fit = run
        transformers = pytest.importorskip("transformers")
        model = transformers.GPT2LMHeadModel.from_pretrained(folder / "run/checkpoint-5")
        state = torch.load(folder / "run/checkpoint-5/optimizer.pt", weights_only=True)
        torch.save({"model": model.state_dict(), "optimizer": state}, tmp_path / "donor.pt")
        graft(tmp_path / "donor.pt", folder / "only/checkpoint-5", tmp_path / "checkpoint-5")
        assert difference(end, fit("plain", tmp_path / "checkpoint-5")) == 0

    def test_another_schedule(self, run: tuple[Path, dict[str, Any], Any], tmp_path: Path) -> None:
        """A donor's StepLR stays behind, and Trainer's own schedule goes on where the optimizer does."""
        folder, end, fit = run
        transformers = pytest.importorskip("transformers")
        model = transformers.GPT2LMHeadModel.from_pretrained(folder / "run/checkpoint-5")
        state = torch.load(folder / "run/checkpoint-5/optimizer.pt", weights_only=True)
        scheduler = torch.optim.lr_scheduler.StepLR(torch.optim.SGD(model.parameters(), 0.1), 3).state_dict()
        whole = {"model": model.state_dict(), "optimizer": state, "scheduler": scheduler}
        torch.save(whole, tmp_path / "donor.pt")
        target = shutil.copytree(folder / "run/checkpoint-5", tmp_path / "target")
        counted = torch.load(target / "scheduler.pt", weights_only=True)
        torch.save({**counted, "last_epoch": 2, "_step_count": 3}, target / "scheduler.pt")
        torch.save({**state, "state": {}}, target / "optimizer.pt")
        graft(tmp_path / "donor.pt", target, tmp_path / "checkpoint-5")
        assert difference(end, fit("another", tmp_path / "checkpoint-5")) == 0

    def test_the_count_of_the_run_follows(self, run: tuple[Path, dict[str, Any], Any], tmp_path: Path) -> None:
        """trainer_state.json says what the optimizer does."""
        import json

        folder, _, _ = run
        graft(folder / "run/checkpoint-5", folder / "run/checkpoint-10", tmp_path / "out")
        told = json.loads((tmp_path / "out/trainer_state.json").read_text(encoding="utf-8"))
        before = json.loads((folder / "run/checkpoint-5/trainer_state.json").read_text(encoding="utf-8"))
        assert (told["global_step"], told["epoch"]) == (before["global_step"], before["epoch"])


def test_accelerate(tmp_path: Path) -> None:
    """What save_state left, without its optimizer and scheduler, gets both."""
    accelerate = pytest.importorskip("accelerate")

    def run(save: Path | None = None, load: Path | None = None) -> dict[str, Any]:
        accelerator = accelerate.Accelerator(cpu=True)
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Tanh(), torch.nn.Linear(4, 4))
        optimizer = torch.optim.AdamW(model.parameters(), 0.01)
        parts = accelerator.prepare(model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 3))
        model, optimizer, scheduler = parts
        if load is not None:
            accelerator.load_state(str(load))
        for step in range(0 if load is None else 7, 14):
            x = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            accelerator.backward(model(x).pow(2).mean())
            optimizer.step()
            scheduler.step()
            if step == 6 and save is not None:
                accelerator.save_state(str(save))
        return copied(model)

    end = run(save=tmp_path / "full")
    shutil.copytree(tmp_path / "full", tmp_path / "weights")
    for name in ("optimizer.bin", "scheduler.bin"):
        (tmp_path / "weights" / name).unlink()
    graft(tmp_path / "full", tmp_path / "weights", tmp_path / "out")
    assert difference(end, run(load=tmp_path / "out")) == 0
