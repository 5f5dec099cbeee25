"""Trains models that are frozen and thawed, saves them, and says what `load_model` rebuilds; run in its own process.

    python frozen_child.py FRAMEWORK FOLDER [STEP]

FRAMEWORK is keras or tf_keras (old environments: tf, and keras.legacy, before 2.4); STEP takes every so many of the
models only. Prints a JSON object: name of a
file → how many variables the loaded model trains, its count, and how many of its optimizer's slots are not zero.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

FRAMEWORK, FOLDER = sys.argv[1:3]
STEP = int(sys.argv[3]) if sys.argv[3:] else 1
PACKAGE = FRAMEWORK.partition(".")[0]
tf: Any = importlib.import_module("tensorflow")
keras: Any = tf.keras if PACKAGE == "tf" else importlib.import_module(PACKAGE)
IS_KERAS3 = FRAMEWORK == "keras"
HAS_EAGER = IS_KERAS3 or not tf.__version__.startswith("1.")
HAS_ARCHIVES = IS_KERAS3 or hasattr(keras, "saving")
layers: Any = keras.layers


class Scale(layers.Layer):  # type: ignore[misc]
    """A layer of one's own, one of whose weights is not trained."""

    def build(self, shape: Any) -> None:
        """Makes both."""
        size = (int(shape[-1]),)
        self.gain = self.add_weight(name="gain", shape=size, initializer="ones", trainable=True)
        self.seen = self.add_weight(name="seen", shape=size, initializer="zeros", trainable=False)
        super().build(shape)

    def call(self, inputs: Any) -> Any:
        """Uses both."""
        return inputs * self.gain + self.seen


def chain(made: list[Any], name: str, *, functional: bool) -> Any:
    """A model of these layers, one after the other."""
    if not functional and not IS_KERAS3:
        return keras.models.Sequential(made, name=name)
    if not functional:
        return keras.models.Sequential([layers.Input((3,)), *made], name=name)
    inputs = layers.Input((3,))
    outputs = inputs
    for each in made:
        outputs = each(outputs)
    return keras.models.Model(inputs, outputs, name=name)


def built(extra: str, *, functional: bool) -> tuple[Any, Any]:
    """A base, and the model around it."""
    first = {"input_shape": (3,)} if not functional and not IS_KERAS3 else {}
    inside = [layers.Dense(4, activation="tanh", name="block1", **first)]
    inside += {"normal": [layers.BatchNormalization(name="normal")], "custom": [Scale(name="own")]}.get(extra, [])
    base = chain([*inside, layers.Dense(4, activation="tanh", name="block2")], "base", functional=functional)
    return base, chain([base, layers.Dense(4, name="fc"), layers.Dense(2, name="out")], "m", functional=True)


def compiled(model: Any) -> Any:
    """The model with a new optimizer, without graphs: tracing would take longer than the steps."""
    eager = {"run_eagerly": True} if HAS_EAGER else {}
    model.compile(optimizer=keras.optimizers.RMSprop(), loss="mean_squared_error", **eager)
    return model


def trained(model: Any) -> Any:
    """The model after three steps."""
    for step in range(3):
        generator = np.random.RandomState(step)
        x, y = generator.normal(size=(4, 3)).astype("float32"), generator.normal(size=(4, 2)).astype("float32")
        model.train_on_batch(x, y)
    return model


def plain(_base: Any, model: Any) -> None:
    """Everything is trained."""
    trained(compiled(model))


def frozen(base: Any, model: Any) -> None:
    """The base as a whole is frozen, and stays so."""
    base.trainable = False
    trained(compiled(model))


def layers_frozen(base: Any, model: Any) -> None:
    """The base's layers are frozen one by one."""
    for each in base.layers:
        each.trainable = False
    trained(compiled(model))


def thawed(base: Any, model: Any) -> None:
    """The base is thawed after training, and the model not compiled again: its optimizer does not know."""
    frozen(base, model)
    base.trainable = True


def recompiled(base: Any, model: Any) -> None:
    """The base is thawed, and the model compiled and trained again."""
    thawed(base, model)
    trained(compiled(model))


def frozen_later(base: Any, model: Any) -> None:
    """Everything was trained; the base is frozen then."""
    plain(base, model)
    base.trainable = False


HISTORIES: tuple[Callable[[Any, Any], None], ...] = (plain, frozen, layers_frozen, thawed, recompiled, frozen_later)


def saved() -> Iterator[str]:
    """Saves every model in every layout that the framework has."""
    every = itertools.product((False, True), ("", "normal", "custom"), HISTORIES)
    for functional, extra, history in itertools.islice(every, 0, None, STEP):
        keras.backend.clear_session()
        base, model = built(extra, functional=functional)
        history(base, model)
        for ending in ("keras", "h5") if HAS_ARCHIVES else ("h5",):
            name = "-".join(["functional" if functional else "sequential", extra or "dense", history.__name__])
            model.save(os.path.join(FOLDER, f"{name}.{ending}"))
            yield f"{name}.{ending}"


def value(variable: Any) -> Any:
    """A variable's value."""
    return np.array(variable) if HAS_EAGER else keras.backend.get_value(variable)


def loaded(path: str) -> dict[str, int]:
    """What `load_model` makes of a file."""
    keras.backend.clear_session()
    model = keras.models.load_model(path, custom_objects={"Scale": Scale})
    kept = getattr(model.optimizer, "weights", None) if not HAS_EAGER else model.optimizer.variables
    values = [value(each) for each in (kept() if callable(kept) else kept or ())]
    return {
        "trained": len(model.trainable_weights),
        "iterations": int(value(model.optimizer.iterations)),
        "slots": sum(each.ndim > 0 and bool(each.any()) for each in values),
    }


def main() -> None:
    """Prints one JSON document."""
    os.makedirs(FOLDER, exist_ok=True)
    names = list(saved())
    json.dump({name: loaded(os.path.join(FOLDER, name)) for name in names}, sys.stdout)


if __name__ == "__main__":
    main()
