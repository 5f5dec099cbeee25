"""Weights in the layout of Keras 3: `.weights.h5`, and `.weights.json` with its shards.

They hold no configuration: the optimizer's class follows from its state, and which layers were frozen from which
variables have slots.
"""

from __future__ import annotations

import os

from ckptdoctor import storage
from ckptdoctor.containers.hdf5.contract import H5Reader
from ckptdoctor.containers.hdf5.opening import open_h5
from ckptdoctor.formats.keras.shard_map import shards
from ckptdoctor.formats.keras.tree import MARKERS, Contents, Store, load_h5, portable, read_store
from ckptdoctor.state import Format, Generation, Oddity, Producer, TrainingState

_PROGRAMS = {"keras": Generation.KERAS3, "tf.keras": Generation.KERAS2}


def is_weights(file: H5Reader) -> bool:
    """Whether an HDF5 file has this layout."""
    groups, _ = file.children("")
    return bool(MARKERS.intersection(portable(each).partition("/")[0] for each in groups)) and not file.has_attribute(
        "", "layer_names"
    )


def read_open(file: H5Reader) -> TrainingState:
    """Reads `.weights.h5` from a file that is open already."""
    store = Store()
    load_h5(file, store)
    return _state(file.path, store)


def _state(path: str, store: Store) -> TrainingState:
    contents = read_store(store)
    return TrainingState(
        path=path,
        format=Format.KERAS_WEIGHTS,
        producer=Producer(_framework(contents, store)),
        variables=contents.model.variables,
        optimizers=contents.optimizers,
        others=contents.others,
        oddities=tuple(store.oddities),
    )


def _framework(contents: Contents, store: Store) -> str | None:
    """The package, as far as the file gives it away; it names no version."""
    if store.labels:
        return "keras"
    found = contents.optimizers[0].generation if contents.optimizers else None
    return next((name for name, generation in _PROGRAMS.items() if generation is found), None)


def program(state: TrainingState) -> Generation | None:
    """The optimizers of the framework that the file gives away."""
    return _PROGRAMS.get(state.producer.framework or "")


def read(path: str) -> TrainingState:
    """Reads `.weights.json` with all of its shards."""
    listed = shards(path)
    store = Store()
    folder = os.path.dirname(path)
    for name, groups in listed.items():
        shard = os.path.join(folder, name)
        if not storage.is_file(shard):
            store.oddities.append(Oddity("I002", f"shard {name} is missing; it held part of {', '.join(groups[:5])}"))
            continue
        with open_h5(shard) as file:
            load_h5(file, store)
    return _state(path, store)
