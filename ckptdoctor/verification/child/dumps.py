"""Dumps of an optimizer's variables: `optimizer.set_weights(values)` on an optimizer built over the same shapes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from ckptdoctor.verification.child import snapshot, standins
from ckptdoctor.verification.child.attempts import Attempt


def attempts(framework: Any, request: dict[str, Any]) -> Iterator[Attempt]:
    """There is one way: build the optimizer, then hand it the list."""
    legacy = request["optimizers"][0]["legacy"]
    call = (
        "optimizer.set_weights(values)"
        if legacy
        else "optimizer.build(variables), then each of optimizer.variables assigned in order"
    )
    yield Attempt("dump", call, lambda: _assigned(framework, request))


def _assigned(framework: Any, request: dict[str, Any]) -> list[dict[str, Any]]:
    import numpy as np

    wanted = request["optimizers"][0]
    optimizer = standins.optimizer(framework, wanted)
    trained = standins.variables(framework, wanted["trained"])
    standins.build(optimizer, trained)
    values = [np.load(os.path.join(request["folder"], name), allow_pickle=False) for name in request["values"]]
    if wanted["legacy"]:
        optimizer.set_weights(values)
    else:
        held = optimizer.variables() if callable(optimizer.variables) else optimizer.variables
        if len(held) != len(values):
            raise ValueError(f"the optimizer has {len(held)} variables, the dump {len(values)}")
        for index, variable in enumerate(held):
            variable.assign(values[index])
    store = snapshot.Store(request)
    return [snapshot.take(optimizer, trained, store, initial_rate=standins.RATE, given=True)]
