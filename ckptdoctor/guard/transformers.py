"""`ResumeGuard` for transformers' Trainer."""

from __future__ import annotations

from typing import Any

from ckptdoctor.guard.frameworks import loaded
from ckptdoctor.guard.resuming import Guarding, compare

_Callback: Any = loaded(("transformers",), __name__).TrainerCallback


class ResumeGuard(Guarding, _Callback):  # type: ignore[misc]  # a class of a package that need not be there
    """Ends `trainer.train` before its first step if optimizer and scheduler are not what a checkpoint holds.

    Trainer has loaded both when training begins; random numbers come with the first batch, and a state of them that it
    cannot load is an error of its own.

    Args:
        path: The `checkpoint-N` that training goes on from, as in `trainer.train(resume_from_checkpoint=...)`.
        slots: So many slots are compared by value; None for all.
        learning_rate: Compare it too.
        allow_fresh: Let a checkpoint without optimizer state pass.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002 - Trainer's
        """Compares them."""
        compare(
            kwargs["optimizer"],
            self.path,
            self._allowed,
            model=kwargs.get("model"),
            scheduler=kwargs.get("lr_scheduler"),
            steps=("global_step", int(state.global_step)),
        )
