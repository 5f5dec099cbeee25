"""Trains, saves and resumes with tensorflow_addons and tfmot, for test_declared_real.py; run in a process of its own.

python declared_child.py make FOLDER
python declared_child.py resume FOLDER < jobs
python declared_child.py catalogue FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
import tensorflow_model_optimization as tfmot

MODE, FOLDER = sys.argv[1], Path(sys.argv[2])
BEFORE, AFTER = 7, 5
keras: Any = tf.keras
some: Any = tfa.optimizers
CASES: dict[str, Any] = {
    "AdaBelief": lambda: some.AdaBelief(0.02, amsgrad=True),
    "AdamW": lambda: some.AdamW(0.001, 0.02),
    "COCOB": some.COCOB,
    "ConditionalGradient": lambda: some.ConditionalGradient(0.02, lambda_=1.0),
    "LAMB": lambda: some.LAMB(0.02),
    "LazyAdam": lambda: some.LazyAdam(0.02),
    "NovoGrad": lambda: some.NovoGrad(0.02, grad_averaging=True, weight_decay=0.01),
    "NovoGrad amsgrad": lambda: some.NovoGrad(0.02, amsgrad=True),
    "ProximalAdagrad": lambda: some.ProximalAdagrad(0.05, l1_regularization_strength=0.001),
    "RectifiedAdam": lambda: some.RectifiedAdam(0.02, total_steps=20),
    "SGDW": lambda: some.SGDW(0.001, 0.05, momentum=0.9),
    "Yogi": lambda: some.Yogi(0.02, beta1=0.8),
    "Yogi beta1": lambda: some.Yogi(0.02, beta1=0.0),
    "Lookahead": lambda: some.Lookahead(keras.optimizers.Adam(0.02), sync_period=4),
    "Lookahead Yogi": lambda: some.Lookahead(some.Yogi(0.02), sync_period=4),
    "MovingAverage": lambda: some.MovingAverage(keras.optimizers.Adam(0.02)),
    "SWA": lambda: some.SWA(keras.optimizers.SGD(0.05, momentum=0.9), average_period=2),
    "pruned": lambda: keras.optimizers.Adam(0.02),
    "quantized": lambda: keras.optimizers.Adam(0.02),
}


def net(case: str) -> Any:
    """A small model, the same weights every time; its kernels are of one shape, so that a permutation shows."""
    inputs = keras.Input((4,), name="x")
    hidden = keras.layers.Dense(4, activation="tanh", name="hidden")(inputs)
    built = keras.Model(inputs, keras.layers.Dense(4, name="out")(hidden), name="net")
    generator = np.random.default_rng(1)
    built.set_weights([generator.normal(0.2, 0.4, each.shape).astype("float32") for each in built.get_weights()])
    if case == "pruned":
        return tfmot.sparsity.keras.prune_low_magnitude(built)
    return tfmot.quantization.keras.quantize_model(built) if case == "quantized" else built


def train(built: Any, first: int, count: int) -> None:
    """Trains some steps, each on a batch of its own."""
    for step in range(first, first + count):
        generator = np.random.default_rng(100 + step)
        x, y = generator.normal(size=(8, 4)), generator.normal(size=(8, 4))
        if any("pruning_step" in each.name for each in built.weights):
            for each in built.layers:
                if hasattr(each, "pruning_step"):
                    each.pruning_step.assign(step)
        built.train_on_batch(x.astype("float32"), y.astype("float32"))


def compiled(case: str) -> Any:
    """A model with a new optimizer."""
    built = net(case)
    built.compile(CASES[case](), "mse", run_eagerly=True)
    return built


def make() -> dict[str, Any]:
    """Donors, targets without state, and the weights of uninterrupted runs and of those with a new optimizer."""
    for case in CASES:
        folder = FOLDER / case
        folder.mkdir(parents=True)
        built, bare, fresh = compiled(case), net(case), compiled(case)
        train(built, 0, BEFORE)
        for each in (bare, fresh):
            each.set_weights(built.get_weights())
        built.save(str(folder / "donor.h5"))
        bare.save(str(folder / "bare.h5"), include_optimizer=False)
        fresh.save(str(folder / "fresh.h5"))
        tf.train.Checkpoint(model=built, optimizer=built.optimizer).write(str(folder / "donor"))
        tf.train.Checkpoint(model=bare).write(str(folder / "bare"))
        for name, one in (("expected", built), ("fresh", fresh)):
            train(one, BEFORE, AFTER)
            np.savez(folder / f"{name}.npz", *one.get_weights())
    return {}


def resume(jobs: list[list[str]]) -> dict[str, Any]:
    """Loads results by the framework's public calls, and trains on."""
    found = {}
    for key, case, path in jobs:
        if path.endswith(".h5"):
            with tfmot.quantization.keras.quantize_scope(), tfmot.sparsity.keras.prune_scope():
                built = keras.models.load_model(path)
            built.compile(built.optimizer, "mse", run_eagerly=True)
        else:
            built = compiled(case)
            # Before it is read: what is restored while it is made must be float32, and NovoGrad keeps a bool.
            built.optimizer._create_all_weights(built.trainable_variables)
            checkpoint = tf.train.Checkpoint(model=built, optimizer=built.optimizer)
            checkpoint.read(path).assert_existing_objects_matched()
        count, class_name = int(built.optimizer.iterations), type(built.optimizer).__name__
        try:
            train(built, BEFORE, AFTER)
        except tf.errors.InvalidArgumentError as error:
            found[key] = {"count": count, "class": class_name, "away": str(error)}
            continue
        expected = np.load(FOLDER / case / "expected.npz")
        away = max(
            float(np.abs(a - expected[b]).max()) for a, b in zip(built.get_weights(), expected.files, strict=True)
        )
        found[key] = {"count": count, "class": class_name, "away": away}
    for case in CASES:
        expected, fresh = (np.load(FOLDER / case / f"{name}.npz") for name in ("expected", "fresh"))
        found[f"{case} fresh"] = {"away": max(float(np.abs(expected[b] - fresh[b]).max()) for b in expected.files)}
    return found


def describe() -> dict[str, Any]:
    """What each class holds and is configured with, for the declarations to be held against."""
    found = {}
    for case in list(CASES)[:-2]:
        built = compiled(case)
        train(built, 0, 1)
        outer = built.optimizer
        inner = getattr(outer, "_optimizer", None)
        found[case] = {
            "class": type(outer).__name__,
            "weights": [[each.name, each.shape.as_list()] for each in outer.weights],
            "hypers": sorted(outer._hyper),
            "config": outer.get_config(),
            "inner": type(inner).__name__ if inner is not None else None,
        }
    return found


if __name__ == "__main__":
    given = json.load(sys.stdin) if MODE == "resume" else None
    answer = make() if MODE == "make" else resume(given) if given is not None else describe()
    sys.stdout.write(json.dumps(answer, default=float) + "\n")
