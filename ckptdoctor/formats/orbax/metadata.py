"""The JSON files of a checkpoint: what was saved when, and the tree of each item."""

import os
from typing import NamedTuple

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile, is_inside
from ckptdoctor.containers.strict_json import MAX_BYTES, parse_json, parse_object
from ckptdoctor.containers.zarrs.store import leaves
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.formats.orbax.places import STEP_METADATA, TREE

MAX_LEAVES = 1_000_000
MAX_DEPTH = 128
EMPTY = frozenset({"None", "Dict", "List", "Tuple", "NamedTuple"})


class Entry(NamedTuple):
    """A leaf of the tree, as `_METADATA` has it.

    Attributes:
        path: Its keys.
        indices: Which of them are indices of a sequence.
        value_type: What it was: `jax.Array`, `np.ndarray`, `scalar`, `string`, `None`.
        aggregated: Its value stands in the file `checkpoint`.
        shape: Its shape, where that is told.
    """

    path: tuple[str, ...]
    indices: tuple[bool, ...]
    value_type: str
    aggregated: bool
    shape: tuple[int, ...] | None

    @property
    def is_empty(self) -> bool:
        """Whether there is no value: an empty node that keeps its place."""
        return self.value_type in EMPTY


class Tree(NamedTuple):
    """`_METADATA`: the leaves, and how they were written.

    Attributes:
        entries: The leaves.
        fills: Arrays may lack chunks that hold nothing but their fill value.
        settings: What stands beside the tree.
    """

    entries: tuple[Entry, ...]
    fills: bool
    settings: frozenset[str]


def text(path: str, base: str) -> bytes:
    """A small file of a checkpoint.

    Raises:
        UnreadableArtifact: It cannot be read, or a link leads out of the checkpoint.
        LimitExceeded: It is too large.
    """
    if storage.is_link(path) and not is_inside(path, base):
        raise leaves(path, base)
    with RegularFile(path) as file:
        if file.size > MAX_BYTES:
            raise LimitExceeded(f"is larger than the {MAX_BYTES:,} bytes that are read", path)
        return file.read(0, file.size)


def json_object(folder: str, name: str, base: str) -> dict[str, object] | None:
    """A JSON file of a checkpoint; None if it is not there."""
    path = os.path.join(folder, name)
    return parse_object(text(path, base), path, name) if storage.lexists(path) else None


def json_value(folder: str, name: str, base: str) -> object:
    """The same for a file that may hold anything."""
    path = os.path.join(folder, name)
    return parse_json(text(path, base), path, name)


def saved_at(step: str) -> int | None:
    """When the save of a step began, in nanoseconds; None where that is not told."""
    try:
        fields = json_object(step, STEP_METADATA, step) or {}
    except UnreadableArtifact:
        return None
    started = fields.get("init_timestamp_nsecs")
    return started if isinstance(started, int) and not isinstance(started, bool) else None


def read_tree(folder: str, base: str) -> Tree | None:
    """The tree of an item; None where there is no `_METADATA`, as before 0.4.

    Raises:
        UnreadableArtifact: It is not what Orbax writes.
    """
    fields = json_object(folder, TREE, base)
    if fields is None:
        return None
    path = os.path.join(folder, TREE)
    nodes = fields.get("tree_metadata")
    if not isinstance(nodes, dict):
        raise UnreadableArtifact("has no tree_metadata: it is not what Orbax writes", path, place=TREE)
    if len(nodes) > MAX_LEAVES:
        raise LimitExceeded(f"lists more than {MAX_LEAVES:,} leaves", path, place=TREE)
    # The keys are texts of Python tuples; what they say stands in `key_metadata`, where nothing has to be parsed.
    entries = tuple(_entry(each, path) for each in nodes.values())
    return Tree(entries, fields.get("store_array_data_equal_to_fill_value") is False, frozenset(fields))


def _entry(node: object, path: str) -> Entry:
    keys = node.get("key_metadata") if isinstance(node, dict) else None
    value = node.get("value_metadata") if isinstance(node, dict) else None
    if not isinstance(keys, list) or not isinstance(value, dict) or len(keys) > MAX_DEPTH:
        raise UnreadableArtifact("a leaf has no keys or no type: it is not what Orbax writes", path, place=TREE)
    names: list[str] = []
    indices: list[bool] = []
    for each in keys:
        told = each if isinstance(each, dict) else {}
        key = told.get("key")
        if type(key) is not str and (type(key) is not int or abs(key) >= 1 << 63):
            raise UnreadableArtifact("a key is neither text nor a number", path, place=TREE)
        names.append(str(key))
        indices.append(told.get("key_type") == 1)
    kind, shape = value.get("value_type"), value.get("write_shape")
    extents = tuple([each for each in shape if type(each) is int]) if isinstance(shape, list) else ()
    return Entry(
        tuple(names),
        tuple(indices),
        kind if isinstance(kind, str) else "",
        value.get("skip_deserialize") is True,
        extents if isinstance(shape, list) and len(extents) == len(shape) else None,
    )
