"""Programs that save and resume checkpoints of their own kind, for test_graft_configured.py; run in a process.

    python graft_programs.py FRAMEWORK donors FOLDER    < cases    # trains, saves FOLDER/<case>/donor and the truth
    python graft_programs.py FRAMEWORK targets FOLDER   < cases    # the same weights, without any state
    python graft_programs.py FRAMEWORK resume FOLDER    < jobs     # loads a graft, trains on, answers the difference
    python graft_programs.py FRAMEWORK two-donors FOLDER           # two models, each with its optimizer, and without
    python graft_programs.py FRAMEWORK two-resume FOLDER < paths   # restores both, trains both on

FRAMEWORK and cases are those of graft_keras_child.py.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from graft_keras_child import (  # type: ignore[import-not-found] # it lies beside this script
    AFTER,
    BEFORE,
    FOLDER,
    IS_KERAS3,
    MODE,
    batches,
    compile_,
    count,
    keras,
    model,
    optimizer,
    train,
)


def donors(cases: dict[str, Any]) -> dict[str, Any]:
    """A trained model with its optimizer as a checkpoint, its weights then, and after an uninterrupted run."""
    for name, (class_name, options) in cases.items():
        folder = FOLDER / name
        folder.mkdir(parents=True)
        built = model()
        compile_(built, optimizer(class_name, options))
        train(built, 0, BEFORE)
        tf.train.Checkpoint(model=built, optimizer=built.optimizer).write(str(folder / "donor"))
        if IS_KERAS3:
            built.save(folder / "donor.keras")
        np.savez(folder / "before.npz", *built.get_weights())
        train(built, BEFORE, AFTER)
        np.savez(folder / "expected.npz", *built.get_weights())
    return {}


def read(path: Path) -> list[Any]:
    """The arrays of an archive, in order."""
    with np.load(path) as archive:
        return [archive[name] for name in archive.files]


def targets(cases: dict[str, Any]) -> dict[str, Any]:
    """The donors' weights in every kind of file, and in one of a model that was compiled but never built."""
    for name, (class_name, options) in cases.items():
        folder = FOLDER / name
        bare = model()
        bare.set_weights(read(folder / "before.npz"))
        tf.train.Checkpoint(model=bare).write(str(folder / "bare"))
        bare.save_weights(str(folder / "bare.weights.h5"))
        bare.save(str(folder / "bare.keras"))
        compile_(bare, optimizer(class_name, options))
        bare.save_weights(str(folder / "unbuilt.weights.h5"))
    return {}


def load(path: str, class_name: str, options: dict[str, Any]) -> Any:
    """A model with its optimizer, by the calls that a program of this kind makes."""
    if path.endswith(".keras"):
        built = keras.models.load_model(path)
        compile_(built, built.optimizer)
        return built
    built = model()
    compile_(built, optimizer(class_name, options))
    if path.endswith(".weights.h5"):
        built.optimizer.build(built.trainable_variables)
        built.load_weights(path)
    else:
        status = tf.train.Checkpoint(model=built, optimizer=built.optimizer).read(path)
        status.assert_existing_objects_matched()
    return built


def resume(jobs: list[Any]) -> dict[str, Any]:
    """What each graft resumes at, and how far it ends from the uninterrupted run."""
    found: dict[str, Any] = {}
    for path, class_name, options in jobs:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            built = load(path, class_name, options)
            steps = count(built.optimizer)
            train(built, BEFORE, AFTER)
        wanted = read(Path(path).parent / "expected.npz")
        away = max(float(np.abs(a - b).max()) for a, b in zip(built.get_weights(), wanted, strict=True))
        skipped = [str(each.message)[:200] for each in caught if "Skipping" in str(each.message)]
        found[path] = {"count": steps, "away": away, "skipped": skipped}
    return found


def pair() -> dict[str, Any]:
    """Two models and their optimizers."""
    return {
        "first": model(),
        "second": model(),
        "first_opt": optimizer("Adam", {"learning_rate": 0.02}),
        "second_opt": optimizer("Adam", {"learning_rate": 0.01}),
    }


def step_both(objects: dict[str, Any], first: int, steps: int) -> None:
    """Trains both models, each on batches of its own and the second half as often."""
    for name, every in (("first", 1), ("second", 2)):
        net, optimizer_ = objects[name], objects[f"{name}_opt"]
        for x, y in batches(first, steps)[::every]:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((net(x, training=False) - y) ** 2)
            gradients = tape.gradient(loss, net.trainable_variables)
            optimizer_.apply_gradients(zip(gradients, net.trainable_variables, strict=True))


def two_donors(_: object) -> dict[str, Any]:
    """One checkpoint with everything, one with the models alone."""
    objects = pair()
    step_both(objects, 0, BEFORE)
    tf.train.Checkpoint(**objects).write(str(FOLDER / "full"))
    tf.train.Checkpoint(first=objects["first"], second=objects["second"]).write(str(FOLDER / "bare"))
    step_both(objects, BEFORE, AFTER)
    np.savez(FOLDER / "expected.npz", *objects["first"].get_weights(), *objects["second"].get_weights())
    return {}


def two_resume(paths: list[str]) -> dict[str, Any]:
    """How far both models end from the uninterrupted run."""
    found: dict[str, Any] = {}
    for path in paths:
        objects = pair()
        tf.train.Checkpoint(**objects).read(path).assert_existing_objects_matched()
        step_both(objects, BEFORE, AFTER)
        ours = [*objects["first"].get_weights(), *objects["second"].get_weights()]
        wanted = read(FOLDER / "expected.npz")
        found[path] = max(float(np.abs(a - b).max()) for a, b in zip(ours, wanted, strict=True))
    return found


def main() -> None:
    """Prints one JSON document."""
    modes: dict[str, Any] = {
        "donors": donors,
        "targets": targets,
        "resume": resume,
        "two-donors": two_donors,
        "two-resume": two_resume,
    }
    json.dump(modes[MODE](json.load(sys.stdin)), sys.stdout, default=float)


if __name__ == "__main__":
    main()
