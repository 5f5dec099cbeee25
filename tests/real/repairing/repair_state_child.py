"""Saves models whose optimizers keep averages, and trains on from what `repair` made of them.

    python repair_state_child.py make FOLDER [CASE...]
    python repair_state_child.py averages FOLDER [CASE...]
    python repair_state_child.py reset FOLDER [CASE...]

Prints a JSON object. `averages`: how far the weights that are loaded are off from the averages that the optimizer
itself would have put in their place. `reset`: how far weights and state are off from those of a new optimizer that
trained the same weights as long. With Keras on JAX, of its OrbaxCheckpoint; else of all other files.
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

MODE, FOLDER = sys.argv[1], Path(sys.argv[2]).resolve()
ON_JAX = keras.backend.backend() == "jax"
EMA = {"use_ema": True, "ema_momentum": 0.7}
NEW = {
    "adam": ("Adam", {"amsgrad": True, **EMA}),
    "sgd": ("SGD", {"momentum": 0.9, "gradient_accumulation_steps": 2}),
    "rmsprop": ("RMSprop", {"momentum": 0.9, "centered": True, **EMA}),
    "adagrad": ("Adagrad", {}),
    "adagrad-high": ("Adagrad", {"initial_accumulator_value": 0.3}),
    "ftrl": ("Ftrl", {}),
    "ftrl-high": ("Ftrl", {"initial_accumulator_value": 0.2}),
    "adadelta": ("Adadelta", {}),
    "adamax": ("Adamax", {}),
    "nadam": ("Nadam", EMA),
    "adamw": ("AdamW", {}),
    "lion": ("Lion", {}),
    "adafactor": ("Adafactor", {}),
    "lamb": ("Lamb", {}),
    "muon": ("Muon", {}),
    "free": ("ScheduleFreeAdamW", {}),
}
"""Optimizers of Keras 3: class and settings."""
UNTOLD = frozenset({"adagrad", "ftrl", "adadelta", "free"})
"""Of these a list without a configuration may be another class's, which begins differently."""
REWRITTEN = {
    "adam": ("Adam", EMA),
    "adagrad-high": ("Adagrad", {"initial_accumulator_value": 0.3}),
    "ftrl": ("Ftrl", {}),
    "sgd": ("SGD", EMA),
}
"""Those of tf_keras."""
LEGACY = {"adam": ("Adam", {}), "nadam": ("Nadam", {}), "ftrl": ("Ftrl", {}), "rmsprop": ("RMSprop", {"momentum": 0.5})}
"""Its legacy ones."""


def model(library: Any) -> Any:
    """Two layers of equal shape, and one whose statistics no optimizer knows."""
    library.utils.set_random_seed(1)
    inputs = library.Input((3,))
    hidden = library.layers.Dense(3, activation="tanh", name="hidden")(inputs)
    hidden = library.layers.BatchNormalization(name="normal")(hidden)
    return library.Model(inputs, library.layers.Dense(3, name="out")(hidden))


def train(made: Any, start: int, end: int) -> None:
    """Trains on so many batches, each with data of its own."""
    for number in range(start, end):
        x = np.random.default_rng(number).normal(size=(8, 3)).astype("float32")
        made.train_on_batch(x, x * 2)


def cases() -> list[tuple[str, Any, Any]]:
    """Name, library and a new optimizer of each case, or of those that are asked for."""
    return [each for each in every_case() if each[0] in sys.argv[3:] or len(sys.argv) == 3]


def every_case() -> list[tuple[str, Any, Any]]:
    """The same of all."""
    if ON_JAX:
        chosen = [(name, NEW[name]) for name in ("adam", "adagrad", "nadam")]
        return [(name, keras, getattr(keras.optimizers, kind)(0.01, **given)) for name, (kind, given) in chosen]
    import tf_keras

    found = [(name, keras, getattr(keras.optimizers, kind)(0.01, **given)) for name, (kind, given) in NEW.items()]
    for name, (kind, given) in REWRITTEN.items():
        found.append((f"rewritten-{name}", tf_keras, getattr(tf_keras.optimizers, kind)(0.01, **given)))
    for name, (kind, given) in LEGACY.items():
        found.append((f"legacy-{name}", tf_keras, getattr(tf_keras.optimizers.legacy, kind)(0.01, **given)))
    return found


def endings(name: str) -> tuple[str, ...]:
    """The kinds of files in which state of an optimizer comes back."""
    if ON_JAX:
        return ("-orbax",)
    if name.endswith("-high"):  # a setting that is in configurations alone
        return (".keras",)
    if name in UNTOLD:
        return (".keras", "-ckpt")
    if name.startswith("legacy"):
        return (".h5", "-ckpt")
    return (".keras", ".h5", "-ckpt") if name.startswith("rewritten") else (".keras", ".weights.h5", "-ckpt")


def save(made: Any, name: str) -> None:
    """Saves a model in every way that its optimizer comes back from."""
    for ending in endings(name):
        path = str(FOLDER / f"{name}{ending}")
        if ending == "-orbax":
            callback = keras.callbacks.OrbaxCheckpoint(path, save_on_background=False)
            callback.set_model(made)
            callback.on_epoch_end(0, {})
            callback.on_train_end({})
        elif ending == "-ckpt":
            import tensorflow as tf

            tf.train.Checkpoint(model=made, optimizer=made.optimizer).write(path)
        elif ending == ".weights.h5":
            made.save_weights(path)
        else:
            made.save(path)


def load(path: str, library: Any, optimizer: Any) -> Any:
    """The model and its optimizer, by the call that restores both."""
    if path.endswith((".keras", ".h5")) and not path.endswith(".weights.h5"):
        return library.models.load_model(path)
    if ON_JAX:
        return keras.saving.load_model(path)
    made = model(library)
    made.compile(optimizer, loss="mse")
    if path.endswith(".weights.h5"):
        made.optimizer.build(made.trainable_variables)
        made.load_weights(path)
        return made
    import tensorflow as tf

    if hasattr(optimizer, "build"):
        optimizer.build(made.trainable_variables)
    status = tf.train.Checkpoint(model=made, optimizer=made.optimizer).read(path)
    status.assert_existing_objects_matched()
    return made


def state(optimizer: Any) -> list[Any]:
    """The values of an optimizer's variables, in no order: legacy optimizers have them as they were made."""
    variables = optimizer.variables() if callable(optimizer.variables) else optimizer.variables
    return sorted(map(np.asarray, variables), key=lambda each: (each.shape, each.tobytes()))


def off(one: list[Any], other: list[Any]) -> float:
    """The largest difference; both have the same number of arrays."""
    assert len(one) == len(other), (len(one), len(other))
    return max(float(abs(a - b).max()) if a.size else 0.0 for a, b in zip(one, other, strict=True))


def make() -> None:
    """Trains each model for some steps, and saves it; and what it would predict with."""
    for name, library, optimizer in cases():
        made = model(library)
        made.compile(optimizer, loss="mse")
        train(made, 0, 5)
        save(made, name)
        np.savez(FOLDER / f"{name}.npz", *made.get_weights())
        if getattr(optimizer, "use_ema", False):
            optimizer.finalize_variable_values(made.trainable_variables)
            np.savez(FOLDER / f"{name}-averages.npz", *made.get_weights())


def of_averages() -> dict[str, float]:
    """What is loaded where averages are the weights."""
    found = {}
    for name, library, optimizer in cases():
        if getattr(optimizer, "use_ema", False):
            wanted = list(np.load(FOLDER / f"{name}-averages.npz").values())
            for ending in endings(name):
                fresh = optimizer.from_config(optimizer.get_config())
                made = load(str(FOLDER / f"{name}-averages{ending}"), library, fresh)
                found[f"{name}{ending}"] = off(made.get_weights(), wanted)
    return found


def of_reset() -> dict[str, float]:
    """Training that goes on from a reset optimizer, and with a new one."""
    found = {}
    for name, library, optimizer in cases():
        new = model(library)
        new.set_weights(list(np.load(FOLDER / f"{name}.npz").values()))
        new.compile(optimizer.from_config(optimizer.get_config()), loss="mse")
        if hasattr(new.optimizer, "build"):  # within a function ScheduleFreeAdamW would not copy the weights
            new.optimizer.build(new.trainable_variables)
        train(new, 5, 10)
        for ending in endings(name):
            fresh = optimizer.from_config(optimizer.get_config())
            made = load(str(FOLDER / f"{name}-reset{ending}"), library, fresh)
            train(made, 5, 10)
            difference = off(made.get_weights(), new.get_weights())
            found[f"{name}{ending}"] = max(difference, off(state(made.optimizer), state(new.optimizer)))
    return found


def main() -> dict[str, float]:
    """Does what is asked for."""
    if MODE == "make":
        make()
        return {}
    return of_averages() if MODE == "averages" else of_reset()


if not ON_JAX:
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)  # tracing takes longer than the steps
sys.stdout.write(json.dumps(main()) + "\n")
