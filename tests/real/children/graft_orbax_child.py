"""Trains, saves and resumes models with Keras' OrbaxCheckpoint, for trees/test_graft_orbax.py; run in its own process.

    python graft_orbax_child.py make FOLDER   < cases
    python graft_orbax_child.py resume FOLDER < jobs

Cases are `{name: [class, options]}`; jobs are `[name, directory, how]`. The backend is that of `KERAS_BACKEND`.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["JAX_PLATFORMS"] = "cpu"

import keras
import numpy as np

MODE, FOLDER = sys.argv[1], Path(sys.argv[2])
BEFORE, AFTER = 7, 5


def model(kind: str) -> Any:
    """A small model, the same weights every time; its layers' shapes are alike, so that a permutation shows."""
    layers = [
        keras.layers.Dense(4, activation="tanh", name="hidden"),
        keras.layers.BatchNormalization(name="normal"),
        keras.layers.Dense(4, activation="tanh", name="second"),
        keras.layers.Dense(2, name="out"),
    ]
    inputs = keras.layers.Input((4,), name="x")
    if kind == "sequential":
        built = keras.Sequential([inputs, *layers], name="m")
    else:
        outputs = inputs
        for layer in layers:
            outputs = layer(outputs)
        built = keras.Model(inputs, outputs, name="m")
    generator = np.random.default_rng(1)
    built.set_weights([generator.normal(0.5, 0.2, weight.shape).astype("float32") for weight in built.get_weights()])
    return built


def optimizer(class_name: str, options: dict[str, Any]) -> Any:
    """An optimizer; `schedule` and `loss_scale` are no options of the classes."""
    options = dict(options)
    schedule, scaled = options.pop("schedule", None), options.pop("loss_scale", False)
    if schedule:
        name, config = schedule
        options["learning_rate"] = getattr(keras.optimizers.schedules, name)(**config)
    made = getattr(keras.optimizers, class_name)(**options)
    return keras.optimizers.LossScaleOptimizer(made, initial_scale=8.0, dynamic_growth_steps=3) if scaled else made


def train(built: Any, first: int, count: int) -> None:
    """Trains some steps, each on a batch of its own."""
    for step in range(first, first + count):
        generator = np.random.default_rng(100 + step)
        built.train_on_batch(generator.normal(size=(8, 4)).astype("float32"), generator.normal(size=(8, 2)))


def compiled(kind: str, case: list[Any]) -> Any:
    """A model as the training program has it."""
    built = model(kind)
    built.compile(optimizer=optimizer(*case), loss="mean_squared_error")
    return built


def save(built: Any, folder: Path, **options: Any) -> None:
    """Saves as the callback does at the end of an epoch."""
    callback = keras.callbacks.OrbaxCheckpoint(str(folder), save_on_background=False, **options)
    callback.set_model(built)
    callback.on_epoch_end(0)
    callback.on_train_end()


def values(built: Any) -> list[Any]:
    """The model's weights, and its optimizer's variables."""
    return [np.asarray(keras.ops.convert_to_numpy(each)) for each in (*built.weights, *built.optimizer.variables)]


def make(cases: dict[str, list[Any]]) -> dict[str, Any]:
    """Donors, targets without state, and the weights and state of uninterrupted runs."""
    for name, case in cases.items():
        kind = "sequential" if name.startswith("sequential") else "functional"
        folder = FOLDER / name
        folder.mkdir(parents=True)
        keras.backend.clear_session()
        built = compiled(kind, case)
        train(built, 0, BEFORE)
        if name.startswith("sequential"):  # by load_weights: its optimizer is to be called as the program's
            keras.backend.clear_session()
        bare = compiled(kind, case)
        bare.set_weights(built.get_weights())
        save(bare, folder / "target")
        save(bare, folder / "weights", save_weights_only=True)
        bare.optimizer.build(bare.trainable_variables)
        save(bare, folder / "built")
        save(built, folder / "donor")
        built.save(folder / "donor.keras")
        built.save(folder / "donor.h5")
        built.save_weights(folder / "donor.weights.h5")
        listed = [keras.ops.convert_to_numpy(each) for each in built.optimizer.variables]
        np.savez(folder / "donor.npz", *listed)
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.train.Checkpoint(model=built, optimizer=built.optimizer).write(str(folder / "donor"))
        train(built, BEFORE, AFTER)
        np.savez(folder / "expected.npz", *values(built))
    return {}


def resume(jobs: list[tuple[str, str, str, list[Any]]]) -> list[Any]:
    """Loads, trains on, and says how far weights and state are from those of the uninterrupted run; None: other state.

    `how` is `model` (load_model), `weights` (load_weights by the program), or `unbuilt` (the same, the optimizer not
    built, which loses its slots).
    """
    found: list[Any] = []
    for name, path, how, case in jobs:
        keras.backend.clear_session()
        if how == "model":
            built = keras.saving.load_model(path)
        else:
            built = compiled("sequential" if name.startswith("sequential") else "functional", case)
            if how == "weights":
                built.optimizer.build(built.trainable_variables)
            built.load_weights(path)
        train(built, BEFORE, AFTER)
        with np.load(FOLDER / name / "expected.npz") as archive:
            expected = [archive[each] for each in archive.files]
        pairs = list(zip(expected, values(built), strict=True))
        found.append(max(float(np.abs(one.astype("f8") - other.astype("f8")).max()) for one, other in pairs))
    return found


GIVEN = json.load(sys.stdin)
sys.stdout.write(json.dumps(make(GIVEN) if MODE == "make" else resume(GIVEN)))
