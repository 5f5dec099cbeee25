"""Saves checkpoints and Keras' files, and loads what `repair` salvaged of them.

    python salvage_child.py make FOLDER
    python salvage_child.py load FOLDER

Prints a JSON object: of each file that was salvaged, which of the variables are as they were saved.
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
import tf_keras

MODE, FOLDER = sys.argv[1], Path(sys.argv[2])
OPTIMIZERS: dict[str, tuple[Any, Any]] = {
    "new": (keras, lambda: keras.optimizers.Adam(0.01)),
    "rewritten": (tf_keras, lambda: tf_keras.optimizers.Adam(0.01)),
    "legacy": (tf_keras, lambda: tf_keras.optimizers.legacy.Adam(0.01)),
}


def made(name: str, *, steps: int) -> Any:
    """A model that was trained for so many steps; every layer is larger than what describes it."""
    library, optimizer = OPTIMIZERS[name]
    library.backend.clear_session()  # or names would be numbered
    library.utils.set_random_seed(1 + steps)
    layers = [library.layers.Dense(40, name=f"dense{number}") for number in range(6)]
    model = library.Sequential([library.Input((40,)), *layers], name="m")
    model.compile(optimizer(), loss="mse")
    if hasattr(model.optimizer, "build"):
        model.optimizer.build(model.trainable_variables)
    x = np.linspace(-1, 1, 320, dtype="float32").reshape(8, 40)
    for _ in range(steps):
        model.train_on_batch(x, x)
    return model


def values(model: Any) -> dict[str, Any]:
    """Every variable of a model and of its optimizer, by name."""
    variables = model.optimizer.variables
    own = variables() if callable(variables) else variables
    return {
        getattr(each, "path", each.name).removeprefix("Adam/"): np.asarray(each) for each in (*model.variables, *own)
    }


def same(model: Any, name: str) -> list[str]:
    """The variables that are as they were saved, and not as they are in a new model."""
    saved = np.load(FOLDER / f"{name}.npz")
    return [key for key, each in values(model).items() if np.array_equal(each, saved[key])]


def main() -> dict[str, list[str]]:
    """Does what is asked for."""
    found: dict[str, list[str]] = {}
    for name in OPTIMIZERS:
        if MODE == "make":
            model = made(name, steps=3)
            np.savez(FOLDER / f"{name}.npz", **values(model))
            tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(str(FOLDER / f"{name}-ckpt"))
            if name == "new":
                model.save_weights(FOLDER / "new.weights.h5")
                model.save(FOLDER / "new.keras")
            continue
        for path in sorted(FOLDER.glob(f"{name}-ckpt-*-salvaged.index")):
            model = made(name, steps=1 if name == "legacy" else 0)  # whose slots are made by its first step
            tf.train.Checkpoint(model=model, optimizer=model.optimizer).read(str(path)[: -len(".index")])
            found[path.stem] = same(model, name)
        for path in sorted(FOLDER.glob(f"{name}-*-salvaged.*")):
            if path.suffix in {".h5", ".keras"}:
                model = made(name, steps=0)
                model.load_weights(path, skip_mismatch=True)
                found[path.name] = same(model, name)
    return found


tf.config.run_functions_eagerly(True)  # tracing takes longer than the steps
sys.stdout.write(json.dumps(main()) + "\n")
