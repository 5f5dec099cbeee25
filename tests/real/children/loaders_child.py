"""Run in a child process: Keras 3 and tf_keras load what each other and they themselves saved, and tell what they hold.

    python loaders_child.py FOLDER        prints a JSON list of records

A record has `saved` (keras, tf_keras or legacy), `path`, `loader`, `call`, and what was found: `error`, or
`iterations`, `slots` and `weights` as restored, lost or wrong.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import tensorflow as tf
import tf_keras

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")

FRAMEWORKS: dict[str, Any] = {"keras": keras, "tf_keras": tf_keras}
STEPS = 3
RATE = 0.01


def model(framework: Any) -> Any:
    """Two dense layers, all of whose variables have shapes of their own."""
    layers = framework.layers
    return framework.Sequential(
        [
            layers.InputLayer(**{"shape" if framework is keras else "input_shape": (3,)}),
            layers.Dense(4, name="hidden"),
            layers.Dense(2, name="out"),
        ],
        name="m",
    )


def optimizer(saved: str, rate: float) -> Any:
    """The Adam that this generation has by default."""
    if saved == "legacy":
        return tf_keras.optimizers.legacy.Adam(rate)
    return FRAMEWORKS[saved].optimizers.Adam(rate)


def compiled(saved: str, rate: float = RATE) -> Any:
    """A model with an optimizer that is not built yet."""
    framework = tf_keras if saved == "legacy" else FRAMEWORKS[saved]
    made = model(framework)
    made.compile(optimizer(saved, rate), framework.losses.MeanSquaredError())
    return made


def moments(made: Any) -> list[Any]:
    """First and second moments in the model's order, made if they are not there."""
    held, variables = made.optimizer, made.trainable_variables
    if hasattr(held, "get_slot"):
        held._create_all_weights(variables)
        return [np.array(held.get_slot(each, slot)) for slot in ("m", "v") for each in variables]
    if not (held.built if hasattr(held, "built") else getattr(held, "_built", False)):
        held.build(variables)
    return [np.array(each) for each in (*held._momentums, *held._velocities)]


def outcome(found: Sequence[Any], wanted: Sequence[Any]) -> str:
    """Whether arrays are those that were saved, none of them, or something else."""
    right = [one.shape == other.shape and np.array_equal(one, other) for one, other in zip(found, wanted, strict=False)]
    if len(found) == len(wanted) and all(right):
        return "restored"
    if all(not np.any(each) for each in found):
        return "lost"
    return "wrong"


def measured(made: Any, truth: Mapping[str, Any]) -> dict[str, str]:
    """What a model holds of what was saved."""
    count = int(np.array(made.optimizer.iterations))
    return {
        "iterations": "restored" if count == STEPS else "lost" if count == 0 else "wrong",
        "slots": outcome(moments(made), truth["slots"]),
        "weights": "restored" if outcome(made.get_weights(), truth["weights"]) == "restored" else "lost",
    }


def save(saved: str, folder: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Trains, saves in every way that keeps an optimizer, and answers with the truth and each file's usual call."""
    made = compiled(saved)
    rng = np.random.default_rng(7)
    for _ in range(STEPS):
        made.train_on_batch(rng.normal(size=(8, 3)).astype("float32"), rng.normal(size=(8, 2)).astype("float32"))
    truth = {"slots": moments(made), "weights": made.get_weights()}
    calls = {"m.h5": "load_model(path)", "ckpt": "tf.train.Checkpoint.restore(path)"}
    if saved != "legacy":
        calls.update({"m.keras": "load_model(path)", "m.weights.h5": "load_weights(path)"})
        made.save_weights(os.path.join(folder, "m.weights.h5"))
        made.save(os.path.join(folder, "m.keras"))
    if saved != "keras":
        calls["sm"] = "load_model(path)"
        made.save(os.path.join(folder, "sm"), save_format="tf")
    tf.train.Checkpoint(model=made, optimizer=made.optimizer).write(os.path.join(folder, "ckpt"))
    made.save(os.path.join(folder, "m.h5"))
    return truth, calls


def load(loader: str, path: str, call: str) -> Any:
    """Loads by the usual call; the new optimizer has another rate, so that nothing fits by chance."""
    if call == "load_model(path)":
        return FRAMEWORKS[loader].models.load_model(path)
    made = compiled(loader, rate=0.5)
    if call == "load_weights(path)":
        made.load_weights(path)
    else:
        tf.train.Checkpoint(model=made, optimizer=made.optimizer).restore(path).expect_partial()
    return made


def main() -> None:
    """Saves by each, loads by each."""
    records = []
    for saved in ("keras", "tf_keras", "legacy"):
        folder = os.path.join(sys.argv[1], saved)
        os.makedirs(folder)
        truth, calls = save(saved, folder)
        for name, call in calls.items():
            for loader, framework in FRAMEWORKS.items():
                path = os.path.join(folder, name)
                record: dict[str, Any] = {
                    "saved": saved,
                    "path": path,
                    "loader": f"{loader}=={framework.__version__}",
                    "call": call,
                }
                try:
                    record.update(measured(load(loader, path, call), truth), error=None)
                except Exception as error:  # noqa: BLE001 - whatever a framework raises is the result
                    record["error"] = f"{type(error).__name__}: {error}"
                records.append(record)
    json.dump(records, sys.stdout)


main()
