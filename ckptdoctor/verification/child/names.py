"""Name-based TensorFlow 1 checkpoints: `tf.compat.v1.train.Saver().restore(session, prefix)` into a rebuilt graph.

The graph has the checkpoint's model variables by name, and the real `tf.compat.v1.train` optimizer, whose slots get
their names from TensorFlow itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptdoctor.verification.child import snapshot
from ckptdoctor.verification.child.attempts import Attempt

CALL = "tf.compat.v1.train.Saver().restore(session, prefix)"
AVERAGE = "ExponentialMovingAverage"


def attempts(framework: Any, request: dict[str, Any]) -> Iterator[Attempt]:
    """The saver by TensorFlow's own names; then by the checkpoint's, where the training graph named them otherwise."""
    yield Attempt("saver", CALL, lambda: _restored(framework, request, own_names=True))
    yield Attempt(
        "saver-mapped",
        "tf.compat.v1.train.Saver({key: variable, ...}).restore(session, prefix)",
        lambda: _restored(framework, request, own_names=False),
    )


def optimizer(tf: Any, wanted: dict[str, Any]) -> Any:
    """A `tf.compat.v1.train` optimizer of the wanted class.

    Raises:
        ValueError: There is none.
    """
    train = tf.compat.v1.train
    cls = getattr(train, str(wanted["tf1_class"]), None)
    if cls is None:
        raise ValueError(f"tf.compat.v1.train has no {wanted['tf1_class']}, which keeps such slots")
    arguments = dict(wanted["tf1_arguments"], learning_rate=0.5)
    if wanted["op_name"]:
        arguments["name"] = wanted["op_name"]
    return cls(**arguments)


def _restored(framework: Any, request: dict[str, Any], *, own_names: bool) -> list[dict[str, Any]]:
    tf = framework.tensorflow
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        keyed: dict[str, Any] = {}
        made = [_built(tf, wanted, keyed) for wanted in request["optimizers"]]
        step = None
        if request["step"] is not None:
            kind = tf.as_dtype(request["step"]["dtype"])
            step = v1.get_variable(request["step"]["key"], shape=[], dtype=kind, initializer=v1.zeros_initializer())
            keyed[request["step"]["key"]] = step
        session.run(v1.global_variables_initializer())
        variables = None if own_names else _by_key(request, made, keyed)
        v1.train.Saver(variables).restore(session, request["path"])
        store = snapshot.Store(request)
        count = None if step is None else int(session.run(step))
        return [_take(each, session, store, count) for each in made]


def _built(tf: Any, wanted: dict[str, Any], keyed: dict[str, Any]) -> dict[str, Any]:
    """The variables of one optimizer, and its slots as `apply_gradients` creates them."""
    v1 = tf.compat.v1
    trained = []
    for each in wanted["trained"]:
        if each["path"] not in keyed:
            keyed[each["path"]] = v1.get_variable(
                each["path"], shape=each["shape"], dtype=tf.as_dtype(each["dtype"]), initializer=v1.zeros_initializer()
            )
        trained.append(keyed[each["path"]])
    made = optimizer(tf, wanted)
    gradients = [(v1.zeros_like(each), each) for each in trained]
    if wanted["scope"]:
        with v1.variable_scope(wanted["scope"]):
            made.apply_gradients(gradients)
    else:
        made.apply_gradients(gradients)
    averages = None
    if wanted["averaged"]:
        averages = v1.train.ExponentialMovingAverage(0.9)
        averages.apply(trained)
    return {"optimizer": made, "trained": trained, "averages": averages}


def _by_key(request: dict[str, Any], made: list[dict[str, Any]], keyed: dict[str, Any]) -> dict[str, Any]:
    """Every variable under the key that the checkpoint has for it."""
    variables = dict(keyed)
    for index, wanted in enumerate(request["optimizers"]):
        for name, position, key in wanted["slot_keys"]:
            slot = _slot(made[index], made[index]["trained"][position], name)
            if slot is not None:
                variables[key] = slot
    return variables


def _slot(made: dict[str, Any], variable: Any, name: str) -> Any:
    """A slot of the optimizer, or the moving average beside it; None if there is none."""
    if name == AVERAGE:
        return made["averages"].average(variable) if made["averages"] is not None else None
    return made["optimizer"].get_slot(variable, name)


def _take(made: dict[str, Any], session: Any, store: snapshot.Store, count: int | None) -> dict[str, Any]:
    found = []
    for name in (*made["optimizer"].get_slot_names(), AVERAGE):
        for index, variable in enumerate(made["trained"]):
            slot = _slot(made, variable, name)
            if slot is not None:
                found.append(dict(store.describe(session.run(slot)), name=name, variable=index))
    return {
        "class_name": type(made["optimizer"]).__name__,
        "generation": "tf1",
        "iterations": count,
        "learning_rate": None,
        "variables": [{"path": each.op.name, "shape": [int(size) for size in each.shape]} for each in made["trained"]],
        "slots": found,
        "given": True,
    }
