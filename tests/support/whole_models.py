"""Whole models in the legacy HDF5 layout, from a few lines of Python: layers, lists of names, optimizer weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py as _h5py
import numpy as np

from ckptdoctor.formats.keras import hdf5 as hdf5_file
from ckptdoctor.state import TrainingState

h5py: Any = _h5py  # the stubs leave half of it out

HIDDEN = {"hidden/kernel:0": (3, 4), "hidden/bias:0": (4,)}
OUT = {"out/kernel:0": (4, 2), "out/bias:0": (2,)}
V2_ADAM = {
    "Adam/iter:0": np.int64(7),
    **{f"Adam/{name[:-2]}/{slot}:0": shape for slot in "mv" for name, shape in {**HIDDEN, **OUT}.items()},
}


def layer(name: str, class_name: str = "Dense", *, trainable: bool = True, **config: Any) -> dict[str, Any]:
    """A layer's configuration."""
    return {"class_name": class_name, "config": {"name": name, "trainable": trainable, **config}}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    """A model's configuration."""
    return {"class_name": "Sequential", "config": {"name": "m", "layers": list(layers)}}


MODEL = sequential(layer("hidden"), layer("out"))
ADAM = {"class_name": "Adam", "config": {"name": "Adam", "learning_rate": 0.01, "decay": 0.0}}


def put(group: Any, weights: Mapping[str, Any], *, listed: list[str] | None = None) -> None:
    """Writes weights, and the attribute that lists them."""
    for name, value in weights.items():
        group[name] = np.full(value, 0.5, "f4") if isinstance(value, tuple) else value
    group.attrs["weight_names"] = [name.encode() for name in (weights if listed is None else listed)]


def save(
    path: Path,
    layers: Mapping[str, Mapping[str, Any]],
    *,
    model: object = MODEL,
    optimizer: object = ADAM,
    state: Mapping[str, Any] | None = None,
    version: str = "2.10.0",
    listed: list[str] | None = None,
) -> TrainingState:
    """Writes a file as Keras does, and reads it."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        weights = file
        if model is not None:
            file.attrs["model_config"] = json.dumps(model)
            weights = file.create_group("model_weights")
        if optimizer is not None:
            file.attrs["training_config"] = json.dumps({"optimizer_config": optimizer})
        weights.attrs["layer_names"] = [name.encode() for name in layers]
        for name, each in layers.items():
            put(weights.create_group(name), each)
        if state is not None:
            put(file.create_group("optimizer_weights"), state, listed=listed)
    return hdf5_file.read(str(path))
