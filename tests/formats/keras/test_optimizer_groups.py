"""Optimizers in attributes of a model, and the order of what its attributes hold, in `.weights.h5`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py as _h5py
import numpy as np

from ckptdoctor.formats.keras import hdf5
from ckptdoctor.state import TrainingState

h5py: Any = _h5py  # the stubs leave half of it out

KERNEL, BIAS = (3, 3), (3,)


def saved(folder: Path, groups: Mapping[str, list[Any]], labels: Mapping[str, str] | None = None) -> TrainingState:
    """Writes variables (given by shape) and scalars as Keras does, and reads them."""
    path = folder / "m.weights.h5"
    with h5py.File(path, "w") as file:
        for group, values in groups.items():
            holder = file.create_group(f"{group}/vars" if group else "vars")
            for index, value in enumerate(values):
                holder[str(index)] = np.full(value, 0.5, "f4") if isinstance(value, tuple) else value
            if labels is not None:
                holder.attrs["name"] = labels.get(group, "")
    return hdf5.read(str(path))


def adam(count: int, *shapes: tuple[int, ...]) -> list[Any]:
    """The variables of Keras 3's Adam."""
    return [np.int64(count), np.float32(0.1), *(shape for shape in shapes for _ in "mv")]


ADVERSARIES: dict[str, list[Any]] = {
    "d_optimizer": adam(3, (3, 1)),
    "disc/layers/dense": [(3, 1)],
    "g_optimizer": adam(5, (3, 1), (1,)),
    "gen/layers/dense": [(3, 1), (1,)],
    "optimizer": [np.int64(0), np.float32(0.001)],
}
NAMES = {"d_optimizer": "adam", "g_optimizer": "adam_1", "optimizer": "rm_sprop", "disc/layers/dense": "dense"}


def test_optimizers_in_attributes_are_no_variables(tmp_path: Path) -> None:
    """Each has its own count and its slots, those of the sub-model that the attribute speaks of."""
    state = saved(tmp_path, ADVERSARIES, NAMES)
    assert [variable.tensor.key for variable in state.variables] == [
        "disc/layers/dense/vars/0", "gen/layers/dense/vars/0", "gen/layers/dense/vars/1",
    ]  # fmt: skip
    counts = {each.name: each.iterations for each in state.optimizers}
    assert counts == {"optimizer": 0, "d_optimizer": 3, "g_optimizer": 5}
    keys = {variable.path: variable.tensor.key for variable in state.variables}
    owners = {each.name: {keys[slot.variable or ""] for slot in each.slots} for each in state.optimizers}
    assert owners["d_optimizer"] == {"disc/layers/dense/vars/0"}
    assert owners["g_optimizer"] == {"gen/layers/dense/vars/0", "gen/layers/dense/vars/1"}


def test_an_attribute_called_like_an_optimizer_needs_a_count(tmp_path: Path) -> None:
    """A layer in `self.opt` has no count in front, and stays a layer; so does one in `layers`."""
    groups = {"opt": [KERNEL, BIAS], "layers/optimizer": adam(1, KERNEL), "optimizer": adam(7, KERNEL, BIAS)}
    state = saved(tmp_path, groups, {})
    assert [each.name for each in state.optimizers] == ["optimizer"]
    assert len(state.variables) == 2 + 4


def test_attributes_are_trained_as_their_names_are_numbered(tmp_path: Path) -> None:
    """Attributes are stored by name and trained as they were assigned, which `dense`, `dense_1`, … tells."""
    groups: dict[str, list[Any]] = {
        "": [],
        "heads/a": [KERNEL],
        "layers/dense": [KERNEL],
        "zz": [KERNEL],
        "optimizer": adam(7, KERNEL, KERNEL, KERNEL),
    }
    names = {"heads/a": "dense_2", "layers/dense": "dense_1", "zz": "dense", "": "net", "optimizer": "adam"}
    state = saved(tmp_path, groups, names)
    (optimizer,) = state.optimizers
    keys = {variable.path: variable.tensor.key for variable in state.variables}
    owners = [keys[slot.variable or ""] for slot in optimizer.slots[::2]]
    assert owners == ["zz/vars/0", "layers/dense/vars/0", "heads/a/vars/0"]
    assert {slot.mapping for slot in optimizer.slots} == {"order"}


def test_attributes_in_no_known_order_are_not_called_ordered(tmp_path: Path) -> None:
    """Where names tell nothing and shapes are equal, the answer does not claim to rest on an order."""
    groups: dict[str, list[Any]] = {"": [], "aa": [KERNEL], "zz": [KERNEL], "optimizer": adam(7, KERNEL, KERNEL)}
    names = {"aa": "first", "zz": "second", "": "net", "optimizer": "adam"}
    (optimizer,) = saved(tmp_path, groups, names).optimizers
    assert {slot.mapping for slot in optimizer.slots} == {"shape"}
