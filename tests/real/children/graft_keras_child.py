"""Trains, saves and resumes models in one framework, for test_graft_keras.py; run in a process of its own.

    python graft_keras_child.py FRAMEWORK make FOLDER     < cases
    python graft_keras_child.py FRAMEWORK retarget FOLDER < names
    python graft_keras_child.py FRAMEWORK resume FOLDER   < jobs
    python graft_keras_child.py FRAMEWORK configure FOLDER < configurations

FRAMEWORK is keras, tf_keras or tf_keras.legacy (old environments: tf, tf.legacy, keras.legacy). Cases are
`{name: [class, options]}`.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import sys
import warnings
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

FRAMEWORK, MODE, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
PACKAGE = FRAMEWORK.partition(".")[0]
keras: Any = importlib.import_module("tensorflow").keras if PACKAGE == "tf" else importlib.import_module(PACKAGE)
IS_LEGACY = FRAMEWORK.endswith(".legacy")
IS_KERAS3 = PACKAGE == "keras" and not IS_LEGACY
HAS_EAGER = IS_KERAS3 or getattr(importlib.import_module("tensorflow"), "__version__", "1").partition(".")[0] != "1"
CLASSES = keras.optimizers.legacy if IS_LEGACY and hasattr(keras.optimizers, "legacy") else keras.optimizers
HAS_ARCHIVES = IS_KERAS3 or not IS_LEGACY

BEFORE, AFTER = 7, 5
LOSS = "mean_squared_error"


def model() -> Any:
    """A small model, the same weights every time; its layers' shapes are alike, so that a permutation shows."""
    inputs = keras.layers.Input((4,), name="x")
    hidden = keras.layers.Dense(4, activation="tanh", name="hidden")(inputs)
    normal = keras.layers.BatchNormalization(name="normal")(hidden)
    second = keras.layers.Dense(4, activation="tanh", name="second")(normal)
    built = keras.models.Model(inputs, keras.layers.Dense(2, name="out")(second), name="m")
    generator = np.random.default_rng(1)
    built.set_weights([generator.normal(0.5, 0.2, weight.shape).astype("float32") for weight in built.get_weights()])
    return built


def batches(first: int, count: int) -> list[tuple[Any, Any]]:
    """Training data of some steps."""
    found = []
    for step in range(first, first + count):
        generator = np.random.default_rng(100 + step)
        found.append((generator.normal(size=(8, 4)).astype("float32"), generator.normal(size=(8, 2)).astype("float32")))
    return found


def optimizer(class_name: str, options: dict[str, Any]) -> Any:
    """An optimizer of the framework; `schedule` and `loss_scale` are no options of the classes."""
    options = dict(options)
    schedule, scaled = options.pop("schedule", None), options.pop("loss_scale", False)
    if schedule:
        name, config = schedule
        options["learning_rate"] = getattr(keras.optimizers.schedules, name)(**config)
    made = getattr(CLASSES, class_name)(**options)
    if not scaled:
        return made
    wrapper = keras.optimizers if IS_KERAS3 else keras.mixed_precision
    return wrapper.LossScaleOptimizer(made, initial_scale=8.0, dynamic_growth_steps=3)


def compile_(built: Any, some: Any) -> None:
    """Compiles without graphs: tracing would take longer than the steps."""
    built.compile(optimizer=some, loss=LOSS, **({"run_eagerly": True} if HAS_EAGER else {}))


def train(built: Any, first: int, count: int) -> None:
    """Trains some steps, each on a batch of its own."""
    for x, y in batches(first, count):
        built.train_on_batch(x, y)


def make(cases: dict[str, Any]) -> dict[str, Any]:
    """Donors, targets without state, and the weights of uninterrupted runs."""
    for name, (class_name, options) in cases.items():
        folder = FOLDER / name
        folder.mkdir(parents=True)
        built = model()
        compile_(built, optimizer(class_name, options))
        train(built, 0, BEFORE)
        bare = model()
        bare.set_weights(built.get_weights())
        if HAS_ARCHIVES:
            built.save(folder / "donor.keras")
            bare.save(folder / "target.keras")
            bare.save_weights(str(folder / "target.weights.h5"))
            if IS_KERAS3 and name == "adam":
                keras.saving.save_model(bare, folder / "target.dir", zipped=False)
                bare.save_weights(folder / "target.weights.json", max_shard_size=4e-7)
        if not IS_KERAS3:
            built.save(str(folder / "donor.h5"), include_optimizer=True)
        bare.save(str(folder / "target.h5"), include_optimizer=False)
        some = built.optimizer
        values = some.get_weights() if IS_LEGACY else [np.array(each) for each in variables(some)]
        (folder / "donor.pkl").write_bytes(pickle.dumps(values))
        zeros = [np.zeros_like(each) for each in values]
        (folder / "target.pkl").write_bytes(pickle.dumps(zeros))
        np.savez(folder / "target.npz", *zeros)
        np.savez(folder / "before.npz", *built.get_weights())
        train(built, BEFORE, AFTER)
        np.savez(folder / "expected.npz", *built.get_weights())
    return {}


def retarget(folders: list[str]) -> dict[str, Any]:
    """Targets of this framework with the weights that another one's donor has."""
    for each in folders:
        folder = FOLDER / each
        with np.load(folder / "before.npz") as archive:
            weights = [archive[name] for name in archive.files]
        bare = model()
        bare.set_weights(weights)
        if HAS_ARCHIVES:
            bare.save(folder / f"{PACKAGE}.keras")
        bare.save(str(folder / f"{PACKAGE}.h5"), include_optimizer=False)
    return {}


def variables(some: Any) -> list[Any]:
    """`optimizer.variables`, a method in OptimizerV2."""
    found = some.variables
    return list(found() if callable(found) else found)


def load(path: str, class_name: str, options: dict[str, Any]) -> Any:
    """A model with a grafted state, by the public calls that the notes name."""
    if path.endswith((".weights.h5", ".weights.json")):
        built = model()
        compile_(built, optimizer(class_name, options))
        built.optimizer.build(built.trainable_variables)
        built.load_weights(path)
        return built
    if path.endswith("fresh"):
        built = model()
        restore_weights(built, Path(path).parent)
        compile_(built, optimizer(class_name, options))
        return built
    if path.endswith((".pkl", ".npz")):
        built = model()
        restore_weights(built, Path(path).parent)
        compile_(built, optimizer(class_name, options))
        if path.endswith(".pkl"):
            values = pickle.loads(Path(path).read_bytes())
        else:
            with np.load(path) as archive:
                values = [archive[f"arr_{index}"] for index in range(len(archive.files))]
        if IS_LEGACY:
            built.optimizer.iterations  # noqa: B018 # creates the count
            built.optimizer._create_all_weights(built.trainable_variables)
            built.optimizer.set_weights(values)
        else:
            built.optimizer.build(built.trainable_variables)
            for variable, value in zip(variables(built.optimizer), values, strict=True):
                variable.assign(value)
        return built
    return keras.models.load_model(path)


def restore_weights(built: Any, folder: Path) -> None:
    """The donor's model weights, without any optimizer."""
    built.load_weights(str(folder / ("target.weights.h5" if HAS_ARCHIVES else "target.h5")))


def count(some: Any) -> int:
    """The count that the framework reports, of the inner optimizer of a wrapper."""
    found = getattr(some, "inner_optimizer", some).iterations
    return int(np.array(found) if HAS_EAGER else keras.backend.get_value(found))


def resume(jobs: list[Any]) -> dict[str, Any]:
    """Loads each graft, trains on, and says how far the weights are from those of the uninterrupted run."""
    found: dict[str, Any] = {}
    for key, path, class_name, options, expected in jobs:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                built = load(path, class_name, options)
                loss = built.loss
                if HAS_EAGER:  # and without, it works as it was loaded; Keras 2.3 would make the slots anew
                    compile_(built, built.optimizer)
                steps = count(built.optimizer)
                kind = type(getattr(built.optimizer, "inner_optimizer", built.optimizer)).__name__
                train(built, BEFORE, AFTER)
                with np.load(expected) as archive:
                    wanted = [archive[name] for name in archive.files]
                pairs = list(zip(built.get_weights(), wanted))  # noqa: B905 # Python 3.7 runs this too
                if not HAS_EAGER:
                    # The bias before a normalization has rounding errors for gradients, other ones in every graph, and
                    # the normalization's moving mean follows it.
                    del pairs[4], pairs[1]
                away = max(float(np.abs(a - b).max()) for a, b in pairs)
                found[key] = {"count": steps, "away": away, "class": kind, "loss": str(loss)}
            except Exception as error:  # noqa: BLE001 # reported, and failed on, by the test
                found[key] = {"error": f"{type(error).__name__}: {error}"[:1500]}
        found[key]["warnings"] = [str(each.message)[:200] for each in caught if "Skipping" in str(each.message)]
    return found


def configure(configurations: dict[str, Any]) -> dict[str, Any]:
    """What the framework makes of each serialized optimizer, and what it says of a default instance of the class."""
    found: dict[str, Any] = {}
    for key, (class_name, node) in configurations.items():
        # As the loaders of archives and of HDF5 files do.
        is_object = "module" in node
        made = keras.saving.deserialize_keras_object(node) if is_object else keras.optimizers.deserialize(node)
        found[key] = {"config": made.get_config(), "class": type(made).__name__}
        if class_name:
            found[key]["default"] = getattr(CLASSES, class_name)().get_config()
    return found


def main() -> None:
    """Prints one JSON document."""
    given = json.load(sys.stdin)
    modes: dict[str, Any] = {"make": make, "retarget": retarget, "resume": resume, "configure": configure}
    json.dump(modes[MODE](given), sys.stdout, default=float)


if __name__ == "__main__":
    main()
