"""`ResumeGuard` for `model.fit` of Keras 3, tf_keras and tf.keras."""

from __future__ import annotations

import os
from typing import Any

from ckptdoctor.guard.frameworks import loaded
from ckptdoctor.guard.resuming import Allowed, compare

_Callback: Any = loaded(("keras", "tf_keras"), __name__).callbacks.Callback


class ResumeGuard(_Callback):  # type: ignore[misc]  # which Keras it is, is known when it runs
    """Ends `fit` before its first step if the model's optimizer is not what an artifact holds.

    Stands behind callbacks that restore something themselves (`BackupAndRestore`).

    Args:
        path: The artifact that the model was loaded from.
        slots: So many slots are compared by value; None for all.
        learning_rate: Compare it too.
        allow_fresh: Let an artifact without optimizer state pass.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        slots: int | None = 8,
        learning_rate: bool = True,
        allow_fresh: bool = False,
    ) -> None:
        super().__init__()
        self.path = path
        self._allowed = Allowed(slots, learning_rate, allow_fresh, order=False)

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras' signature
        """Compares them."""
        compare(self.model, self.path, self._allowed)

    # What tf_keras asks of a callback, should this one be derived from Keras 3's.

    def _implements_train_batch_hooks(self) -> bool:
        return False

    def _implements_test_batch_hooks(self) -> bool:
        return False

    def _implements_predict_batch_hooks(self) -> bool:
        return False
