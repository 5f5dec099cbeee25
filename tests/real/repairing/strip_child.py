"""Saves trained models in every way of Keras and TensorFlow, and loads what `strip` left of them.

    python strip_child.py make FOLDER
    python strip_child.py load FOLDER

Prints a JSON object: of each file, how far the weights are off, and whether there is no optimizer.
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
X = np.linspace(-1.0, 1.0, 12, dtype="float32").reshape(4, 3)


def model(library: Any) -> Any:
    """Two layers and a normalization, trained for some steps."""
    library.utils.set_random_seed(1)
    inputs = library.Input((3,))
    hidden = library.layers.BatchNormalization(name="normal")(library.layers.Dense(4, name="hidden")(inputs))
    return library.Model(inputs, library.layers.Dense(2, name="out")(hidden))


def trained(library: Any, optimizer: Any) -> Any:
    """The same, after three steps."""
    made = model(library)
    made.compile(optimizer, loss="mse")
    made.fit(X, X[:, :2], epochs=3, verbose=0)
    return made


def off(made: Any, wanted: Any) -> float:
    """The largest difference between two models' weights."""
    pairs = zip(made.get_weights(), wanted, strict=True)
    return float(max(abs(one - other).max() for one, other in pairs))


def _old(make: bool) -> Any:  # noqa: FBT001 - what is to be done
    """A graph of TensorFlow 1: saved with its optimizer, or restored into one without."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        weight = tf.compat.v1.get_variable("w", initializer=tf.constant([1.0, 2.0]), use_resource=False)
        if make:
            step = tf.compat.v1.train.get_or_create_global_step()
            loss = tf.reduce_sum(weight * weight)
            operation = tf.compat.v1.train.AdamOptimizer(0.1).minimize(loss, global_step=step)
            session.run(tf.compat.v1.global_variables_initializer())
            session.run(operation)
            tf.compat.v1.train.Saver().save(session, str(FOLDER / "old"))
        else:
            tf.compat.v1.train.Saver().restore(session, str(FOLDER / "old-stripped"))
        return session.run(weight).tolist()


def main() -> dict[str, Any]:
    """Does what is asked for."""
    if MODE == "make":
        new = trained(keras, keras.optimizers.Adam(0.01))
        new.save(FOLDER / "model.keras")
        new.save(FOLDER / "whole.h5")
        new.save_weights(FOLDER / "new.weights.h5")
        tf.train.Checkpoint(model=new, optimizer=new.optimizer).write(str(FOLDER / "keras3"))
        np.savez(FOLDER / "new.npz", *new.get_weights())
        legacy = trained(tf_keras, tf_keras.optimizers.legacy.Adam(0.01))
        legacy.save(FOLDER / "legacy.h5")
        tf.train.Checkpoint(model=legacy, optimizer=legacy.optimizer).write(str(FOLDER / "legacy"))
        legacy.save(FOLDER / "legacy.keras")
        np.savez(FOLDER / "legacy.npz", *legacy.get_weights())
        scaled = trained(keras, keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01, momentum=0.9)))
        scaled.save(FOLDER / "scaled.keras")
        np.savez(FOLDER / "scaled.npz", *scaled.get_weights())
        return {"old": _old(make=True)}
    weights = {name: [*np.load(FOLDER / f"{name}.npz").values()] for name in ("new", "legacy", "scaled")}
    found: dict[str, Any] = {"old": _old(make=False)}
    for name, library, held in (
        ("model-stripped.keras", keras, "new"), ("whole-stripped.h5", keras, "new"),
        ("scaled-stripped.keras", keras, "scaled"),
        ("legacy-stripped.h5", tf_keras, "legacy"), ("legacy-stripped.keras", tf_keras, "legacy"),
    ):  # fmt: skip
        made = library.models.load_model(FOLDER / name)
        found[name] = [off(made, weights[held]), getattr(made, "optimizer", None) is None]
    made = model(keras)
    made.load_weights(FOLDER / "new-stripped.weights.h5")
    found["weights"] = [off(made, weights["new"]), True]
    for name, library in (("keras3", keras), ("legacy", tf_keras)):
        made = model(library)
        status = tf.train.Checkpoint(model=made).read(str(FOLDER / f"{name}-stripped"))
        status.assert_existing_objects_matched().expect_partial()
        found[name] = [off(made, weights["new" if name == "keras3" else name]), True]
    return found


tf.config.run_functions_eagerly(True)  # tracing takes longer than the steps
sys.stdout.write(json.dumps(main()) + "\n")
