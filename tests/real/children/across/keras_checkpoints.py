"""Keras models as archives, weights and TensorFlow checkpoints, and what goes on from them after a conversion.

    python keras_checkpoints.py keras|tf_keras make FOLDER NAME...
    python keras_checkpoints.py keras|tf_keras prove FOLDER NAME...

`make` trains each model for 7 steps and writes `NAME.keras`, `NAME.h5`, `NAME.weights.h5`, the checkpoint `NAME.ckpt`,
archives of the same model that never trained (`NAME.like.keras`; `NAME.bare.keras`, not compiled), takes 5 more steps
and writes `NAME.end.npz`. `prove` loads what became of them (`NAME.out.*`), takes the same steps, and prints as JSON
how far the weights are from those in the end; those of a run that lost its optimizer are `NAME.lost`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import numpy as np
import tensorflow as tf

NAME, MODE, FOLDER, NAMES = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:]
keras: Any = import_module(NAME)
L, optimizers = keras.layers, keras.optimizers
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
    return keras.Model(start, L.Dense(2)(L.Add()([other(inner(x)), x])))


def added() -> Any:
    """An operation that is no layer in Keras 3."""
    start = keras.Input((4,))
    x = L.Dense(4, name="first")(start)
    return keras.Model(start, L.Dense(2)(x + L.Dense(4, name="second")(x)))


def mixed() -> Any:
    """Weights of another type than what is computed with."""
    start = keras.Input((8,))
    x = L.Dense(4, dtype="mixed_float16", name="hidden")(start)
    return keras.Model(start, L.Dense(2, dtype="float32")(x))


def frozen() -> Any:
    """A layer that is not trained."""
    model = plain()
    model.layers[0].trainable = False
    return model


CASES: dict[str, tuple[Callable[[], Any], Callable[[float], Any]]] = {
    "plain": (plain, optimizers.Adam),
    "branches": (branches, lambda rate: optimizers.SGD(rate, momentum=0.9)),
    "recurrent": (recurrent, lambda rate: optimizers.AdamW(optimizers.schedules.ExponentialDecay(rate, 4, 0.5))),
    "nested": (nested, lambda rate: optimizers.RMSprop(rate, momentum=0.5, centered=True)),
    "frozen": (frozen, lambda rate: optimizers.Adam(rate, amsgrad=True)),
    "scaled": (mixed, lambda rate: keras.mixed_precision.LossScaleOptimizer(optimizers.Adam(rate))),
    "averaged": (added, lambda rate: optimizers.Adam(rate, use_ema=True, ema_momentum=0.9)),
}
if NAME == "keras":
    CASES["accumulated"] = (plain, lambda rate: optimizers.Adagrad(rate, gradient_accumulation_steps=2))
    CASES["legacy"] = (plain, optimizers.Adam)
else:
    CASES["legacy"] = (plain, optimizers.legacy.Adam)
RATE = 0.01


def made(name: str, rate: float = RATE) -> Any:
    """The model as its program builds it."""
    keras.utils.set_random_seed(1)
    keras.backend.clear_session()
    build, optimizer = CASES[name]
    model = build()
    model.compile(optimizer(rate), "mse")
    return model


def train(model: Any, start: int, end: int) -> None:
    """So many steps."""
    for step in range(start, end):
        random = np.random.RandomState(step)
        model.train_on_batch(random.randn(8, *model.input_shape[1:]), random.randn(8, 2))


def checkpoint(model: Any, **more: Any) -> Any:
    """The usual way to save both."""
    return tf.train.Checkpoint(model=model, optimizer=model.optimizer, **more)


def other(name: str, rate: float = RATE) -> Any:
    """The same model with other weights, built and never trained."""
    model = made(name, rate)
    model.set_weights([each + 1 for each in model.get_weights()])
    model.optimizer.build(model.trainable_variables)
    return model


def make(name: str) -> None:
    """Every file of one model."""
    model = made(name)
    train(model, 0, BEFORE)
    model.save(FOLDER / f"{name}.keras")
    model.save_weights(FOLDER / f"{name}.weights.h5")
    checkpoint(model).write(str(FOLDER / f"{name}.ckpt"))
    checkpoint(model, step=tf.Variable(BEFORE)).save(str(FOLDER / f"{name}.counted"))
    if NAME == "tf_keras" and name == "plain":
        model.save_weights(FOLDER / f"{name}.saved", save_format="tf")
    if NAME == "tf_keras" and name == "recurrent":
        tf.config.run_functions_eagerly(False)  # what is saved are functions
        model.save(FOLDER / f"{name}.model", save_format="tf")
        tf.config.run_functions_eagerly(True)
    model.save(FOLDER / f"{name}.h5")  # last: Keras 3 forgets the optimizer in archives after it
    train(model, BEFORE, AFTER)
    np.savez(FOLDER / f"{name}.end.npz", int(model.optimizer.iterations), *model.get_weights())
    if name != "legacy":
        other(name).save(FOLDER / f"{name}.like.keras")
        other(name, 0.5).save(FOLDER / f"{name}.fast.keras")
    CASES[name][0]().save(FOLDER / f"{name}.bare.keras")


def loaded(name: str, file: Path) -> Any:
    """What a framework makes of a file."""
    if file.suffix == ".keras":
        model = keras.models.load_model(file)
        if ".bare." in file.name:
            model.compile(model.optimizer, "mse")
        return model
    model = other(name)
    if file.name.endswith(".model.ckpt.index"):  # which has the optimizer too
        tf.train.Checkpoint(model=model).read(str(file.with_suffix(""))).expect_partial()
    elif file.suffix == ".index":
        checkpoint(model).read(str(file.with_suffix(""))).assert_consumed()
    else:
        model.load_weights(file)
    return model


def apart(name: str, model: Any, *, lost: bool = False) -> float:
    """The largest difference of weights after all steps; endless where the count is another."""
    train(model, BEFORE, AFTER)
    count, *end = np.load(FOLDER / f"{name}.end.npz").values()
    if int(model.optimizer.iterations) != int(count) and not lost:
        return float("inf")
    return max(float(np.abs(one - two).max()) for one, two in zip(end, model.get_weights(), strict=True))


def lost(name: str) -> float:
    """How far it would go with the weights alone."""
    model = made(name)
    train(model, 0, BEFORE)
    model.compile(CASES[name][1](RATE), "mse")
    return apart(name, model, lost=True)


tf.config.run_functions_eagerly(True)  # to trace each model once more would take longer
found: dict[str, float] = {}
for name in NAMES:
    if MODE == "make":
        make(name)
        continue
    files = [file for file in sorted(FOLDER.glob(f"{name}.out.*")) if ".data-" not in file.name]
    if files:
        found[f"{name}.lost"] = lost(name)
    for file in files:
        found[file.name.removesuffix(".index")] = apart(name, loaded(name, file))
sys.stdout.write(json.dumps(found) + "\n")
