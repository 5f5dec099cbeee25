"""Trains with every optimizer of one framework, saves, and resumes from grafted checkpoints.

Run as a script:

    python graft_training.py train FRAMEWORK FOLDER [FIRST EVERY]  # saves FOLDER/<case>/{full,bare,fresh}, truth.npz
    python graft_training.py resume FRAMEWORK FOLDER               # restores FOLDER/<case>/<out>, answers JSON

FRAMEWORK is keras, tf_keras or tf_keras.legacy (old environments: tf, tf.legacy); with FIRST and EVERY, every so many
cases from that one on are made only. tests/real/test_graft_tf.py and tests/real/test_old_frameworks.py graft between
the two runs.
"""

from __future__ import annotations

import functools
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
PACKAGE = FRAMEWORK.partition(".")[0]
keras = tf.keras if PACKAGE == "tf" else importlib.import_module(PACKAGE)
IS_LEGACY = FRAMEWORK.endswith(".legacy")
IS_KERAS3 = FRAMEWORK == "keras"
MODULE = keras.optimizers.legacy if IS_LEGACY else keras.optimizers
BEFORE, AFTER, RATE, JUNK_RATE = 7, 5, 0.01, 0.5


def cases() -> dict[str, Callable[[float], Any]]:
    """Name → an optimizer with this learning rate."""
    plain = ("Adam", "SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl")
    newer = ("Lion", "AdamW", "Adafactor", "Lamb", "Muon")
    options: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in (*plain, *newer)}
    options |= {
        "amsgrad": ("Adam", {"amsgrad": True}),
        "momentum": ("SGD", {"momentum": 0.9}),
        "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
        "rms_momentum": ("RMSprop", {"momentum": 0.9}),
        "rms_centered": ("RMSprop", {"centered": True}),
        "rms_both": ("RMSprop", {"momentum": 0.9, "centered": True}),
        "ema": ("Adam", {"use_ema": True}),
        "accumulation": ("Adam", {"gradient_accumulation_steps": 2}),
        "accumulation_ema": ("Adam", {"gradient_accumulation_steps": 2, "use_ema": True}),
        "decay": ("SGD", {"momentum": 0.9, "decay": 0.1}),
    }
    found: dict[str, Callable[[float], Any]] = {}
    for case, (name, arguments) in options.items():
        cls = getattr(MODULE, name, None)
        try:
            if cls is not None and not ("decay" in arguments and not IS_LEGACY):
                cls(learning_rate=RATE, **arguments)
                found[case] = functools.partial(made, cls, arguments)
        except (TypeError, ValueError):
            continue
    # A schedule is the program's own: it is the same in both runs.
    schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 3, 0.7)
    found["schedule"] = lambda _: MODULE.Adam(schedule)
    wrapper = MODULE.LossScaleOptimizer if IS_KERAS3 else keras.mixed_precision.LossScaleOptimizer
    for name in ("Adam", "Nadam", "Adafactor"):
        if hasattr(MODULE, name):
            found[f"loss_scale_{name}"] = functools.partial(wrapped, wrapper, getattr(MODULE, name))
    return found


def made(cls: Any, arguments: dict[str, Any], rate: float) -> Any:
    """An optimizer."""
    return cls(learning_rate=rate, **arguments)


def wrapped(wrapper: Any, cls: Any, rate: float) -> Any:
    """An optimizer in a LossScaleOptimizer."""
    return wrapper(cls(rate))


def model(value: float | None = None) -> Any:
    """A small model; `value` fills its weights."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    net = keras.Sequential(
        [layers.Input((3,)), layers.Dense(4, name="hidden"), layers.BatchNormalization(name="bn"), layers.Dense(1)]
    )
    if value is not None:
        net.set_weights([np.full_like(each, value) for each in net.get_weights()])
    return net


def step(net: Any, optimizer: Any, number: int) -> None:
    """One training step on the batch of this number."""
    random = np.random.default_rng(number)
    x = random.normal(size=(8, 3)).astype("float32")
    y = x.sum(axis=1, keepdims=True) + 0.1
    scaled = "LossScale" in type(optimizer).__name__
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((net(x, training=True) - y) ** 2)
        if scaled:
            loss = optimizer.scale_loss(loss) if IS_KERAS3 else optimizer.get_scaled_loss(loss)
    gradients = tape.gradient(loss, net.trainable_variables)
    if scaled and not IS_KERAS3:
        gradients = optimizer.get_unscaled_gradients(gradients)
    optimizer.apply_gradients(zip(gradients, net.trainable_variables, strict=True))


def build(net: Any, optimizer: Any) -> None:
    """Has the optimizer create its variables."""
    if IS_LEGACY:
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        inner.iterations  # noqa: B018 # creates the count
        inner._create_all_weights(net.trainable_variables)
    else:
        optimizer.build(net.trainable_variables)


def train() -> None:
    """Saves each case with its state, without an optimizer, and beside an optimizer of another run."""
    first, every = map(int, sys.argv[4:] or (0, 1))
    for case, create in list(cases().items())[first::every]:
        folder = os.path.join(FOLDER, case)
        os.makedirs(folder, exist_ok=True)
        net, optimizer = model(), create(RATE)
        for number in range(BEFORE):
            step(net, optimizer, number)
        tf.train.Checkpoint(model=net, optimizer=optimizer).write(os.path.join(folder, "full"))
        other = model()
        other.set_weights(net.get_weights())
        tf.train.Checkpoint(model=other, step=tf.Variable(70, dtype=tf.int64)).write(os.path.join(folder, "bare"))
        fresh = create(JUNK_RATE)
        step(other, fresh, 99)
        other.set_weights(net.get_weights())
        tf.train.Checkpoint(model=other, optimizer=fresh).write(os.path.join(folder, "fresh"))
        for number in range(BEFORE, BEFORE + AFTER):
            step(net, optimizer, number)
        np.savez(os.path.join(folder, "truth.npz"), *net.get_weights())


def resume() -> None:
    """Restores each grafted checkpoint, before and after the optimizer is built, and trains on.

    `<case>/full` is what the framework itself makes of the checkpoint that it wrote.
    """
    answers: dict[str, Any] = {}
    for case, create in cases().items():
        if not os.path.exists(os.path.join(FOLDER, case)):
            continue
        with np.load(os.path.join(FOLDER, case, "truth.npz")) as truth:
            wanted = [truth[name] for name in truth.files]
        control = resumed(os.path.join(FOLDER, case, "full"), create(JUNK_RATE), wanted, built=False)
        answers[f"{case}/full"] = control
        for index in sorted(glob.glob(os.path.join(FOLDER, case, "out*.index"))):
            # A target with an optimizer of its own differs in nothing that building it first would show.
            for built in (False, True) if "bare" in index else (False,):
                name = f"{case}/{os.path.basename(index)[:-6]}/{'built' if built else 'unbuilt'}"
                try:
                    answers[name] = resumed(index[:-6], create(JUNK_RATE), wanted, built=built)
                except Exception as error:  # noqa: BLE001 - whatever the framework says is the answer
                    answers[name] = f"{type(error).__name__}: {str(error)[:300]}"
    sys.stdout.write(json.dumps(answers) + "\n")


def resumed(prefix: str, optimizer: Any, wanted: list[Any], *, built: bool) -> float:
    """The greatest difference of any weight to the run that was never interrupted."""
    net = model(9.0)
    if built:
        build(net, optimizer)
    steps = tf.Variable(0, dtype=tf.int64)
    status = tf.train.Checkpoint(model=net, optimizer=optimizer, step=steps).read(prefix)
    for number in range(BEFORE, BEFORE + AFTER):
        step(net, optimizer, number)
    if "bare" in prefix:
        assert int(steps) == 70
        status.assert_consumed()
    return max(float(np.abs(a - b).max()) for a, b in zip(net.get_weights(), wanted, strict=True))


if __name__ == "__main__":
    {"train": train, "resume": resume}[COMMAND]()
