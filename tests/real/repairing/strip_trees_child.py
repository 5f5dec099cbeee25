"""Saves with Keras' OrbaxCheckpoint, Orbax and flax, and loads what `strip` left; in a process of its own.

    python strip_trees_child.py make FOLDER
    python strip_trees_child.py load FOLDER

Prints a JSON object: how far each is off.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["JAX_PLATFORMS"] = "cpu"

import flax.serialization
import jax.numpy as jnp
import keras
import numpy as np
import optax
import orbax.checkpoint as ocp

MODE, FOLDER = sys.argv[1], Path(sys.argv[2]).resolve()
X = np.linspace(-1.0, 1.0, 12, dtype="float32").reshape(4, 3)
PARAMETERS = {"a": {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3)}}


def model() -> Any:
    """Two layers, functional."""
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(2, name="out")(keras.layers.Dense(4, name="hidden")(inputs)))


def off(made: Any) -> float:
    """How far a model's weights are from those that were saved."""
    wanted = np.load(FOLDER / "weights.npz").values()
    return float(max(abs(one - other).max() for one, other in zip(made.get_weights(), wanted, strict=True)))


def make() -> dict[str, float]:
    """Saves."""
    made = model()
    made.compile(keras.optimizers.Adam(0.01), loss="mse")
    callback = keras.callbacks.OrbaxCheckpoint(str(FOLDER / "keras"), save_on_background=False)
    made.fit(X, X[:, :2], epochs=2, verbose=0, callbacks=[callback])
    np.savez(FOLDER / "weights.npz", *made.get_weights())
    chain = optax.adamw(0.01)
    state = {"params": PARAMETERS, "opt_state": chain.init(PARAMETERS), "step": 7}
    for name, ocdbt in (("database", True), ("directories", False)):
        handler = ocp.PyTreeCheckpointHandler(use_ocdbt=ocdbt)
        ocp.Checkpointer(handler).save(FOLDER / name, state)
    (FOLDER / "state.msgpack").write_bytes(flax.serialization.to_bytes(state))
    return {}


def load() -> dict[str, float]:
    """Loads into what has no optimizer."""
    fresh = model()
    fresh.compile(loss="mse")
    fresh.load_weights(str(FOLDER / "keras-stripped"))
    found = {"load_weights": off(fresh), "load_model": off(keras.saving.load_model(str(FOLDER / "keras-stripped")))}
    zeros = {"params": {"a": {"w": jnp.zeros((2, 3)), "b": jnp.zeros(3)}}, "step": 0}
    for name in ("database", "directories"):
        found[name] = _same(ocp.StandardCheckpointer().restore(FOLDER / f"{name}-stripped", zeros))
    data = (FOLDER / "state-stripped.msgpack").read_bytes()
    found["flax"] = _same(flax.serialization.from_bytes(zeros, data))
    return found


def _same(state: Any) -> float:
    assert state.keys() == {"params", "step"}
    assert state["step"] == 7
    return float(max(abs(state["params"]["a"][name] - each).max() for name, each in PARAMETERS["a"].items()))


sys.stdout.write(json.dumps(make() if MODE == "make" else load()) + "\n")
