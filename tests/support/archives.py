"""`.keras` archives and `.weights.h5` from a few lines of Python: groups of variables, and configurations."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py as _h5py
import numpy as np

from ckptdoctor.formats.keras import archive as keras_archive
from ckptdoctor.state import TrainingState

h5py: Any = _h5py  # the stubs leave half of it out

Groups = dict[str, list[Any]]

DENSE: Groups = {"layers/dense": [(3, 4), (4,)], "layers/dense_1": [(4, 2), (2,)]}
ADAM_STATE = [np.int64(7), np.float32(0.5), *(shape for shape in [(3, 4), (4,), (4, 2), (2,)] for _ in "mv")]
ADAM = {"class_name": "Adam", "config": {"name": "adam", "learning_rate": 0.01, "loss_scale_factor": None}}


def layer(name: str, class_name: str = "Dense", *, trainable: bool = True, **config: Any) -> dict[str, Any]:
    """A layer's configuration."""
    return {"class_name": class_name, "config": {"name": name, "trainable": trainable, **config}}


def model(*layers: dict[str, Any], optimizer: object = ADAM) -> dict[str, Any]:
    """`config.json`."""
    return {
        "class_name": "Functional",
        "config": {"name": "m", "layers": list(layers)},
        "compile_config": {"optimizer": optimizer},
    }


TWO = model(layer("hidden"), layer("out"))


def weights(path: Path, groups: Groups, *, labels: dict[str, str] | None = None, first: int = 0) -> Path:
    """Writes `.weights.h5` as Keras does."""
    with h5py.File(path, "w") as file:
        for group, variables in groups.items():
            holder = file.create_group(f"{group}/vars" if group else "vars")
            for index, value in enumerate(variables, first):
                holder[str(index)] = np.full(value, 0.5, "f4") if isinstance(value, tuple) else value
            if labels and group in labels:
                holder.attrs["name"] = labels[group]
    return path


def save(
    folder: Path, groups: Groups, config: object = TWO, *, version: str | None = "3.15.1", zipped: bool = True
) -> TrainingState:
    """Writes an archive, or the directory it unpacks to, and reads it."""
    members = {"config.json": json.dumps(config).encode()}
    if version:
        members["metadata.json"] = json.dumps({"keras_version": version}).encode()
    members["model.weights.h5"] = weights(folder / "w.h5", groups).read_bytes()
    path = folder / "m.keras"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    else:
        path.mkdir()
        for name, data in members.items():
            (path / name).write_bytes(data)
    return keras_archive.read(str(path))
