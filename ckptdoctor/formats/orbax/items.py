"""One item of a checkpoint: the leaves of its tree, each with its tensor, from whatever its arrays lie in."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from ckptdoctor.containers.zarrs.arrays import Arrays, arrays
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.orbax.metadata import Entry, Tree, json_object, json_value, read_tree
from ckptdoctor.formats.orbax.places import AGGREGATE, MANIFEST, PLACEHOLDER, STRINGS, TREE, listed
from ckptdoctor.formats.trees import as_tensor
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Oddity
from ckptdoctor.words import enumerate_some

_SHOWN = 4
_MOST_PROCESSES = 64
"""So many processes' databases are looked into; a save has one for each host."""
_PROCESS = re.compile(r"process_\d+\Z")


class Leaf(NamedTuple):
    """A leaf of a tree.

    Attributes:
        path: Its keys.
        indices: Which of them are indices of a sequence.
        kind: What it was: `jax.Array`, `np.ndarray`, `scalar`, `string`, `None`; "" where nothing tells.
        tensor: Its value; None for what has none, or whose array is lost.
    """

    path: tuple[str, ...]
    indices: tuple[bool, ...]
    kind: str
    tensor: TensorRef | None


class Item(NamedTuple):
    """An item.

    Attributes:
        name: What it is called in its step; "" for one that stands alone.
        leaves: Those of its tree, in its order.
        others: Arrays that no leaf names.
        texts: Texts in it, by key.
        oddities: What was noticed.
    """

    name: str
    leaves: tuple[Leaf, ...]
    others: tuple[TensorRef, ...] = ()
    texts: Mapping[str, str] = {}
    oddities: tuple[Oddity, ...] = ()


def read_item(folder: str, name: str, base: str) -> Item:
    """Reads an item.

    Args:
        folder: Its directory.
        name: What it is called in its step; "" for one that stands alone.
        base: The checkpoint, which no link may lead out of.

    Raises:
        UnreadableArtifact: It is corrupt, or parts of it are missing.
    """
    names = listed(folder)
    tree = read_tree(folder, base)
    found = _arrays(folder, names, base, tree)
    values = _aggregate(folder, base) if AGGREGATE in names else {}
    fills = tree is not None and tree.fills
    reading = _Reading(name, found, fills=fills)
    if tree is not None:
        leaves = tuple(reading.leaf(entry, values) for entry in tree.entries)
    elif values:
        leaves = tuple(reading.placed(path, indices, value) for (path, indices), value in values.items())
    else:
        leaves = tuple(Leaf(path, (False,) * len(path), "", reading.tensor(path)) for path in _split(found.tensors))
    texts = json_object(folder, STRINGS, base) or {}
    oddities = [*_lost(name, found, reading, fills=fills), *_unread(found)]
    oddities += _files_missing(folder, names, base, tree, told=bool(values))
    oddities += _processes(folder, names, base)
    return Item(
        name,
        leaves,
        tuple(ref for key, ref in found.tensors.items() if key not in reading.taken),
        {key: value for key, value in texts.items() if isinstance(value, str)},
        tuple(oddities),
    )


def _arrays(folder: str, names: Collection[str], base: str, tree: Tree | None) -> Arrays:
    """The arrays of an item, from its database or its directories."""
    if MANIFEST in names:
        from ckptdoctor.containers.ocdbt.database import Database

        database = Database(folder, base)
        database.require_files()
        return arrays(database)
    parts = [name for name in names if name.startswith("ocdbt.process_")]
    if parts:
        raise UnreadableArtifact(
            f"{MANIFEST} is missing: the save was never finished, its arrays lie in {enumerate_some(parts, _SHOWN)}",
            folder,
            code="I002",
        )
    if tree is not None and all(entry.is_empty or entry.aggregated or _is_text(entry) for entry in tree.entries):
        return Arrays({}, {}, {})
    from ckptdoctor.containers.zarrs.store import Directory

    found = arrays(Directory(folder, base))
    if tree is not None and not found.tensors:
        raise UnreadableArtifact(f"has neither {MANIFEST} nor an array: its data is missing", folder, code="I002")
    return found


def _is_text(entry: Entry) -> bool:
    return entry.value_type == "string"


class _Reading:
    """An item while its leaves are given their tensors.

    Attributes:
        taken: Names of the arrays that leaves have.
        absent: Names of the arrays that leaves should have, and that are not there.
    """

    def __init__(self, name: str, found: Arrays, *, fills: bool) -> None:
        self._name, self._found = name, found
        self._lost = {} if fills else found.lost
        self.taken: set[str] = set()
        self.absent: list[str] = []

    def leaf(self, entry: Entry, values: "Mapping[_Place, object]") -> Leaf:
        """A leaf of `_METADATA`."""
        tensor: TensorRef | None = None
        if entry.aggregated and not entry.is_empty:
            value = values.get((entry.path, entry.indices))
            tensor = self.placed(entry.path, entry.indices, value).tensor
        elif not entry.is_empty and not _is_text(entry):
            tensor = self.tensor(entry.path)
            if tensor is None:
                self.absent.append(".".join(entry.path))
            elif entry.shape is not None and tensor.location is not None and entry.shape != tensor.shape:
                raise UnreadableArtifact(
                    f"the array {tensor.key!r} has the shape {list(tensor.shape)}, and the tree says "
                    f"{list(entry.shape)}: they are of different saves"
                )
        return Leaf(entry.path, entry.indices, entry.value_type, tensor)

    def tensor(self, path: tuple[str, ...]) -> TensorRef | None:
        """The array of a leaf: its keys, joined by dots."""
        return self._named(".".join(path), path)

    def placed(self, path: tuple[str, ...], indices: tuple[bool, ...], value: object) -> Leaf:
        """A leaf of the file `checkpoint`: the value itself, or the name of its array."""
        if isinstance(value, str) and value.startswith(PLACEHOLDER):
            name = value[len(PLACEHOLDER) :]
            tensor = self._named(name, path)
            if tensor is None:
                self.absent.append(name)
            return Leaf(path, indices, "", tensor)
        key = self._key(path)
        kind = "None" if value is None or value in ({}, []) else "string" if isinstance(value, str) else ""
        return Leaf(path, indices, kind, as_tensor(key, value))

    def _named(self, name: str, path: tuple[str, ...]) -> TensorRef | None:
        found = self._found.tensors.get(name)
        if found is None:
            return None
        self.taken.add(name)
        place = None if name in self._lost else found.place
        return TensorRef(self._key(path), found.dtype, found.shape, place)

    def _key(self, path: tuple[str, ...]) -> str:
        return "/".join((self._name, *path) if self._name else path)


_Place = tuple[tuple[str, ...], tuple[bool, ...]]
"""The keys of a leaf, and which of them are indices."""


def _aggregate(folder: str, base: str) -> dict[_Place, object]:
    """The leaves of the file `checkpoint`."""
    from ckptdoctor.containers.bytes.cursor import Cursor
    from ckptdoctor.containers.bytes.files import RegularFile, is_inside
    from ckptdoctor.containers.msgpack import read
    from ckptdoctor.containers.zarrs.store import leaves

    path = os.path.join(folder, AGGREGATE)
    if not is_inside(path, base):
        raise leaves(path, base)
    with RegularFile(path) as file:
        return dict(_walk(read(Cursor(file, path)), (), ()))


def _walk(value: object, path: tuple[str, ...], indices: tuple[bool, ...]) -> Iterator[tuple[_Place, object]]:
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from _walk(each, (*path, key), (*indices, False))
    elif isinstance(value, list) and value:
        for number, each in enumerate(value):
            yield from _walk(each, (*path, str(number)), (*indices, True))
    else:
        yield (path, indices), value


def _split(names: Collection[str]) -> Iterator[tuple[str, ...]]:
    for name in sorted(names):
        yield tuple(name.split("."))


# ------------------------------------------------------------------------------------------------------ what is wrong


def _lost(name: str, found: Arrays, reading: _Reading, *, fills: bool) -> Iterator[Oddity]:
    where = f"{name}: " if name else ""
    if reading.absent:
        names = enumerate_some(reading.absent, _SHOWN)
        yield Oddity("I002", f"{where}{len(reading.absent):,} arrays of the tree are not there: {names}")
    # Orbax writes chunks of zeros as well, unless its metadata says otherwise.
    if found.lost and not fills:
        names = enumerate_some([f"{key} ({lost:,} of {all_:,})" for key, (lost, all_) in found.lost.items()], _SHOWN)
        yield Oddity(
            "I002",
            f"{where}chunks of {len(found.lost):,} arrays are not there: {names}; Orbax before 0.11 restores them as "
            "zeros, without a word",
        )


def _unread(found: Arrays) -> Iterator[Oddity]:
    if found.unread:
        first = next(iter(found.unread.values()))
        yield Oddity("I007", f"{len(found.unread):,} arrays are of a kind that is not read: {first}")


def _files_missing(
    folder: str, names: Collection[str], base: str, tree: Tree | None, *, told: bool
) -> Iterator[Oddity]:
    """Files that every save of this kind has; without them Orbax restores less, or nothing."""
    if tree is None:
        if not told:
            yield Oddity(
                "I002", f"{TREE} is missing, without which Orbax restores nothing; the names of its arrays are read"
            )
        return
    arrays_there = [entry for entry in tree.entries if entry.value_type == "jax.Array" and not entry.aggregated]
    if not arrays_there or AGGREGATE in names:
        return
    if "_sharding" not in names:
        yield Oddity("I007", "_sharding is missing: Orbax before 0.12 restores it only into a target that is given")
    if any(entry.shape is not None for entry in arrays_there):
        if not any(_PROCESS.match(each) for each in listed(os.path.join(folder, "array_metadatas"))):
            yield Oddity("I007", "array_metadatas is missing, which this version of Orbax writes; it restores without")
        else:
            _shapes_agree(folder, base)
    if "_sharding" in names:
        json_object(folder, "_sharding", base)


def _processes(folder: str, names: Collection[str], base: str) -> Iterator[Oddity]:
    """The databases of the processes, from which the one that is read was merged: Orbax leaves them there.

    They hold the data of larger values, which is looked for anyway; a lost one that held none is no loss.
    """
    if MANIFEST not in names:
        return
    own = sorted(name for name in names if name.startswith("ocdbt.process_"))
    if not own and any(_PROCESS.match(each) for each in listed(os.path.join(folder, "array_metadatas"))):
        yield Oddity(
            "I007", "no ocdbt.process_N is there, as every save has them; no value is in one, and none is lost"
        )
    for name in own[:_MOST_PROCESSES]:
        from ckptdoctor.containers.ocdbt.database import Database

        try:
            Database(os.path.join(folder, name), base, whole=False)
        except UnreadableArtifact as error:
            yield Oddity("I007", f"{name} is not whole ({error}); no value is in what it lacks, and none is lost")


def _shapes_agree(folder: str, base: str) -> None:
    """Reads what every process wrote of its arrays; raises where it is no JSON."""
    inside = os.path.join(folder, "array_metadatas")
    for each in sorted(listed(inside)):
        if _PROCESS.match(each):
            json_value(inside, each, base)
