"""What an optimizer of the framework holds: its count, its rate, and a digest of each slot, with its variable."""

from __future__ import annotations

import os
from hashlib import sha256
from importlib import import_module
from typing import Any

_NOT_SLOTS = frozenset({"_variables", "_trainable_variables", "_trainable_variables_indices", "_tracked"})
_PLAIN = frozenset({"float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"})


class Store:
    """Where arrays go that are not what the artifact holds, for the parent to compare.

    Attributes:
        folder: The request's folder.
        known: Digests of what the artifact holds: such arrays need not travel.
        kinds: What the first optimizer's slots are called, in the order of its list.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self.folder = request["folder"]
        self.known = {digest for each in request["expected"] for digest in each["slots"]}
        self.kinds: list[str] = next((each.get("kinds", []) for each in request["expected"]), [])
        self._count = len(os.listdir(self.folder))

    def describe(self, value: Any) -> dict[str, Any]:
        """An array as its shape, type and digest; a file with it if it is neither known nor constant."""
        import numpy as np

        array = to_numpy(value)
        found: dict[str, Any] = {
            "shape": list(array.shape),
            "dtype": array.dtype.name,
            "sha256": digest(array),
            "constant": None,
            "file": None,
        }
        if found["sha256"] in self.known or not array.size:
            return found
        wide = array if array.dtype.name in _PLAIN else array.astype(np.float32)
        if bool((wide == wide.flat[0]).all()):
            found["constant"] = float(wide.flat[0])
            return found
        self.keep(found, wide)
        return found

    def keep(self, found: dict[str, Any], array: Any) -> None:
        """Writes an array to a file that its description names."""
        import numpy as np

        self._count += 1
        found["file"] = f"{self._count}.npy"
        np.save(os.path.join(self.folder, found["file"]), array, allow_pickle=False)


def digest(array: Any) -> str:
    """The SHA-256 of an array's type, shape and elements."""
    import numpy as np

    head = f"{array.dtype.name}{list(array.shape)}".encode()
    return sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def to_numpy(value: Any) -> Any:
    """A framework's variable as a numpy array."""
    import numpy as np

    if hasattr(value, "numpy"):
        try:
            return np.asarray(value.numpy())
        except Exception:  # noqa: BLE001 - Torch refuses types and devices that Keras knows to convert
            return _through_keras(value)
    return _through_keras(value) if hasattr(value, "assign") else np.asarray(value)


def _through_keras(value: Any) -> Any:
    for name in ("keras", "tensorflow.keras"):
        try:
            keras = import_module(name)
        except ImportError:
            continue
        if hasattr(keras, "ops"):
            return keras.ops.convert_to_numpy(value)
        return keras.backend.get_value(value)
    raise TypeError(f"{type(value).__name__} has no value")


def innermost(optimizer: Any) -> Any:
    """The optimizer inside a LossScaleOptimizer."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def take(optimizer: Any, trained: Any, store: Store, **more: Any) -> dict[str, Any]:
    """Everything that one Keras optimizer holds.

    Args:
        optimizer: Of any generation.
        trained: The variables that it trains, in its order.
        store: Where arrays go.
        **more: Kept in the answer as it is.
    """
    inner = innermost(optimizer)
    trained = list(trained)
    legacy = hasattr(inner, "get_slot_names")
    kind = generation(inner)
    if legacy:
        slots = linked(inner, trained, store)
    else:
        slots = _in_order(inner, trained, store) if kind == "keras1" else _listed(inner, store)
    return dict(
        more,
        class_name=type(inner).__name__,
        generation=kind,
        # As stored: with gradient accumulation, Keras 3 reports another number.
        iterations=_whole(inner.iterations if legacy or kind == "keras1" else getattr(inner, "_iterations", None)),
        learning_rate=rate(inner),
        variables=[
            {"path": str(getattr(each, "path", None) or each.name), "shape": [int(size) for size in each.shape]}
            for each in trained
        ],
        slots=slots,
    )


def generation(optimizer: Any) -> str:
    """Which implementation an optimizer is, as ckptdoctor names them."""
    if hasattr(optimizer, "get_slot_names"):
        return "optimizer-v2"
    if hasattr(optimizer, "get_updates") and not hasattr(optimizer, "build"):
        return "keras1"
    modules = [each.__module__ for each in type(optimizer).__mro__]
    return "keras3" if any(name.startswith("keras.src.optimizers.base_optimizer") for name in modules) else "keras2"


def rate(optimizer: Any) -> float | None:
    """The learning rate in force at the next step, before any decay."""
    value = getattr(optimizer, "_learning_rate", None)
    if value is None and hasattr(optimizer, "_hyper"):
        value = optimizer._hyper.get("learning_rate")  # noqa: SLF001
    if value is None:
        value = getattr(optimizer, "learning_rate", getattr(optimizer, "lr", None))
    if callable(value) and not hasattr(value, "assign"):
        value = value(optimizer.iterations)
    return None if value is None else float(to_numpy(value))


def _whole(value: Any) -> int | None:
    return None if value is None else int(to_numpy(value))


def linked(optimizer: Any, trained: list[Any], store: Store) -> list[dict[str, Any]]:
    """The slots of OptimizerV2, which it keeps by variable and name."""
    names = optimizer.get_slot_names()
    found = []
    for index, variable in enumerate(trained):
        for name in names:
            try:
                value = optimizer.get_slot(variable, name)
            except (KeyError, AttributeError):
                continue
            if value is not None:
                found.append(dict(store.describe(value), name=name, variable=index))
    return found


def _in_order(optimizer: Any, trained: list[Any], store: Store) -> list[dict[str, Any]]:
    """The slots of standalone Keras: a list of them, one kind after the other, scalars before them."""
    values = [each for each in optimizer.weights if len(each.shape)]
    found = []
    for number, value in enumerate(values):
        kind, index = divmod(number, len(trained))
        if kind < len(store.kinds):
            found.append(dict(store.describe(value), name=store.kinds[kind], variable=index))
    return found


def _listed(optimizer: Any, store: Store) -> list[dict[str, Any]]:
    """The slots of later optimizers: attributes that are lists, with the i-th item for the i-th variable."""
    found = []
    for attribute, value in sorted(vars(optimizer).items()):
        if attribute in _NOT_SLOTS or not isinstance(value, (list, tuple)):
            continue
        for index, item in enumerate(value):
            if hasattr(item, "assign") and hasattr(item, "shape"):
                found.append(dict(store.describe(item), attribute=attribute, variable=index))
    return found
