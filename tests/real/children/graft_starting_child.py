"""Models of which the second has a layer more: what its slots begin with, for test_graft_starting.py.

    python graft_starting_child.py FRAMEWORK make FOLDER < cases    # FOLDER/<case>/{donor,target}*
    python graft_starting_child.py FRAMEWORK compare FOLDER < names

FRAMEWORK is keras, tf_keras or tf_keras.legacy. Cases are `{name: [class, options]}`.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

FRAMEWORK, MODE, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
IS_LEGACY = FRAMEWORK.endswith(".legacy")
keras: Any = importlib.import_module(FRAMEWORK.partition(".")[0])
CLASSES = keras.optimizers.legacy if IS_LEGACY else keras.optimizers
ENDING = "h5" if IS_LEGACY else "keras"


def model(*, longer: bool) -> Any:
    """A small model, with a layer more or without."""
    inputs = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(4, activation="tanh", name="hidden")(inputs)
    if longer:
        hidden = keras.layers.Dense(3, bias_initializer="ones", name="added")(hidden)
    return keras.Model(inputs, keras.layers.Dense(2, name="wide" if longer else "out")(hidden), name="m")


def make(cases: dict[str, Any]) -> dict[str, Any]:
    """Donors with three steps, targets without state."""
    tf = importlib.import_module("tensorflow")
    for name, (class_name, options) in cases.items():
        folder = FOLDER / name
        folder.mkdir(parents=True)
        donor, target = model(longer=False), model(longer=True)
        donor.compile(getattr(CLASSES, class_name)(**options), "mse", run_eagerly=True)
        for step in range(3):
            generator = np.random.default_rng(step)
            donor.train_on_batch(generator.normal(size=(8, 4)), generator.normal(size=(8, 2)))
        donor.save(str(folder / f"donor.{ENDING}"))
        target.save(str(folder / f"target.{ENDING}"))
        tf.train.Checkpoint(model=target).write(str(folder / "target"))
    return {}


def variables(optimizer: Any) -> list[Any]:
    """`optimizer.variables`, a method in OptimizerV2."""
    found = optimizer.variables
    return list(found() if callable(found) else found)


def state(optimizer: Any) -> list[tuple[str, Any]]:
    """What an optimizer holds for the added layer, with the names of its variables."""
    found = [(getattr(each, "path", each.name), np.array(each)) for each in variables(optimizer)]
    return [(name, value) for name, value in found if "added" in name]


def new_optimizer(built: Any, like: Any) -> Any:
    """An optimizer of another's class and options that has not stepped."""
    new = type(like).from_config(like.get_config())
    if IS_LEGACY:
        new._create_all_weights(built.trainable_variables)
    else:
        new.build(built.trainable_variables)
    return new


def begun(built: Any, optimizer: Any) -> list[Any]:
    """The same of a new optimizer for this model, of the class and with the options of another one."""
    new = new_optimizer(built, optimizer)
    # Keras 3 copies the weights into averages in the first step, which a run that goes on has behind it.
    kernel, bias = (np.array(each) for each in built.get_layer("added").weights)
    return [value if "average" not in name else kernel if "kernel" in name else bias for name, value in state(new)]


def compare(names: list[str]) -> dict[str, Any]:
    """How far the added layer's slots are from those of a new optimizer, and the largest number among them."""
    tf = importlib.import_module("tensorflow")
    answers = {}
    for name in names:
        whole = keras.models.load_model(str(FOLDER / name / f"out.{ENDING}"))
        found = {ENDING: state(whole.optimizer)}
        wanted = begun(whole, whole.optimizer)
        built = model(longer=True)
        new = new_optimizer(built, whole.optimizer)
        tf.train.Checkpoint(model=built, optimizer=new).restore(str(FOLDER / name / "out")).expect_partial()
        found["checkpoint"] = state(new)
        answers[name] = {
            kind: max(float(np.abs(one - other).max()) for (_, one), other in zip(each, wanted, strict=True))
            for kind, each in found.items()
        }
        answers[name]["largest"] = max(float(np.abs(each).max()) for each in wanted)
        answers[name]["steps"] = int(np.array(new.iterations))
    return answers


GIVEN = json.load(sys.stdin)
sys.stdout.write(json.dumps(make(GIVEN) if MODE == "make" else compare(GIVEN)) + "\n")
