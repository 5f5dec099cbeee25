"""Trains a little with optax and saves with Orbax and flax.

python with_jax.py FOLDER
"""

from __future__ import annotations

import os
import sys
from typing import Any

import jax
import jax.numpy as jnp
import optax


def tree(steps: int = 0) -> Any:
    """What the program saves, trained for some steps."""
    params = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros(2)}}
    chain = optax.adam(0.1)
    state = chain.init(params)

    def loss(values: Any) -> Any:
        return ((jnp.ones((1, 3)) @ values["dense"]["kernel"] + values["dense"]["bias"]) ** 2).sum()

    for _ in range(steps):
        updates, state = chain.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    return {"params": params, "opt_state": state, "step": steps}


def main() -> None:
    """Saves it in three ways."""
    import orbax.checkpoint as ocp
    from flax import serialization

    folder = os.path.abspath(sys.argv[1])
    trained = tree(5)
    with ocp.CheckpointManager(os.path.join(folder, "orbax")) as manager:
        manager.save(5, args=ocp.args.StandardSave(trained))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(os.path.join(folder, "alone"), trained)
    with open(os.path.join(folder, "state.msgpack"), "wb") as file:
        file.write(serialization.to_bytes(trained))


if __name__ == "__main__":
    main()
