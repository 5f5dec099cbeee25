"""Weights in the layout of Keras 3: `.weights.h5`, and `.weights.json` with its shards.

They hold no configuration: the optimizer's class follows from its state, and which layers were frozen from which
variables have slots.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ckptdoctor.artifacts.keras_tree import MARKERS, Contents, Store, load_h5, read_store
from ckptdoctor.containers.hdf5 import H5File
from ckptdoctor.containers.strict_json import MAX_BYTES, parse_object
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.state import Format, Generation, Oddity, Producer, TrainingState

MAX_SHARDS = 10_000


def is_weights(file: H5File) -> bool:
    """Whether an HDF5 file has this layout."""
    groups, _ = file.children("")
    return bool(MARKERS.intersection(groups)) and not file.has_attribute("", "layer_names")


def read(path: str) -> TrainingState:
    """Reads `.weights.h5`, or `.weights.json` with all of its shards."""
    with open(path, "rb") as stream:
        start = stream.read(1)
    if start == b"{":
        return _read_sharded(path)
    with H5File(path) as file:
        return read_open(file)


def read_open(file: H5File) -> TrainingState:
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
    return {Generation.KERAS3: "keras", Generation.KERAS2: "tf.keras"}.get(found) if found else None


def _read_sharded(path: str) -> TrainingState:
    if os.path.getsize(path) > MAX_BYTES:
        raise LimitExceeded(f"is larger than the {MAX_BYTES:,} bytes that are read", path, place=os.path.basename(path))
    with open(path, "rb") as stream:
        document = parse_object(stream.read(), path, os.path.basename(path))
    mapping = document.get("weight_map")
    if not isinstance(mapping, Mapping):
        raise UnreadableArtifact("has no weight_map: these are no sharded weights", path, place=os.path.basename(path))
    shards: dict[str, list[str]] = {}
    for group, names in mapping.items():
        for name in [names] if isinstance(names, str) else names if isinstance(names, list) else []:
            shards.setdefault(_safe(name, path), []).append(str(group))
    if len(shards) > MAX_SHARDS:
        raise LimitExceeded(f"lists {len(shards):,} shards; {MAX_SHARDS:,} are read", path)
    store = Store()
    folder = os.path.dirname(path)
    for name, groups in shards.items():
        shard = os.path.join(folder, name)
        if not os.path.isfile(shard):
            store.oddities.append(Oddity("I002", f"shard {name} is missing; it held part of {', '.join(groups[:5])}"))
            continue
        with H5File(shard) as file:
            load_h5(file, store)
    return _state(path, store)


def _safe(name: object, path: str) -> str:
    """A shard's name, if it is a file beside the JSON and nothing else."""
    if (
        isinstance(name, str)
        and name
        and os.path.basename(name) == name
        and name not in {".", ".."}
        and "\0" not in name
    ):
        return name
    raise UnreadableArtifact(f"names a shard {name!r}, which is no file beside it", path, place="weight_map")
