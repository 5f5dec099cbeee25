"""Trees of JAX programs: Orbax or flax restores them, into the program's own target where a script makes it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ckptdoctor.verification.child import scripts, snapshot
from ckptdoctor.verification.child.attempts import Attempt


def attempts(framework: Any, request: dict[str, Any]) -> Iterator[Attempt]:
    """With a target of the program's own; without one, what the library gives as it is."""
    by_flax = framework.name == "flax"
    if request["script"] is not None:
        call = (
            "flax.serialization.from_bytes(target, data)" if by_flax else "StandardCheckpointer().restore(path, target)"
        )
        yield Attempt("chain-into-target", call, lambda: _taken(_restored(request, by_flax=by_flax), request))
        return
    call = "flax.serialization.msgpack_restore(data)" if by_flax else "PyTreeCheckpointer().restore(path)"
    yield Attempt("chain-as-it-is", call, lambda: _taken(_as_it_is(request, by_flax=by_flax), request))


def _restored(request: dict[str, Any], *, by_flax: bool) -> Any:
    target = scripts.built(request["script"])
    if by_flax:
        with open(request["path"], "rb") as file:
            return import_module("flax.serialization").from_bytes(target, file.read())
    return import_module("orbax.checkpoint").StandardCheckpointer().restore(request["item"], target)


def _as_it_is(request: dict[str, Any], *, by_flax: bool) -> Any:
    if by_flax:
        with open(request["path"], "rb") as file:
            return import_module("flax.serialization").msgpack_restore(file.read())
    return import_module("orbax.checkpoint").PyTreeCheckpointer().restore(request["item"])


def _taken(tree: Any, request: dict[str, Any]) -> list[dict[str, Any]]:
    """Each optimizer's slots and count, found by their paths in the tree."""
    utilities: Any = import_module("jax.tree_util")
    leaves = {"/".join(map(_key, path)): leaf for path, leaf in utilities.tree_leaves_with_path(tree)}
    store = snapshot.Store(request)
    found = []
    for wanted in request["optimizers"]:
        slots = [
            dict(store.describe(leaves[key]), name=kind, variable=index)
            for kind, index, key in wanted["leaves"]
            if key in leaves
        ]
        count = leaves.get(wanted["count"])
        found.append(
            {
                "class_name": wanted["class"],
                "generation": "optax",
                "iterations": None if count is None else int(snapshot.to_numpy(count).reshape(-1)[0]),
                "learning_rate": None,
                "variables": [{"path": each["path"], "shape": each["shape"]} for each in wanted["trained"]],
                "slots": slots,
                "given": True,
            }
        )
    return found


def _key(part: Any) -> str:
    """A key of a path: of a dictionary, a sequence, or a named tuple."""
    for name in ("key", "idx", "name"):
        if hasattr(part, name):
            return str(getattr(part, name))
    return str(part)
