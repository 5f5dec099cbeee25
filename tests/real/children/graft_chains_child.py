"""Trains, saves and resumes with optax, Orbax and flax, for trees/test_graft_chains.py; run in a process of its own.

    python graft_chains_child.py make FOLDER   < names
    python graft_chains_child.py resume FOLDER < jobs

Jobs are `[name, path]`. Each makes `FOLDER/NAME/`: donors (`donor-*`), targets with parameters alone (`target-*`), and
what an uninterrupted run ends with.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from functools import cache
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import serialization

MODE, FOLDER = sys.argv[1], Path(sys.argv[2])
BEFORE, AFTER = 7, 5


def chain(name: str) -> Any:
    """An optimizer."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.05, 3, 30)
    made = {
        "adam": lambda: optax.adam(0.02),
        "amsgrad": lambda: optax.amsgrad(0.02),
        "scheduled": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule)),
        "momentum": lambda: optax.sgd(0.05, momentum=0.9),
        "injected": lambda: optax.inject_hyperparams(optax.adam)(learning_rate=schedule),
        "accumulated": lambda: optax.MultiSteps(optax.adam(0.02), 2),
        "labelled": lambda: optax.multi_transform(
            {"a": optax.adam(0.02), "b": optax.set_to_zero()}, {"Dense_0": "a", "Dense_1": "b", "Dense_2": "a"}
        ),
        "schedule_free": lambda: optax.contrib.schedule_free_adamw(0.02),
    }
    return made[name]()


def parameters() -> Any:
    """Three layers, of which two have the same shapes."""
    generator = np.random.default_rng(1)
    shapes = {"Dense_0": (4, 4), "Dense_1": (4, 4), "Dense_2": (4, 2)}
    return {
        name: {
            "kernel": jnp.asarray(generator.normal(0.5, 0.2, shape), jnp.float32),
            "bias": jnp.zeros(shape[1:], jnp.float32),
        }
        for name, shape in shapes.items()
    }


def loss(params: Any, x: Any, y: Any) -> Any:
    """The squared error of the layers one after another."""
    for name in ("Dense_0", "Dense_1"):
        x = jnp.tanh(x @ params[name]["kernel"] + params[name]["bias"])
    return jnp.mean((x @ params["Dense_2"]["kernel"] + params["Dense_2"]["bias"] - y) ** 2)


@cache
def step_of(name: str) -> Any:
    """A step of training by an optimizer, compiled once: compiling each of its operations takes longer."""
    some = chain(name)

    def step(params: Any, state: Any, x: Any, y: Any) -> tuple[Any, Any]:
        updates, state = some.update(jax.grad(loss)(params, x, y), state, params)
        return optax.apply_updates(params, updates), state

    return jax.jit(step)


def train(name: str, params: Any, state: Any, first: int, count: int) -> tuple[Any, Any]:
    """Trains some steps, each on a batch of its own."""
    for step in range(first, first + count):
        generator = np.random.default_rng(100 + step)
        x, y = generator.normal(size=(8, 4)).astype("float32"), generator.normal(size=(8, 2)).astype("float32")
        params, state = step_of(name)(params, state, x, y)
    return params, state


def tree(params: Any, state: Any, step: int) -> dict[str, Any]:
    """What the program saves."""
    return {"params": params, "opt_state": state, "step": jnp.asarray(step, jnp.int32)}


def handlers() -> dict[str, Any]:
    """Orbax in each of its layouts."""
    return {
        "ocdbt": {"use_ocdbt": True},
        "directories": {"use_ocdbt": False},
        "zarr3": {"use_ocdbt": True, "use_zarr3": True},
    }


def make(names: list[str]) -> list[float]:
    """Donors, targets and the ends of uninterrupted runs; answers how far one with a fresh state is away."""
    off = []
    for name in names:
        folder = FOLDER / name
        folder.mkdir(parents=True)
        some, params = chain(name), parameters()
        params, state = train(name, params, some.init(params), 0, BEFORE)
        whole, bare = tree(params, state, BEFORE), {"params": params}
        fresh = tree(params, some.init(params), 0)
        for layout, options in handlers().items():
            for what, value in (("donor", whole), ("target", bare), ("fresh", fresh)):
                handler = ocp.PyTreeCheckpointHandler(**options)
                ocp.Checkpointer(handler).save(folder / f"{what}-{layout}", value)
        for what, value in (("donor", whole), ("target", bare), ("fresh", fresh)):
            (folder / f"{what}.msgpack").write_bytes(serialization.to_bytes(value))
        host = jax.tree_util.tree_map(np.asarray, whole)
        (folder / "donor.pkl").write_bytes(pickle.dumps(host))
        ended = train(name, params, state, BEFORE, AFTER)
        (folder / "expected.pkl").write_bytes(pickle.dumps(jax.tree_util.tree_map(np.asarray, ended)))
        off.append(distance(ended, train(name, params, some.init(params), BEFORE, AFTER)))
    return off


def distance(one: Any, other: Any) -> float:
    """The largest difference of two trees, which must have the same structure."""
    pairs = jax.tree_util.tree_map(
        lambda a, b: float(np.abs(np.asarray(a, "f8") - np.asarray(b, "f8")).max(initial=0)), one, other
    )
    return max(float(each) for each in jax.tree_util.tree_leaves(pairs))


def resume(jobs: list[tuple[str, str]]) -> list[Any]:
    """Restores into the program's own target and trains on: how far from uninterrupted, and every count on the way."""
    found = []
    for name, path in jobs:
        some = chain(name)
        params = parameters()
        target = tree(params, some.init(params), 0)
        if path.endswith(".msgpack"):
            restored = serialization.from_bytes(target, Path(path).read_bytes())
        else:
            restored = ocp.StandardCheckpointer().restore(path, target)
        restored = jax.tree_util.tree_map(jnp.asarray, restored)
        step = int(restored["step"])
        ended = train(name, restored["params"], restored["opt_state"], BEFORE, AFTER)
        expected = pickle.loads((FOLDER / name / "expected.pkl").read_bytes())
        leaves = jax.tree_util.tree_leaves_with_path(restored["opt_state"])
        counts = {
            jax.tree_util.keystr(key): int(leaf) for key, leaf in leaves if leaf.shape == () and leaf.dtype == "int32"
        }
        found.append([distance(expected, ended), step, counts])
    return found


GIVEN = json.load(sys.stdin)
sys.stdout.write(json.dumps(make(GIVEN) if MODE == "make" else resume(GIVEN)))
