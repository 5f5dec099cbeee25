"""Trains with Lightning, transformers' Trainer and accelerate, and saves as they do.

python with_trainers.py FOLDER lightning|transformers|accelerate
"""

from __future__ import annotations

import os
import sys
from typing import Any

import torch


def data() -> Any:
    """Some numbers."""
    return torch.utils.data.TensorDataset(torch.randn(16, 3), torch.randn(16, 1))


def lightning_module() -> Any:
    """A module with an optimizer in two groups and a scheduler."""
    import lightning.pytorch as pl

    class Module(pl.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(3, 1)

        def training_step(self, batch: Any, _: int) -> Any:
            loss = (self.net(batch[0]) - batch[1]).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            groups: Any = [{"params": [self.net.weight]}, {"params": [self.net.bias], "weight_decay": 0.0}]
            optimizer = torch.optim.AdamW(groups, lr=0.01)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2)]

    return Module()


def model_of_trainer() -> Any:
    """What Trainer trains."""

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Linear(3, 1)

        def forward(self, x: Any, labels: Any = None) -> Any:
            out = self.net(x)
            return {"loss": (out - labels).square().mean(), "logits": out}

    return Net()


def main() -> None:
    """Trains and saves."""
    folder, name = sys.argv[1:]
    if name == "lightning":
        import lightning.pytorch as pl

        trainer = pl.Trainer(
            max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
            default_root_dir=folder,
        )  # fmt: skip
        trainer.fit(lightning_module(), torch.utils.data.DataLoader(data(), 4))
        trainer.save_checkpoint(os.path.join(folder, "lightning.ckpt"))
    elif name == "transformers":
        from transformers import Trainer, TrainingArguments

        arguments = TrainingArguments(
            os.path.join(folder, "run"), num_train_epochs=2, per_device_train_batch_size=4, save_strategy="epoch",
            use_cpu=True, report_to=[], disable_tqdm=True,
        )  # fmt: skip
        rows = [{"x": x, "labels": y} for x, y in data()]
        Trainer(model_of_trainer(), arguments, train_dataset=rows).train()
    else:
        import accelerate

        accelerator = accelerate.Accelerator(cpu=True)
        net = torch.nn.Linear(3, 1)
        optimizer = torch.optim.Adam(net.parameters(), 0.01)
        net, optimizer = accelerator.prepare(net, optimizer)
        for x, y in data():
            accelerator.backward((net(x) - y).square().mean())
            optimizer.step()
        accelerator.save_state(os.path.join(folder, "state"))


if __name__ == "__main__":
    main()
