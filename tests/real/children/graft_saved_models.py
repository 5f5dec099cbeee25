"""SavedModels of tf_keras with and without optimizer state, and models resumed from grafted ones.

Run as a script:

    python graft_saved_models.py save FRAMEWORK FOLDER [FIRST EVERY]  # FOLDER/<case>/{full,bare,fresh,plain}, truth
    python graft_saved_models.py resume FRAMEWORK FOLDER        # FOLDER/<case>/out_*; answers a line of JSON

FRAMEWORK is tf_keras or tf_keras.legacy; with FIRST and EVERY, every so many cases from that one on are made only.
tests/real/test_graft_tf.py grafts between the two runs.
"""

from __future__ import annotations

import glob
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

COMMAND, FRAMEWORK, FOLDER = sys.argv[1:4]
tf = importlib.import_module("tensorflow")
keras = importlib.import_module(os.environ.get("GRAFT_KERAS", "tf_keras"))
MODULE = keras.optimizers.legacy if FRAMEWORK.endswith(".legacy") else keras.optimizers
BEFORE, AFTER, RATE, JUNK_RATE = 7, 5, 0.01, 0.5

CASES: dict[str, Callable[[float], Any]] = {
    "adam": MODULE.Adam,
    "momentum": lambda rate: MODULE.SGD(rate, momentum=0.9),
    "rms": lambda rate: MODULE.RMSprop(rate, momentum=0.9, centered=True),
}


def model(weights: list[Any] | None = None, optimizer: Any = None) -> Any:
    """A small model, compiled if there is an optimizer."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    net = keras.Sequential(
        [layers.Input((3,)), layers.Dense(4, name="hidden"), layers.BatchNormalization(name="bn"), layers.Dense(1)]
    )
    if weights is not None:
        net.set_weights(weights)
    if optimizer is not None:
        net.compile(optimizer, "mse", run_eagerly=True)
    return net


def train(net: Any, start: int, steps: int) -> None:
    """Trains on the batches of these numbers."""
    for number in range(start, start + steps):
        x = np.random.default_rng(number).normal(size=(8, 3)).astype("float32")
        net.train_on_batch(x, x.sum(axis=1, keepdims=True) + 0.1)


def save() -> None:
    """Saves a trained model, and its twins: not compiled, compiled and barely trained, without Keras' metadata."""
    first, every = map(int, sys.argv[4:] or (0, 1))
    for case, create in list(CASES.items())[first::every]:
        folder = os.path.join(FOLDER, case)
        net = model(optimizer=create(RATE))
        train(net, 0, BEFORE)
        net.save(os.path.join(folder, "full"), save_format="tf")
        weights = net.get_weights()
        model(weights).save(os.path.join(folder, "bare"), save_format="tf")
        fresh = model(optimizer=create(RATE))
        train(fresh, 99, 1)
        fresh.set_weights(weights)
        fresh.save(os.path.join(folder, "fresh"), save_format="tf")
        tf.saved_model.save(model(weights), os.path.join(folder, "plain"))
        train(net, BEFORE, AFTER)
        np.savez(os.path.join(folder, "truth.npz"), *net.get_weights())


def resume() -> None:
    """Loads each grafted model by the calls that the notes name, and trains on."""
    answers: dict[str, Any] = {}
    for case in sorted(os.listdir(FOLDER)):
        with np.load(os.path.join(FOLDER, case, "truth.npz")) as truth:
            wanted = [truth[name] for name in truth.files]
        for folder in sorted(glob.glob(os.path.join(FOLDER, case, "out_*"))):
            try:
                answers[f"{case}/{os.path.basename(folder)}"] = resumed(folder, case, wanted)
            except Exception as error:  # noqa: BLE001, PERF203 - whatever the framework says is the answer
                answers[f"{case}/{os.path.basename(folder)}"] = f"{type(error).__name__}: {str(error)[:300]}"
    sys.stdout.write(json.dumps(answers) + "\n")


def resumed(folder: str, case: str, wanted: list[Any]) -> list[float]:
    """The optimizer's count after loading, and the greatest difference to the uninterrupted run."""
    served = tf.saved_model.load(folder)
    assert served.signatures["serving_default"] is not None
    if "plain" in folder:
        net = model([np.full_like(each, 9.0) for each in wanted], CASES[case](JUNK_RATE))
    else:
        net = keras.models.load_model(folder)
        # The model's loss is not the optimizer's state: a target that was not compiled has none.
        net.compile(net.optimizer, net.loss or "mse", run_eagerly=True)
    net.load_weights(os.path.join(folder, "variables", "variables"))
    train(net, BEFORE, AFTER)
    iterations = int(net.optimizer.iterations.numpy())
    return [iterations, max(float(np.abs(a - b).max()) for a, b in zip(net.get_weights(), wanted, strict=True))]


if __name__ == "__main__":
    {"save": save, "resume": resume}[COMMAND]()
