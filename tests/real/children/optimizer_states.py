"""Builds every optimizer of one framework, in every configuration, and prints what state each one keeps, as JSON.

Run by test_catalogue_real.py in a process of its own, since tf_keras and Keras 3 are better not imported together:

    python optimizer_states.py keras|tf_keras|tf_keras.legacy [N]

Of every two options together only each Nth pair is tried.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

FRAMEWORK = sys.argv[1]
PAIRS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
keras = importlib.import_module(FRAMEWORK.partition(".")[0])
IS_LEGACY = FRAMEWORK.endswith(".legacy")
IS_KERAS3 = FRAMEWORK == "keras"
MODULE = keras.optimizers.legacy if IS_LEGACY else keras.optimizers

OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("amsgrad", {"amsgrad": True}),
    ("momentum", {"momentum": 0.9}),
    ("nesterov", {"momentum": 0.9, "nesterov": True}),
    ("centered", {"centered": True}),
    ("use_ema", {"use_ema": True}),
    ("accumulation", {"gradient_accumulation_steps": 2}),
    ("schedule", {"learning_rate": None}),
    ("weight_decay", {"weight_decay": 0.01}),
    ("clipnorm", {"clipnorm": 1.0}),
    ("exclude_layers", {"exclude_layers": ["scale", "dense_1/kernel$"]}),
    ("embeddings", {"exclude_embeddings": False}),
)


def trained_variables() -> list[Any]:
    """The variables of a model: matrices, vectors, a convolution, a rank of three, an embedding, a scalar."""
    layers = keras.layers

    class Scale(layers.Layer):  # type: ignore[misc, name-defined]
        """A layer with a single number."""

        def build(self, _shape: object) -> None:
            self.scale = self.add_weight(name="scale", shape=(), initializer="ones")

    built = (
        (layers.Embedding(6, 3, name="embedding"), (None, 2)),
        (layers.Dense(4, name="dense"), (None, 3)),
        (layers.Conv2D(5, 3, name="conv"), (None, 8, 8, 2)),
        (layers.EinsumDense("ab,bcd->acd", (2, 4), name="einsum"), (None, 3)),
        (Scale(name="scale"), (None, 3)),
        (layers.Dense(2, name="dense_1"), (None, 4)),
    )
    variables: list[Any] = []
    for layer, shape in built:
        # Keras 2 names variables by the scope that calling a layer opens.
        with importlib.import_module("tensorflow").name_scope(layer.name):
            layer.build(shape)
        variables += layer.trainable_variables
    return variables


def path(variable: Any) -> str:
    """A variable's path, as each framework writes it."""
    found: str = variable.path if IS_KERAS3 else variable.name.partition(":")[0]
    return found


def listed(some: Any) -> list[Any]:
    """`optimizer.variables`, a method in OptimizerV2."""
    variables = some.variables
    return list(variables() if callable(variables) else variables)


def identity(variable: Any) -> int:
    """A Keras 3 variable and the TensorFlow variable in it count as one."""
    return id(getattr(variable, "_value", variable)) if IS_KERAS3 else id(variable)


def attributes(some: Any) -> dict[str, Any]:
    """Positions in `variables` of what the optimizer keeps in an attribute: one, or a list of them."""
    places = {identity(each): index for index, each in enumerate(listed(some))}
    found: dict[str, Any] = {}
    for name, value in vars(some).items():
        if identity(value) in places:
            found[name] = places[identity(value)]
        elif isinstance(value, (list, tuple)):
            found[name] = [places.get(identity(each)) for each in value]
    return found


def configurations() -> Iterator[tuple[str, dict[str, Any]]]:
    """No option, each option, and two of them together."""
    yield "plain", {}
    yield from OPTIONS
    for (one, first), (other, second) in list(itertools.combinations(OPTIONS, 2))[::PAIRS]:
        yield f"{one}+{other}", {**first, **second}


def create(cls: Any, options: Mapping[str, Any]) -> Any | None:
    """An optimizer; None where the class does not have the option."""
    given = dict(options)
    if "learning_rate" in given:
        given["learning_rate"] = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    try:
        return cls(**given)
    except (TypeError, ValueError):
        return None


def built(some: Any, variables: list[Any]) -> Any:
    """Has the optimizer create its state."""
    if IS_LEGACY:
        some.iterations  # noqa: B018 # creates the count, as the first step does
        some._create_all_weights(variables)
    else:
        some.build(variables)
    return some


def serialized(some: Any) -> Any:
    """The optimizer's configuration, as it stands in files."""
    if IS_KERAS3:
        return keras.saving.serialize_keras_object(some)
    return keras.optimizers.serialize(some)


def record(case: str, some: Any, variables: list[Any]) -> dict[str, Any]:
    """One optimizer's state."""
    return {
        "case": case,
        "config": serialized(some),
        "trained": [[path(each), list(each.shape)] for each in variables],
        "variables": [
            {"name": each.name.partition(":")[0], "shape": list(each.shape), "dtype": str(each.dtype)}
            for each in listed(some)
        ],
        "attributes": attributes(some),
        # What an object graph names below the optimizer, as saving it asks for it.
        "children": list(some._trackable_children()),
    }


def records(classes: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every class in every configuration that it has; then wrappers."""
    for name, cls in classes.items():
        for option, options in configurations():
            some = create(cls, options)
            if some is not None:
                variables = trained_variables()
                yield record(f"{name}-{option}", built(some, variables), variables)
        if name not in {"LossScaleOptimizer", "MultiOptimizer", "Optimizer"}:
            wrapper = keras.optimizers if IS_KERAS3 else keras.mixed_precision
            variables = trained_variables()
            some = wrapper.LossScaleOptimizer(cls())
            inner = some.inner_optimizer
            built(inner if IS_LEGACY else some, variables)
            yield record(f"LossScaleOptimizer-{name}", some, variables)


def main() -> None:
    """Prints one JSON document."""
    exported = {name: each for name, each in vars(MODULE).items() if isinstance(each, type)}
    known = {
        name: each
        for name, each in exported.items()
        if name not in {"Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap"}
    }
    document = {
        "version": getattr(keras, "__version__", None),
        "exported": sorted(exported),
        "records": list(records(known)),
    }
    json.dump(document, sys.stdout, default=float)


if __name__ == "__main__":
    main()
