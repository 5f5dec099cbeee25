"""A program for each trainer above PyTorch: `torch_programs.py PACKAGE FOLDER` trains three steps and saves.

Its functions are what `ckptdoctor verify --model-script` calls. `FOLDER/made` names what was saved.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from typing import Any

import torch


def model() -> Any:
    """A model in transformers' form: it answers with its loss."""

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = torch.nn.Linear(3, 4)
            self.out = torch.nn.Linear(4, 2)

        def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
            found = self.out(torch.tanh(self.hidden(x)))
            return {"loss": ((found - labels) ** 2).mean(), "logits": found}

    torch.manual_seed(1)
    return Model()


def examples() -> list[dict[str, Any]]:
    """What is trained on."""
    generator = torch.Generator().manual_seed(2)
    return [
        {"x": torch.randn(3, generator=generator), "labels": torch.randn(2, generator=generator)} for _ in range(12)
    ]


def module(*, backwards: bool = False, scheduled: bool = True) -> Any:
    """The same as a LightningModule."""
    lightning: Any = importlib.import_module("lightning.pytorch")

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = model()

        def training_step(self, batch: Any, batch_idx: int) -> Any:  # noqa: ARG002
            return self.net(**batch)["loss"]

        def configure_optimizers(self) -> Any:
            parameters = list(self.parameters())
            optimizer = torch.optim.Adam(parameters[::-1] if backwards else parameters, lr=0.01)
            return [optimizer], [] if not scheduled else [torch.optim.lr_scheduler.StepLR(optimizer, 2)]

        def train_dataloader(self) -> Any:
            return torch.utils.data.DataLoader(examples(), batch_size=4)  # type: ignore[arg-type]

    return Module()


def module_reversed() -> Any:
    """The same with the parameters in another order."""
    return module(backwards=True)


def module_without_scheduler() -> Any:
    """The same without what it was trained with."""
    return module(scheduled=False)


def trainer(folder: str | None = None) -> Any:
    """A Trainer; one that was resumed gets no folder."""
    transformers: Any = importlib.import_module("transformers")
    arguments = transformers.TrainingArguments(
        output_dir=folder or tempfile.gettempdir(),
        max_steps=3 if folder else 9, save_steps=3, per_device_train_batch_size=4, report_to=[], use_cpu=True,
        disable_tqdm=True, save_strategy="steps" if folder else "no",
    )  # fmt: skip
    return transformers.Trainer(model=model(), args=arguments, train_dataset=examples())


def prepared(*, backwards: bool = False) -> tuple[Any, Any, Any]:
    """A model with its optimizer and its scheduler."""
    made = model()
    parameters = list(made.parameters())
    optimizer = torch.optim.AdamW(parameters[::-1] if backwards else parameters, lr=0.01)
    return made, optimizer, torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=9)


def prepared_reversed() -> tuple[Any, Any, Any]:
    """The same with the parameters in another order."""
    return prepared(backwards=True)


def main(package: str, folder: str) -> str:
    """Trains three steps and saves."""
    if package == "transformers":
        trainer(folder).train()
        return os.path.join(folder, "checkpoint-3")
    if package == "lightning":
        lightning: Any = importlib.import_module("lightning.pytorch")
        run = lightning.Trainer(
            accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
        )  # fmt: skip
        run.fit(module())
        path = os.path.join(folder, "model.ckpt")
        run.save_checkpoint(path)
        return path
    accelerator = importlib.import_module("accelerate").Accelerator(cpu=True)
    made, optimizer, scheduler = accelerator.prepare(*prepared())
    for batch in torch.utils.data.DataLoader(examples(), batch_size=4):  # type: ignore[arg-type]
        accelerator.backward(made(**batch)["loss"])
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
    path = os.path.join(folder, "state")
    accelerator.save_state(path)
    return path


if __name__ == "__main__":
    made = main(sys.argv[1], sys.argv[2])
    with open(os.path.join(sys.argv[2], "made"), "w", encoding="utf-8") as file:
        file.write(made)
