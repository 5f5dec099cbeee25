"""Takes the model of graft_tf1.py into Keras 3, and trains on with what was grafted from TensorFlow 1.

Run as a script:

    python graft_tf1_keras.py target FOLDER    # reads FOLDER/<case>/bare, saves FOLDER/<case>/target.keras
    python graft_tf1_keras.py resume FOLDER    # loads FOLDER/<case>/{target,out}.keras, answers a line of JSON

tests/real/test_old_frameworks.py grafts between the two runs.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sys
from typing import Any

import numpy as np

COMMAND, FOLDER = sys.argv[1:3]
keras = importlib.import_module("keras")
tf = importlib.import_module("tensorflow")
BEFORE, AFTER, RATE = 7, 5, 0.01
NAMES = ("net/d1/kernel", "net/d1/bias", "net/d2/kernel", "net/d2/bias")
# What the defaults of TensorFlow 1 are: a port of the program says so.
OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "adam": ("Adam", {"epsilon": 1e-8}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "rms": ("RMSprop", {"momentum": 0.9, "epsilon": 1e-10}),
    "rms_centered": ("RMSprop", {"momentum": 0.9, "epsilon": 1e-10, "centered": True}),
    "adagrad": ("Adagrad", {"epsilon": 0.0}),
    "adadelta": ("Adadelta", {"epsilon": 1e-8}),
}


def target() -> None:
    """The ported program's model with the checkpoint's weights, compiled with the ported optimizer."""
    for case, (name, options) in OPTIMIZERS.items():
        layers = [keras.layers.Dense(4, activation="tanh", name="d1"), keras.layers.Dense(1, name="d2")]
        net = keras.Sequential([keras.Input((3,)), *layers])
        reader = tf.train.load_checkpoint(os.path.join(FOLDER, case, "bare"))
        net.set_weights([reader.get_tensor(each) for each in NAMES])
        net.compile(optimizer=getattr(keras.optimizers, name)(RATE, **options), loss="mean_squared_error")
        net.save(os.path.join(FOLDER, case, "target.keras"))


def resume() -> None:
    """Loads each target and its graft, trains on, and says the count and how far the weights are away."""
    answers: dict[str, list[float]] = {}
    for case, name in itertools.product(OPTIMIZERS, ("target", "out")):
        net = keras.models.load_model(os.path.join(FOLDER, case, f"{name}.keras"))
        step = int(net.optimizer.iterations)
        for number in range(BEFORE, BEFORE + AFTER):
            x = np.random.default_rng(number).normal(size=(8, 3)).astype("float32")
            net.train_on_batch(x, x.sum(axis=1, keepdims=True) + 0.1)
        with np.load(os.path.join(FOLDER, case, "truth.npz")) as truth:
            wanted = [truth[each] for each in truth.files]
        pairs = zip(net.get_weights(), wanted, strict=True)
        answers[f"{case}/{name}"] = [step, max(float(np.abs(a - b).max()) for a, b in pairs)]
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    {"target": target, "resume": resume}[COMMAND]()
