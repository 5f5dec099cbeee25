"""Trains, saves and resumes a program of JAX with an Orbax of years ago, for test_old_frameworks.py.

    python graft_orbax_old.py train FOLDER
    python graft_orbax_old.py resume FOLDER

Each chain has a folder: `donor` with its state, `target` without, `fresh` with that of a chain that has not begun;
`into-target` and `into-fresh` are resumed, and `fresh` as it is.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp

MODE, FOLDER = sys.argv[1], Path(sys.argv[2])
BEFORE, AFTER = 7, 5
CHAINS = {
    "adam": optax.adam(optax.exponential_decay(0.05, 4, 0.5)),
    "clipped": optax.chain(optax.clip(1.0), optax.adamw(0.05)),
    "momentum": optax.sgd(0.05, momentum=0.9),
}


def parameters() -> Any:
    """Two dense layers, the same every time."""
    generator = np.random.default_rng(0)
    return {
        "Dense_0": {"kernel": jnp.asarray(generator.normal(size=(3, 4)), jnp.float32), "bias": jnp.zeros(4)},
        "Dense_1": {"kernel": jnp.asarray(generator.normal(size=(4, 2)), jnp.float32), "bias": jnp.zeros(2)},
    }


def loss(params: Any, x: Any, y: Any) -> Any:
    """The mean square of what is missing."""
    hidden = jnp.tanh(x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
    return ((hidden @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"] - y) ** 2).mean()


def train(chain: Any, params: Any, state: Any, first: int, count: int) -> tuple[Any, Any]:
    """Some steps, each on a batch of its own."""
    for step in range(first, first + count):
        generator = np.random.default_rng(100 + step)
        gradients = jax.grad(loss)(params, generator.normal(size=(8, 3)), generator.normal(size=(8, 2)))
        updates, state = chain.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


saver = ocp.PyTreeCheckpointer()
answers: dict[str, float] = {}
for name, chain in CHAINS.items():
    here = FOLDER / name
    if MODE == "train":
        params = parameters()
        params, state = train(chain, params, chain.init(params), 0, BEFORE)
        saver.save(here / "donor", {"params": params, "opt_state": state, "step": BEFORE})
        saver.save(here / "target", {"params": params})
        saver.save(here / "fresh", {"params": params, "opt_state": chain.init(params), "step": 0})
        params, state = train(chain, params, state, BEFORE, AFTER)
        np.savez(here / "end.npz", *jax.tree_util.tree_leaves(params))
        continue
    like = {"params": parameters(), "opt_state": chain.init(parameters()), "step": 0}
    end = [*np.load(here / "end.npz").values()]
    for each in ("into-target", "into-fresh", "fresh"):
        found = jax.tree_util.tree_map(jnp.asarray, saver.restore(here / each, item=like))
        params, state = train(chain, found["params"], found["opt_state"], BEFORE, AFTER)
        leaves = jax.tree_util.tree_leaves(params)
        away = max(float(np.abs(one - np.asarray(other)).max()) for one, other in zip(end, leaves, strict=True))
        answers[f"{name}/{each}"] = away
sys.stdout.write(json.dumps(answers) + "\n")
