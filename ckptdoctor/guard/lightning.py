"""`ResumeGuard` for Lightning's Trainer."""

from __future__ import annotations

from typing import Any

from ckptdoctor.guard.frameworks import loaded
from ckptdoctor.guard.resuming import Guarding, compare

_Callback: Any = loaded(("lightning.pytorch.callbacks", "pytorch_lightning.callbacks"), __name__).Callback


class ResumeGuard(Guarding, _Callback):  # type: ignore[misc]  # which package it is, is known when it runs
    """Ends `trainer.fit` before its first step if optimizers and schedulers are not what a checkpoint holds.

    Args:
        path: The checkpoint that training goes on from, as in `trainer.fit(ckpt_path=...)`.
        slots: So many slots of each optimizer are compared by value; None for all.
        learning_rate: Compare it too.
        allow_fresh: Let a checkpoint without optimizer state pass.
    """

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Compares them: Lightning has restored everything by then."""
        compare(
            list(trainer.optimizers),
            self.path,
            self._allowed,
            model=pl_module,
            scheduler=[each.scheduler for each in trainer.lr_scheduler_configs],
            steps=("global_step", int(trainer.global_step)),
        )
