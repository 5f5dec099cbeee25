"""`.weights.h5` and its sharded form: `model.load_weights` on a model given by --model, or on stand-ins."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ckptdoctor.verification.child import models, snapshot, standins
from ckptdoctor.verification.child.attempts import Attempt


def attempts(framework: Any, request: dict[str, Any]) -> Iterator[Attempt]:
    """On an optimizer that is not built, as after `compile`; then on one that is."""
    if request["model"] is not None:
        yield Attempt(
            "weights-load", "model.compile(optimizer), model.load_weights(path)", lambda: _loaded(framework, request)
        )
        yield Attempt(
            "weights-load-built",
            "model.compile(optimizer), model.optimizer.build(model.trainable_variables), model.load_weights(path)",
            lambda: _loaded(framework, request, built=True),
        )
        return
    yield Attempt(
        "weights-load",
        "model.load_weights(path) as a compiled model's optimizer meets it, over stand-in variables: "
        "optimizer.load_own_variables(store)",
        lambda: _stood_in(framework, request),
    )
    yield Attempt(
        "weights-load-built",
        "optimizer.build(variables), then optimizer.load_own_variables(store), as model.load_weights(path) does "
        "(over stand-in variables)",
        lambda: _stood_in(framework, request, built=True),
    )


def _loaded(framework: Any, request: dict[str, Any], *, built: bool = False) -> list[dict[str, Any]]:
    model = _model(framework, request["model"])
    model.compile(optimizer=standins.optimizer(framework, request["optimizers"][0]), loss="mse")
    if built:
        standins.build(model.optimizer, model.trainable_variables)
    model.load_weights(request["path"])
    return models.taken(model, request)


def _model(framework: Any, path: str) -> Any:
    if not path.endswith(".json"):
        return models.load(framework, path, compile=False)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with models.safe_mode(framework):
        return framework.keras.models.model_from_json(text)


def _stood_in(framework: Any, request: dict[str, Any], *, built: bool = False) -> list[dict[str, Any]]:
    wanted = request["optimizers"][0]
    optimizer = standins.optimizer(framework, wanted)
    trained = standins.variables(framework, wanted["trained"])
    if built:
        standins.build(optimizer, trained)
    optimizer.load_own_variables(_store(request["store"]))
    if not built:
        standins.build(optimizer, trained)
    store = snapshot.Store(request)
    return [snapshot.take(optimizer, trained, store, initial_rate=standins.RATE, given=True)]


def _store(places: list[list[str]]) -> dict[str, Any]:
    """The data sets of `optimizer/vars`, by their names, as Keras hands them to the optimizer."""
    h5py: Any = import_module("h5py")
    values: dict[str, Any] = {}
    for path, dataset in places:
        with h5py.File(path, "r") as file:
            found = file[dataset]
            value = found[()]
            if found.attrs.get("dtype") == "bfloat16":
                import ml_dtypes

                value = value.view(ml_dtypes.bfloat16)
        values[dataset.rpartition("/")[2]] = value
    return values
