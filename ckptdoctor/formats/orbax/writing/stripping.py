"""Orbax checkpoints without optimizers: their leaves go, what stays is not decoded.

The configuration beside Keras' tree stays compiled: load_model of Keras 3.14 and 3.15 loads no other.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.errors import Refused
from ckptdoctor.formats.contract import Stripped
from ckptdoctor.formats.orbax import keras_tree
from ckptdoctor.formats.orbax.items import Item
from ckptdoctor.formats.orbax.reading import read, read_items
from ckptdoctor.formats.orbax.writing.documents import ItemEdit, Path
from ckptdoctor.formats.orbax.writing.items import require_writable
from ckptdoctor.formats.orbax.writing.steps import write_edited

_KERAS_GROUP = "optimizer_variables"


def strip(target: str, output: str, progress: Progress | None = None) -> Stripped:
    """Writes a step, or an item that stands alone, without optimizers.

    Args:
        target: The step or item.
        output: The directory to write: the step itself where its name is a step's, else the root that the step is in.
        progress: Told how many more bytes have been dealt with.

    Raises:
        Refused: It has none, or they are an item of their own.
        UnreadableArtifact: It is corrupt.
    """
    items = read_items(target)
    tree = next((each for each in items if keras_tree.is_keras(each)), None)
    roots = [each.name for each in read(target).optimizers if each.has_state] if tree is None else []
    gone = {each.name: _leaves(each, roots) for each in items}
    changed = {name: paths for name, paths in gone.items() if paths}
    if not changed:
        raise Refused("it holds no optimizer state: there is nothing to strip", target)
    for each in items:
        if len(gone[each.name]) == len(each.leaves) and each.leaves:
            raise Refused(
                f"the item {each.name!r} is an optimizer's state alone: release the items beside it"
                if each.name
                else "it is an optimizer's state alone: without that nothing would be left",
                target,
            )
        if gone[each.name]:
            require_writable(os.path.join(target, each.name), target)
    told = write_edited(target, output, {name: _edit(name, paths, roots) for name, paths in changed.items()}, progress)
    names = tuple(roots) if tree is None else (f"{tree.name}/{_KERAS_GROUP}",)
    return Stripped(names, (_call(told, keras=tree is not None),))


def _leaves(item: Item, roots: Sequence[str]) -> frozenset[Path]:
    """The leaves of an item that are an optimizer's."""
    if keras_tree.is_keras(item):
        return frozenset(leaf.path for leaf in item.leaves if leaf.path[0] == _KERAS_GROUP)
    front = (item.name,) if item.name else ()
    names = {leaf.path: "/".join((*front, *leaf.path)) + "/" for leaf in item.leaves}
    return frozenset(path for path, name in names.items() if any(name.startswith(f"{root}/") for root in roots))


def _edit(item: str, gone: frozenset[Path], roots: Sequence[str]) -> ItemEdit:
    front = f"{item}/" if item else ""
    inside = (each.removeprefix(front) for each in roots if each.startswith(front))
    return ItemEdit(gone, (), tuple(tuple(each.split("/")) for each in inside))


def _call(told: str, *, keras: bool) -> str:
    if not keras:
        return f"restore {told or 'OUT'} into a target without the optimizer's state"
    root = f"the absolute path of {told or 'OUT'}"
    return f"load it with load_weights(path), or load_model(path), which compiles it with a new optimizer: with {root}"
