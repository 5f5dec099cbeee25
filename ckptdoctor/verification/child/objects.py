"""Object-based TensorFlow checkpoints: `tf.train.Checkpoint(...).restore(prefix)` into objects of the same graph.

The checkpoint holds no Python class of the model: its objects are rebuilt as plain trackables, with variables of the
stored shapes under the graph's own names and real optimizers in their places.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptdoctor.verification.child import names, snapshot, standins
from ckptdoctor.verification.child.attempts import Attempt

CALL = "tf.train.Checkpoint(...).restore(prefix)"


def attempts(framework: Any, request: dict[str, Any]) -> Iterator[Attempt]:
    """Restored before the optimizer is built, as a script does before its first step; then after."""
    yield Attempt("checkpoint", CALL, lambda: restored(framework, request, built=False))
    yield Attempt(
        "checkpoint-built",
        f"optimizer.build(variables), then {CALL}",
        lambda: restored(framework, request, built=True),
    )


def restored(framework: Any, request: dict[str, Any], *, built: bool) -> list[dict[str, Any]]:
    """Rebuilds the objects, restores, and lets the optimizers create what they have not created yet."""
    tf = framework.tensorflow
    if tf is None or (framework.is_keras3 and framework.keras.backend.backend() != "tensorflow"):
        raise ValueError("tf.train.Checkpoint restores into Keras on TensorFlow only")
    objects = _objects(framework, request["graph"])
    made = []
    for wanted in request["optimizers"]:
        optimizer = _optimizer(framework, wanted)
        trained = [
            objects[each["node"]]
            if each["node"] is not None
            else standins.variable(framework, each["shape"], each["dtype"], each["path"])
            for each in wanted["trained"]
        ]
        if built:
            _build(optimizer, trained)
        for parent, name in wanted["attached"]:
            _attach(objects[parent], name, optimizer)
        made.append((optimizer, trained))
    status = objects[0].restore(request["path"])
    for optimizer, trained in made:
        if not built:
            _build(optimizer, trained)
    store = snapshot.Store(request)
    taken = [_take(optimizer, trained, store) for optimizer, trained in made]
    if hasattr(status, "expect_partial"):
        status.expect_partial()  # what is not rebuilt (metrics, tables) need not be told
    return taken


def _objects(framework: Any, graph: dict[str, Any]) -> list[Any]:
    """One object a node, linked under the graph's names."""
    tf = framework.tensorflow
    objects: list[Any] = []
    for node in graph["nodes"]:
        if node["dtype"] is None:
            objects.append(tf.train.Checkpoint())
        else:
            objects.append(standins.variable(framework, node["shape"], node["dtype"], node["name"]))
    for index, node in enumerate(graph["nodes"]):
        if node["dtype"] is None:
            for name, child in node["children"]:
                if not (index == 0 and name == "save_counter"):  # restore() makes its own
                    _attach(objects[index], name, objects[child])
    return objects


def _attach(parent: Any, name: str, child: Any) -> None:
    # Attributes would do, but that a graph's names may be any text: `layer-1`, `0`, `save`.
    tracked = child if hasattr(child, "_track_trackable") else getattr(child, "_value", child)
    parent._track_trackable(tracked, name=name, overwrite=True)  # noqa: SLF001


def _optimizer(framework: Any, wanted: dict[str, Any]) -> Any:
    if framework.keras is None:
        return names.optimizer(framework.tensorflow, wanted)
    return standins.optimizer(framework, wanted)


def _build(optimizer: Any, trained: list[Any]) -> None:
    if hasattr(optimizer, "_create_slots") and not hasattr(optimizer, "_create_all_weights"):
        optimizer._create_slots(trained)  # noqa: SLF001 - tf.compat.v1 optimizers have no public name for it
        return
    standins.build(optimizer, trained)


def _take(optimizer: Any, trained: list[Any], store: snapshot.Store) -> dict[str, Any]:
    if hasattr(optimizer, "iterations"):
        return snapshot.take(optimizer, trained, store, initial_rate=standins.RATE, given=True)
    return {
        "class_name": type(optimizer).__name__,
        "generation": "tf1",
        "iterations": None,
        "learning_rate": None,
        "variables": [{"path": each.name, "shape": [int(size) for size in each.shape]} for each in trained],
        "slots": snapshot.linked(optimizer, trained, store),
        "given": True,
    }
