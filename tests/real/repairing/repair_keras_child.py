"""Saves Sequential, nested and subclassed models with OrbaxCheckpoint, and goes on from what `repair` made of them.

    python repair_keras_child.py make FOLDER
    python repair_keras_child.py resume FOLDER SUFFIX

Prints a JSON object: how far each is off from the run that was not interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["JAX_PLATFORMS"] = "cpu"

import keras
import numpy as np

MODE, FOLDER = sys.argv[1], Path(sys.argv[2]).resolve()
BEFORE, AFTER = 4, 9


def model(kind: str) -> Any:
    """A model whose name stands before those of its layers, or of one whose part is such."""
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(4, activation="tanh", name="hidden"), keras.layers.BatchNormalization(name="normal")]
    inputs = keras.Input((3,))
    if kind == "sequential":
        return keras.Sequential([inputs, *layers, keras.layers.Dense(2, name="out")], name="m")
    return keras.Model(inputs, keras.layers.Dense(2, name="out")(keras.Sequential(layers, name="inner")(inputs)))


class Steps(keras.utils.PyDataset):  # type: ignore[misc]
    """So many batches, each with data of its own."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        self._start, self._end = start, end

    def __len__(self) -> int:
        return self._end - self._start

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        generator = np.random.default_rng(self._start + index)
        x = generator.normal(size=(8, 3)).astype("float32")
        return x, x[:, :2] * 2


def train(made: Any, start: int, end: int, *callbacks: Any) -> None:
    """Trains on the batches from `start` to `end`."""
    made.fit(Steps(start, end), epochs=1, shuffle=False, verbose=0, callbacks=list(callbacks))


def main() -> dict[str, float]:
    """Does what is asked for."""
    found: dict[str, float] = {}
    for kind in ("sequential", "nested"):
        if MODE == "make":
            made = model(kind)
            made.compile(keras.optimizers.Adam(0.01), loss="mse")
            callback = keras.callbacks.OrbaxCheckpoint(str(FOLDER / kind), save_on_background=False)
            train(made, 0, BEFORE, callback)
            train(made, BEFORE, AFTER)
            np.savez(FOLDER / f"{kind}.npz", *made.get_weights())
            continue
        resumed = keras.saving.load_model(str(FOLDER / f"{kind}{sys.argv[3]}"))
        train(resumed, BEFORE, AFTER)
        wanted = np.load(FOLDER / f"{kind}.npz").values()
        pairs = zip(resumed.get_weights(), wanted, strict=True)
        found[kind] = float(max(abs(one - other).max() for one, other in pairs))
    return found


sys.stdout.write(json.dumps(main()) + "\n")
