"""A checkpoint of Orbax in which leaves have other values: those are written anew, the others are not decoded."""

from __future__ import annotations

import os

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.tensors.shard_data import NewValues
from ckptdoctor.formats.orbax.reading import read_items
from ckptdoctor.formats.orbax.writing.documents import ItemEdit, leaf_as
from ckptdoctor.formats.orbax.writing.items import require_writable
from ckptdoctor.formats.orbax.writing.steps import write_edited


def refill(values: NewValues, target: str, output: str, progress: Progress | None = None) -> NewValues:
    """Writes a step, or an item that stands alone, with these values.

    Raises:
        GraftRefused: It is of a version that is not written.
        UnreadableArtifact: It is corrupt.
    """
    new = {each.tensor.key: each for each in values}
    edits: dict[str, ItemEdit] = {}
    for item in read_items(target):
        held = [(leaf, new[leaf.tensor.key]) for leaf in item.leaves if leaf.tensor and leaf.tensor.key in new]
        if held:
            require_writable(os.path.join(target, item.name), target)
            add = tuple(leaf_as(leaf, leaf.path, each.content) for leaf, each in held)
            edits[item.name] = ItemEdit(frozenset(leaf.path for leaf in add), add)
    write_edited(target, output, edits, progress)
    return values
