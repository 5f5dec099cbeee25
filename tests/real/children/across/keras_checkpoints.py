"""Keras models as archives, weights and TensorFlow checkpoints, and what goes on from them after a conversion.

    python keras_checkpoints.py keras|tf_keras make FOLDER
    python keras_checkpoints.py keras|tf_keras prove FOLDER

`make` trains each model for 7 steps and writes `NAME.keras`, `NAME.weights.h5`, the checkpoint `NAME.ckpt`, and
`NAME.like.keras` of the same model that never trained. `prove` loads what became of them, takes 5 more steps, and prints
as JSON how far the weights are from those of the run that went on.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np
import tensorflow as tf

NAME, MODE, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
keras: Any = import_module(NAME)
L, O = keras.layers, keras.optimizers
BEFORE, AFTER = 7, 12


def plain() -> Any:
    """Layers with and without weights, and statistics that no optimizer trains."""
    return keras.Sequential(
        [keras.Input((8,)), L.Dense(4, name="hidden"), L.BatchNormalization(), L.Dropout(0.0), L.PReLU(), L.Dense(2)]
    )


def branches() -> Any:
    """A graph that is no row, with layers of one class and one shape."""
    start = keras.Input((8, 8, 3))
    x = L.LayerNormalization()(L.Conv2D(3, 3, padding="same", name="first")(start))
    x = L.Add()([L.Conv2D(3, 3, padding="same")(x), L.SeparableConv2D(3, 3, padding="same")(x), start])
    x = L.DepthwiseConv2D(3)(L.Conv2D(3, 3, padding="same", use_bias=False)(x))
    return keras.Model(start, L.Dense(2)(L.GlobalAveragePooling2D()(x)))


def recurrent() -> Any:
    """Weights of layers below layers."""
    start = keras.Input((5, 4))
    x = L.Bidirectional(L.LSTM(3, return_sequences=True))(start)
    x = L.TimeDistributed(L.Dense(4))(L.GRU(4, return_sequences=True)(x))
    x = L.MultiHeadAttention(2, 3)(x, x)
    return keras.Model(start, L.Dense(2)(L.SimpleRNN(3)(x)))


def nested() -> Any:
    """Models within a model, with layers of the names and shapes that it has itself."""
    inner = keras.Sequential([keras.Input((4,)), L.Dense(4, name="one"), L.BatchNormalization()], name="inner")
    start = keras.Input((4,))
    other = keras.Model(start, L.Dense(4, name="two")(L.Dense(4, name="three")(start)), name="other")
    x = L.Dense(4, name="four")(start)
    return keras.Model(start, L.Dense(2)(other(inner(x)) + x))


def frozen() -> Any:
    """A layer that is not trained."""
    model = plain()
    model.layers[0].trainable = False
    return model


CASES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "plain": (plain, lambda: O.Adam(0.01)),
    "branches": (branches, lambda: O.SGD(0.01, momentum=0.9)),
    "recurrent": (recurrent, lambda: O.AdamW(O.schedules.ExponentialDecay(0.01, 4, 0.5))),
    "nested": (nested, lambda: O.RMSprop(0.01, momentum=0.5, centered=True)),
    "frozen": (frozen, lambda: O.Adam(0.01, amsgrad=True)),
}


def made(name: str) -> Any:
    """The model as its program builds it."""
    keras.utils.set_random_seed(1)
    keras.backend.clear_session()
    build, optimizer = CASES[name]
    model = build()
    model.compile(optimizer(), "mse")
    return model


def train(model: Any, start: int, end: int) -> None:
    """So many steps."""
    for step in range(start, end):
        random = np.random.RandomState(step)
        model.train_on_batch(random.randn(8, *model.input_shape[1:]), random.randn(8, 2))


def checkpoint(model: Any) -> Any:
    """The usual way to save both."""
    return tf.train.Checkpoint(model=model, optimizer=model.optimizer)


def other(name: str) -> Any:
    """The same model with other weights, built and never trained."""
    model = made(name)
    model.set_weights([each + 1 for each in model.get_weights()])
    model.optimizer.build(model.trainable_variables)
    return model


def loaded(name: str, file: Path) -> Any:
    """What a framework makes of a file."""
    if file.suffix == ".keras":
        return keras.models.load_model(file)
    model = other(name)
    if file.suffix == ".index":
        checkpoint(model).read(str(file.with_suffix(""))).assert_consumed()
    else:
        model.load_weights(file)
    return model


def apart(one: list[Any], model: Any) -> float:
    """The largest difference of weights; endless where the count is another."""
    if int(model.optimizer.iterations) != AFTER:
        return float("inf")
    return max(float(np.abs(a - b).max()) for a, b in zip(one, model.get_weights(), strict=True))


def proofs(name: str, end: list[Any]) -> Iterator[tuple[str, float]]:
    """Each file that was converted, and how far training goes from where it should."""
    for file in sorted(FOLDER.glob(f"{name}.out.*")):
        if ".data-" not in file.name:
            model = loaded(name, file)
            train(model, BEFORE, AFTER)
            yield file.name, apart(end, model)


found: dict[str, float] = {}
for name in CASES:
    model = made(name)
    train(model, 0, BEFORE)
    if MODE == "make":
        model.save(FOLDER / f"{name}.keras")
        model.save_weights(FOLDER / f"{name}.weights.h5")
        checkpoint(model).write(str(FOLDER / f"{name}.ckpt"))
        other(name).save(FOLDER / f"{name}.like.keras")
        continue
    train(model, BEFORE, AFTER)
    found.update(proofs(name, model.get_weights()))
sys.stdout.write(json.dumps(found) + "\n")
