"""From a step, or an item that stands alone, to what it holds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import is_inside
from ckptdoctor.containers.zarrs.store import leaves
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.orbax import keras_tree, optax_tree
from ckptdoctor.formats.orbax.items import Item, read_item
from ckptdoctor.formats.orbax.metadata import json_object, json_value
from ckptdoctor.formats.orbax.places import AGGREGATE, STEP_METADATA, TEMPORARY, TREE, is_item, items_of, listed
from ckptdoctor.logged import Logged, Metric
from ckptdoctor.state import Oddity, TrainingState


def read(path: str) -> TrainingState:
    """Reads a step, or an item that stands alone.

    Raises:
        UnreadableArtifact: It is corrupt, or nothing complete is in it.
    """
    names = listed(path)
    about = json_object(path, STEP_METADATA, path)
    unfinished = [name for name in names if TEMPORARY in name]
    items, counters = _items(path, names)
    oddities = [*_of_save(path, names, about, unfinished), *(each for item in items for each in item.oddities)]
    tree = next((item for item in items if keras_tree.is_keras(item)), None)
    state = optax_tree.read(path, items) if tree is None else keras_tree.read(path, tree, items)
    others = [ref for item in items for ref in item.others]
    return state._replace(
        counters={**counters, **state.counters},
        others=(*state.others, *others),
        oddities=(*oddities, *state.oddities),
        logged=Logged(metric=_metric(path, about)),
    )


_METRICS = "metrics"
"""Where CheckpointManager puts them: an item of a step, and since 0.11 the step's metadata."""


def _metric(path: str, about: Mapping[str, object] | None) -> Metric | None:
    """The first of the metrics that a step was saved with; CheckpointManager asks a function which is best."""
    found = (about or {}).get(_METRICS)
    folder = os.path.join(path, _METRICS)
    if not found and storage.is_file(os.path.join(folder, _METRICS)) and is_inside(folder, path):
        found = json_value(folder, _METRICS, path)
    for name, value in found.items() if isinstance(found, Mapping) else ():
        if isinstance(value, float):
            return Metric(str(name), value, _METRICS)
    return None


def read_items(path: str) -> list[Item]:
    """The items of a step that are trees, or the item that stands alone.

    Raises:
        UnreadableArtifact: One is corrupt, or nothing complete is there.
    """
    return _items(path, listed(path))[0]


def _items(path: str, names: list[str]) -> tuple[list[Item], dict[str, int]]:
    """The same, and the whole numbers in the items that are JSON."""
    if is_item(path, names):
        return [read_item(path, "", path)], {}
    found: list[Item] = []
    counters: dict[str, int] = {}
    for name in items_of(path, names):
        folder = os.path.join(path, name)
        if not is_inside(folder, path):
            raise leaves(folder, path)
        inside = listed(folder)
        if is_item(folder, inside):
            found.append(read_item(folder, name, path))
        elif name in inside and storage.is_file(os.path.join(folder, name)):  # a JsonSave: `metadata/metadata`
            value = json_value(folder, name, path)
            for key, each in value.items() if isinstance(value, Mapping) else ():
                if isinstance(each, int) and not isinstance(each, bool):
                    counters[f"{name}/{key}"] = each
    if not found:
        unfinished = sorted(name for name in names if TEMPORARY in name)
        told = f"{', '.join(unfinished[:4])} did not end" if unfinished else "it holds no item"
        raise UnreadableArtifact(f"this save is not complete: {told}", path, code="I005")
    return found, counters


def _of_save(
    path: str, names: list[str], about: Mapping[str, object] | None, unfinished: list[str]
) -> Iterator[Oddity]:
    """Whether the save ended."""
    if unfinished:
        yield Oddity("I005", f"{', '.join(sorted(unfinished)[:4])} did not end: this checkpoint lacks it")
    elif about is not None and about.get("commit_timestamp_nsecs", 0) is None:
        yield Oddity("I005", f"{STEP_METADATA} has no time at which the save ended")
    # Since 0.5.23, which no longer writes the file `checkpoint`, every save has it.
    told = about is not None or STEP_METADATA in listed(os.path.dirname(storage.absolute(path)))
    inside = [names] if is_item(path, names) else [listed(os.path.join(path, name)) for name in items_of(path, names)]
    if not told and any(TREE in each and AGGREGATE not in each for each in inside):
        yield Oddity("I005", f"{STEP_METADATA} is missing: nothing tells whether this save ended")
