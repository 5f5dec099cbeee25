"""Trains a small model with Keras 3, or with tf_keras, and saves it in every way.

python with_keras.py FOLDER keras|tf_keras
"""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any

STEPS = 5


def model(keras: Any) -> Any:
    """Two layers."""
    layers = [keras.layers.Dense(4, activation="tanh", name="hidden"), keras.layers.Dense(2, name="score")]
    return keras.Sequential([keras.Input((3,)), *layers])


def main() -> None:
    """Trains and saves."""
    import numpy as np

    folder, name = sys.argv[1:]
    if name == "keras":
        import keras
    else:
        import tf_keras as keras
    on_tensorflow = keras.backend.backend() == "tensorflow"
    x, y = np.random.default_rng(0).normal(size=(8, 3)), np.ones((8, 2))

    def trained(optimizer: Any) -> Any:
        net = model(keras)
        net.compile(optimizer=optimizer, loss="mse", run_eagerly=on_tensorflow)  # tracing takes longer
        for _ in range(STEPS):
            net.train_on_batch(x, y)
        return net

    net = trained(keras.optimizers.Adam(0.01))
    for each in ("whole.keras", "whole.h5"):
        net.save(os.path.join(folder, each))
    net.save_weights(os.path.join(folder, "adam.weights.h5"))
    held = net.optimizer.variables() if callable(net.optimizer.variables) else net.optimizer.variables
    values = [np.asarray(each) for each in held]
    np.savez(os.path.join(folder, "adam.npz"), *values)
    with open(os.path.join(folder, "adam.pkl"), "wb") as file:
        pickle.dump(values, file)
    sgd = trained(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 100), momentum=0.9))
    sgd.save(os.path.join(folder, "scheduled.keras"))
    sgd.save_weights(os.path.join(folder, "scheduled.weights.h5"))
    if not on_tensorflow:
        return
    import tensorflow as tf

    step = tf.Variable(STEPS, dtype=tf.int64)
    saved = tf.train.Checkpoint(model=net, optimizer=net.optimizer, step=step)
    tf.train.CheckpointManager(saved, os.path.join(folder, "run"), max_to_keep=2).save(STEPS)
    if name == "tf_keras":
        net.save(os.path.join(folder, "saved"), save_format="tf")
        net.save_weights(os.path.join(folder, "plain", "weights"), save_format="tf")
        old = trained(keras.optimizers.legacy.Adam(0.01))
        old.save(os.path.join(folder, "legacy.h5"))
        saved = tf.train.Checkpoint(net=old, opt=old.optimizer)
        saved.write(os.path.join(folder, "legacy", "ckpt"))
    else:
        net.export(os.path.join(folder, "exported"), verbose=False)


if __name__ == "__main__":
    main()
