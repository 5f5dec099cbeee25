"""`ResumeGuard` for `model.fit` of Keras 3, tf_keras and tf.keras."""

from __future__ import annotations

from typing import Any

from ckptdoctor.guard.frameworks import loaded
from ckptdoctor.guard.resuming import Guarding, compare

_Callback: Any = loaded(("keras", "tf_keras"), __name__).callbacks.Callback


class ResumeGuard(Guarding, _Callback):  # type: ignore[misc]  # which Keras it is, is known when it runs
    """Ends `fit` before its first step if the model's optimizer is not what an artifact holds.

    Stands behind callbacks that restore something themselves (`BackupAndRestore`).

    Args:
        path: The artifact that the model was loaded from.
        slots: So many slots are compared by value; None for all.
        learning_rate: Compare it too.
        allow_fresh: Let an artifact without optimizer state pass.
    """

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
