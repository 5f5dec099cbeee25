"""Keras 3 saves whole models in HDF5, whose own loader cannot resume, and goes on from what they are converted to.

    python keras_conversions.py make FOLDER
    python keras_conversions.py prove FOLDER

`make` writes `NAME.h5` after 7 steps; `prove` loads `NAME.keras` and `NAME.weights.h5`, takes 5 more, and prints as
JSON how far the weights are from those of the run that went on.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

MODE, FOLDER = sys.argv[1], Path(sys.argv[2])
L = keras.layers
BEFORE, AFTER = 7, 12


def sequential() -> Any:
    """Layers with and without weights, and statistics that no optimizer trains."""
    return keras.Sequential(
        [keras.Input((8,)), L.Dense(4, name="hidden"), L.BatchNormalization(), L.Dropout(0.0), L.Dense(2)]
    )


def functional() -> Any:
    """Two layers of one class, and a graph that is no row."""
    start = keras.Input((8, 8, 3))
    x = L.LayerNormalization()(L.Conv2D(4, 3, name="first")(start))
    x = L.Add()([x, L.Conv2D(4, 3, padding="same")(x)])
    return keras.Model(start, L.Dense(2)(L.GlobalAveragePooling2D()(x)))


def recurrent() -> Any:
    """A layer whose weights are its cell's."""
    return keras.Sequential([keras.Input((5, 3)), L.LSTM(4), L.Dense(2)])


MODELS = {"sequential": sequential, "functional": functional, "recurrent": recurrent}


def train(model: Any, start: int, end: int) -> None:
    """So many steps."""
    for step in range(start, end):
        random = np.random.RandomState(step)
        model.train_on_batch(random.randn(8, *model.input_shape[1:]), random.randn(8, 2))


def apart(one: list[Any], model: Any) -> float:
    """The largest difference of weights."""
    return max(float(np.abs(a - b).max()) for a, b in zip(one, model.get_weights(), strict=True))


def made(name: str) -> Any:
    """The model as its program builds it."""
    keras.utils.set_random_seed(1)
    model = MODELS[name]()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


tf.config.run_functions_eagerly(True)  # tracing takes longer than the steps
found: dict[str, float] = {}
for name in MODELS:
    model = made(name)
    train(model, 0, BEFORE)
    if MODE == "make":
        model.save(FOLDER / f"{name}.h5")
        continue
    train(model, BEFORE, AFTER)
    end = model.get_weights()
    whole = keras.models.load_model(FOLDER / f"{name}.keras")
    train(whole, BEFORE, AFTER)
    found[f"{name}.keras"] = apart(end, whole)
    model = made(name)
    model.optimizer.build(model.trainable_variables)
    model.load_weights(FOLDER / f"{name}.weights.h5")
    train(model, BEFORE, AFTER)
    found[f"{name}.weights.h5"] = apart(end, model)
sys.stdout.write(json.dumps(found) + "\n")
