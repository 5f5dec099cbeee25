"""Guards in a training script: before the first step, is the optimizer what its checkpoint holds?

    >>> from ckptdoctor.guard import assert_resumed
    >>> assert_resumed(optimizer, "run/checkpoint.pt", model=model, scheduler=scheduler)

`guard.keras`, `guard.lightning` and `guard.transformers` have the same as callbacks. They load the framework that their
program has loaded; nothing else here imports one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ckptdoctor.guard.resuming import Resumed

__all__ = ["assert_resumed"]


def assert_resumed(
    live: Any,
    path: str | os.PathLike[str],
    *,
    model: Any = None,
    scheduler: Any = None,
    slots: int | None = 8,
    learning_rate: bool = True,
    allow_fresh: bool = False,
) -> Resumed:
    """Compares the optimizer of a program, after it was loaded, with the artifact that it was loaded from.

    Compared are the count, whether every slot is there, the values of some of them, the learning rates, and the
    scheduler's count. Little is read, and nothing is changed; only a Keras optimizer without variables gets them, as
    by its first step.

    Args:
        live: A Keras model or optimizer, a PyTorch optimizer; several in the artifact's order, or by its names.
        path: The artifact: a file, a directory (then its latest), a checkpoint prefix.
        model: What the optimizer trains, by which an exchanged order of parameters is found. Of several optimizers:
            PyTorch's modules by name; Keras' models as the optimizers are given, by name or in order.
        scheduler: PyTorch's scheduler; several in the artifact's order, or by its names.
        slots: So many slots of each optimizer are compared by value; None for all.
        learning_rate: Compare it too; False where the program sets another on purpose.
        allow_fresh: Let an artifact without any optimizer state pass.

    Returns:
        What was compared.

    Raises:
        ckptdoctor.errors.NotResumed: Training would not go on where the artifact stopped.
        ckptdoctor.errors.UnreadableArtifact: The artifact cannot be read.
        ckptdoctor.errors.NoSuchPath: Nothing is at this path.
        ckptdoctor.errors.UsageProblem: What is handed over is no optimizer, or is none of the artifact's.
    """
    from ckptdoctor.guard.resuming import Allowed, compare

    allowed = Allowed(slots=slots, learning_rate=learning_rate, fresh=allow_fresh)
    return compare(live, path, allowed, model=model, scheduler=scheduler)
