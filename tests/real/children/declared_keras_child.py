"""Trains, saves and resumes with an optimizer that is nobody's but the user's, for test_declared_keras.py.

python declared_keras_child.py make FOLDER
python declared_keras_child.py resume FOLDER < jobs
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf

MODE, FOLDER = sys.argv[1], Path(sys.argv[2])
BEFORE, AFTER = 7, 5
CASES = {"two": 0.5, "one": 0.0}
Base: Any = keras.optimizers.Optimizer


@keras.saving.register_keras_serializable("lab")
class Sophia(Base):  # type: ignore[misc]  # Keras is untyped
    """An optimizer with two kinds of slots, or one."""

    def __init__(self, learning_rate: float = 0.01, beta: float = 0.9, curvature: float = 0.5, **options: Any) -> None:
        super().__init__(learning_rate=learning_rate, **{"name": "sophia", **options})
        self.beta, self.curvature = beta, curvature

    def build(self, variables: Any) -> None:
        """Makes the slots."""
        if not self.built:
            super().build(variables)
            self._momentums = self.add_optimizer_variables(variables, "momentum")
            self._hessians = self.add_optimizer_variables(variables, "hessian") if self.curvature > 0 else []

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        index = self._get_variable_index(variable)
        momentum = self._momentums[index]
        self.assign(momentum, momentum * self.beta + gradient * (1 - self.beta))
        scale: Any = 1.0
        if self._hessians:
            hessian = self._hessians[index]
            self.assign(hessian, hessian * self.beta + self.curvature * gradient * gradient)
            scale = hessian + 0.1
        self.assign_sub(variable, learning_rate * momentum / scale)

    def get_config(self) -> dict[str, Any]:
        """Its arguments."""
        return {**super().get_config(), "beta": self.beta, "curvature": self.curvature}


def net() -> Any:
    """A small model, the same weights every time; its kernels are of one shape, so that a permutation shows."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(4, activation="tanh", name="hidden")(inputs)
    return keras.Model(inputs, keras.layers.Dense(4, name="out")(hidden), name="net")


def train(model: Any, first: int, count: int) -> None:
    """Trains some steps, each on a batch of its own."""
    for step in range(first, first + count):
        generator = np.random.default_rng(100 + step)
        model.train_on_batch(generator.normal(size=(8, 4)), generator.normal(size=(8, 4)))


def make() -> dict[str, Any]:
    """Donors, targets without state, and the weights of uninterrupted runs."""
    for case, curvature in CASES.items():
        folder = FOLDER / case
        folder.mkdir()
        model, bare = net(), net()
        model.compile(Sophia(0.02, beta=0.8, curvature=curvature), "mse", run_eagerly=True)
        train(model, 0, BEFORE)
        bare.set_weights(model.get_weights())
        bare.save(folder / "bare.keras")
        model.save(folder / "donor.keras")
        tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(folder / "donor"))
        train(model, BEFORE, AFTER)
        np.savez(folder / "expected.npz", *model.get_weights())
    return {}


def resume(jobs: list[list[str]]) -> dict[str, Any]:
    """Loads results, and trains on."""
    found = {}
    for case, path in jobs:
        model = keras.saving.load_model(path)
        model.compile(model.optimizer, "mse", run_eagerly=True)
        count = int(model.optimizer.iterations)
        train(model, BEFORE, AFTER)
        expected = np.load(FOLDER / case / "expected.npz")
        pairs = zip(model.get_weights(), expected.files, strict=True)
        away = max(float(np.abs(held - expected[name]).max()) for held, name in pairs)
        found[path] = {"count": count, "class": type(model.optimizer).__name__, "away": away}
    return found


if __name__ == "__main__":
    answer = make() if MODE == "make" else resume(json.load(sys.stdin))
    sys.stdout.write(json.dumps(answer) + "\n")
