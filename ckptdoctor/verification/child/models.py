"""Whole models: `.keras`, `.h5` and SavedModels, loaded by `load_model` with its defaults (safe mode on)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from ckptdoctor.verification.child import objects, snapshot, standins
from ckptdoctor.verification.child.attempts import Attempt, describe


def attempts(framework: Any, request: dict[str, Any]) -> Iterator[Attempt]:
    """`load_model`; then what restores the state where that does not."""
    path, kind = request["path"], request["kind"]
    name = "keras.saving.load_model" if framework.is_keras3 else f"{framework.name}.models.load_model"
    yield Attempt(f"{kind}-load-model", f"{name}(path)", lambda: _loaded(framework, request))
    if framework.is_old:
        return
    if kind == "h5":
        yield Attempt(
            "h5-assign",
            f"{name}(path, compile=False), model.compile(optimizer), model.optimizer.build(model.trainable_variables), "
            "then each of model.optimizer.variables assigned from optimizer_weights by its name (weight_names)",
            lambda: _assigned(framework, request),
        )
    elif kind == "archive":
        yield Attempt(
            "archive-load-weights",
            f"{name}(path, compile=False), model.compile(optimizer), model.optimizer.build(model.trainable_variables), "
            "model.load_weights(path)",
            lambda: _recompiled(framework, request),
        )
    else:
        inside = os.path.join(path, "variables", "variables")
        yield Attempt(
            "saved-model-load-weights",
            f"{name}(path), model.compile(...) if it is not compiled, "
            'then model.load_weights(path + "/variables/variables")',
            lambda: _loaded(framework, request, inside),
        )
        if request.get("graph"):
            yield Attempt(
                "saved-model-checkpoint",
                'tf.train.Checkpoint(model=model, optimizer=optimizer).restore(path + "/variables/variables")',
                lambda: objects.restored(framework, dict(request, path=inside), built=False),
            )


def load(framework: Any, path: str, **options: Any) -> Any:
    """The public `load_model`; code in the model stays refused."""
    keras = framework.keras
    with safe_mode(framework):
        if framework.is_keras3:
            return keras.saving.load_model(path, **options)
        return keras.models.load_model(path, **options)


def safe_mode(framework: Any) -> Any:
    """Safe mode also for `.h5` and SavedModels, where `load_model` runs Lambda layers without asking.

    Frameworks before 2.13 have none; the parent does not ask them for models with code in them.
    """
    roots = {"keras": "keras", "tf_keras": "tf_keras", "tf.keras": "keras"}
    try:
        library = import_module(f"{roots[framework.name]}.src.saving.serialization_lib")
        return library.SafeModeScope(True)
    except (ImportError, AttributeError):
        return nullcontext()


def _loaded(framework: Any, request: dict[str, Any], weights: str | None = None) -> list[dict[str, Any]]:
    if weights is None:
        return taken(load(framework, request["path"]), request)
    try:
        model = load(framework, request["path"])
    except Exception:  # noqa: BLE001 - a loss that is the user's own, for example: then without
        model = load(framework, request["path"], compile=False)
    if type(getattr(model, "optimizer", None)).__name__ in {"NoneType", "RestoredOptimizer"}:
        # Saved without its configuration, it comes with no optimizer, or with one that cannot train.
        model.compile(optimizer=standins.optimizer(framework, request["optimizers"][0]), loss="mse")
    model.load_weights(weights)
    return taken(model, request)


def taken(model: Any, request: dict[str, Any]) -> list[dict[str, Any]]:
    """What a model's optimizer holds; nothing if it has none."""
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        return []
    trained = model.trainable_weights
    inner = snapshot.innermost(optimizer)
    # What the next step would create. Optimizers before Keras 3 create it now, or keep what they have; one of Keras 3
    # that calls itself built creates nothing any more.
    if snapshot.generation(inner) != "keras3" or not inner.built:
        standins.build(optimizer, trained)
    own = getattr(inner, "_trainable_variables", None)
    return [snapshot.take(optimizer, own or trained, snapshot.Store(request))]


def _optimizer(framework: Any, request: dict[str, Any]) -> Any:
    """The optimizer of the stored configuration."""
    config = stored_config(request)
    if config is None:
        return standins.optimizer(framework, request["optimizers"][0])
    if isinstance(config, str):  # compile(optimizer="adam")
        return framework.keras.optimizers.get(config)
    return framework.keras.optimizers.deserialize(config)


def stored_config(request: dict[str, Any]) -> Any:
    """The optimizer's configuration in an `.h5` or a `.keras`; None if there is none."""
    if request["kind"] == "h5":
        h5py: Any = import_module("h5py")
        with h5py.File(request["path"], "r") as file:
            text = file.attrs.get("training_config")
        if text is None:
            return None
        return json.loads(text.decode() if isinstance(text, bytes) else text).get("optimizer_config")
    import zipfile

    if os.path.isdir(request["path"]):
        with open(os.path.join(request["path"], "config.json"), encoding="utf-8") as file:
            config = json.load(file)
    else:
        with zipfile.ZipFile(request["path"]) as archive:
            config = json.loads(archive.read("config.json"))
    return (config.get("compile_config") or {}).get("optimizer")


def _recompiled(framework: Any, request: dict[str, Any]) -> list[dict[str, Any]]:
    model = _compiled(framework, request)
    model.load_weights(request["path"])
    return taken(model, request)


def _assigned(framework: Any, request: dict[str, Any]) -> list[dict[str, Any]]:
    h5py: Any = import_module("h5py")
    model = _compiled(framework, request)
    with h5py.File(request["path"], "r") as file:
        group = file["optimizer_weights"]
        names = [each.decode() if isinstance(each, bytes) else each for each in _attribute(group, "weight_names")]
        values = [group[name][()] for name in names]
    optimizer = model.optimizer
    held = optimizer.variables() if callable(optimizer.variables) else list(optimizer.variables)
    values = _by_name(held, names, values)
    values = _with_rate(held, values, optimizer)
    if not request["expected"][0]["slots"]:
        held = held[: len(values)]  # it was saved before its first step: no slots to assign
    if len(held) != len(values):
        raise ValueError(f"the optimizer has {len(held)} variables, the file {len(values)}")
    for index, variable in enumerate(held):
        variable.assign(values[index])
    return taken(model, request)


def _by_name(held: list[Any], names: list[str], values: list[Any]) -> list[Any]:
    """The values in the optimizer's order, if the names tell all of them apart; else as they come."""
    found = []
    for variable in held:
        own = _plain(str(getattr(variable, "path", None) or variable.name))
        # tf_keras puts the optimizer's name in front only while it trains in a graph: `Adam/m/dense/kernel`.
        fitting = [index for index, name in enumerate(names) if f"/{_plain(name)}".endswith(f"/{own}")]
        if len(fitting) != 1:
            return values
        found.append(fitting[0])
    return [values[index] for index in found] if len(set(found)) == len(values) else values


def _plain(name: str) -> str:
    return name.partition(":")[0]


def _attribute(group: Any, name: str) -> list[Any]:
    """An attribute that Keras may have cut into `name0`, `name1`, ..."""
    if name in group.attrs:
        return list(group.attrs[name])
    parts: list[Any] = []
    while f"{name}{len(parts)}" in group.attrs:
        parts.append(list(group.attrs[f"{name}{len(parts)}"]))
    return [each for part in parts for each in part]


def _with_rate(held: list[Any], values: list[Any], optimizer: Any) -> list[Any]:
    """Keras 2 files have no learning rate in their list, Keras 3's optimizers have it in second place."""
    if len(held) == len(values) + 1 and tuple(held[1].shape) == () and "learning_rate" in str(held[1].name):
        return [values[0], snapshot.rate(snapshot.innermost(optimizer)), *values[1:]]
    return values


def _compiled(framework: Any, request: dict[str, Any]) -> Any:
    model = load(framework, request["path"], compile=False)
    try:
        optimizer = _optimizer(framework, request)
    except Exception as error:
        if request["optimizers"] and request["optimizers"][0]["class"]:
            optimizer = standins.optimizer(framework, request["optimizers"][0])
        else:
            raise ValueError(f"the stored optimizer configuration is refused: {describe(error)}") from error
    if request["optimizers"][0]["wrapped"] and not hasattr(optimizer, "inner_optimizer"):
        # A mixed_float16 policy wraps optimizers on its own; the policy is not in force here.
        optimizer = standins.wrapped(framework, optimizer)
    model.compile(optimizer=optimizer, loss="mse")
    standins.build(model.optimizer, model.trainable_variables)
    return model
