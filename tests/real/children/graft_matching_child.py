"""Trains, saves and resumes models whose variables are hard to tell apart, for test_graft_matching.py.

    python graft_matching_child.py FRAMEWORK make|resume FOLDER

FRAMEWORK is keras or tf_keras. What is compared are the weights of the run that was never interrupted.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

FRAMEWORK, MODE, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
keras: Any = importlib.import_module(FRAMEWORK)
layers: Any = keras.layers
BEFORE, AFTER = 7, 5


def seeded(model: Any) -> Any:
    """The same weights every time, none of them alike."""
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(0.5, 0.3, each.shape).astype("float32") for each in model.get_weights()])
    return model


def frozen() -> Any:
    """Three layers of one shape, the middle one frozen."""
    inputs = keras.Input((4,))
    middle = layers.Dense(4, activation="tanh", name="h2")
    hidden = middle(layers.Dense(4, activation="tanh", name="h1")(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="o")(layers.Dense(4, name="h3")(hidden)))
    middle.trainable = False
    return seeded(model)


def nested() -> Any:
    """A model in a model, with statistics that nobody trains, and layers of one shape."""
    inner_inputs = keras.Input((4,))
    inner = keras.Model(inner_inputs, layers.Dense(4, name="b2")(layers.Dense(4, name="a")(inner_inputs)), name="inner")
    inputs = keras.Input((4,))
    return seeded(keras.Model(inputs, layers.Dense(2, name="o")(layers.BatchNormalization()(inner(inputs)))))


@keras.utils.register_keras_serializable("test")
class Attributes(keras.Model):  # type: ignore[misc]
    """Layers as attributes, called in another order than they are set."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.zeta, self.alpha, self.last = layers.Dense(4), layers.Dense(4), layers.Dense(2)

    def call(self, inputs: Any) -> Any:
        """The second first."""
        return self.last(self.zeta(self.alpha(inputs)))


def attributes() -> Any:
    """The model, built."""
    model = Attributes(name="attributes")
    model(np.zeros((1, 4), "float32"))
    return seeded(model)


def compiled(model: Any, optimizer: Any = None) -> Any:
    """Compiled with Adam."""
    classes = keras.optimizers.legacy if FRAMEWORK == "tf_keras" else keras.optimizers
    model.compile(optimizer or classes.Adam(0.01), "mean_squared_error", run_eagerly=True)
    return model


def trained(model: Any, first: int, count: int) -> Any:
    """Some steps further."""
    for step in range(first, first + count):
        generator = np.random.default_rng(100 + step)
        model.train_on_batch(
            generator.normal(size=(8, 4)).astype("float32"), generator.normal(size=(8, 2)).astype("float32")
        )
    return model


MODELS = {"frozen": frozen, "nested": nested, "attributes": attributes}


def make(name: str) -> None:
    """Donors and targets of one model, and the weights of the run that goes on."""
    folder = FOLDER / name
    folder.mkdir()
    model = trained(compiled(MODELS[name]()), 0, BEFORE)
    bare = MODELS[name]()
    bare.set_weights(model.get_weights())
    if FRAMEWORK == "tf_keras":
        model.save(folder / "full")
        bare.save(folder / "bare")
    else:
        model.save_weights(folder / "full.weights.h5")
        tf.train.Checkpoint(net=model, optimizer=model.optimizer).write(str(folder / "full"))
        with (folder / "full.pkl").open("wb") as file:
            pickle.dump([np.array(each) for each in model.optimizer.variables], file)
        bare.save(folder / "bare.keras")
        tf.train.Checkpoint(model=bare).write(str(folder / "bare"))
    trained(model, BEFORE, AFTER)
    np.savez(folder / "want.npz", *model.get_weights())


def resume(path: Path) -> list[float]:
    """[count, how far the weights are away after the same steps]."""
    name = path.parent.name
    if path.suffix == ".keras":
        loaded = keras.models.load_model(path)
        model = compiled(loaded, loaded.optimizer)
    elif path.suffix == ".pkl":
        model = MODELS[name]()
        source = keras.models.load_model(path.parent / "bare.keras")
        model.set_weights(source.get_weights())
        compiled(model).optimizer.build(model.trainable_variables)
        with path.open("rb") as file:
            for variable, value in zip(model.optimizer.variables, pickle.load(file), strict=True):
                variable.assign(value)
    elif FRAMEWORK == "tf_keras":
        loaded = keras.models.load_model(path)
        model = compiled(loaded, loaded.optimizer)
        model.load_weights(str(path / "variables/variables"))
    else:
        model = compiled(MODELS[name]())
        checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
        checkpoint.read(str(path)).assert_existing_objects_matched()
    count = int(model.optimizer.iterations)
    trained(model, BEFORE, AFTER)
    with np.load(path.parent / "want.npz") as want:
        away = [float(np.abs(a - b).max()) for a, b in zip(model.get_weights(), want.values(), strict=True)]
    return [count, max(away)]


if MODE == "make":
    for each in ("frozen",) if FRAMEWORK == "tf_keras" else MODELS:
        make(each)
else:
    sys.stdout.write(json.dumps({each: resume(FOLDER / each) for each in json.load(sys.stdin)}) + "\n")
