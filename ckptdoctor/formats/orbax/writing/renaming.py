"""Paths of Keras' OrbaxCheckpoint as `load_model` looks for them.

Sequential and subclassed models save variables below their own name (`m/hidden/kernel`); the model that load_model of
Keras 3.14 and 3.15 rebuilds calls them without it, and takes nothing that is called otherwise, silently.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.errors import Refused
from ckptdoctor.formats.orbax import keras_tree
from ckptdoctor.formats.orbax.items import Item
from ckptdoctor.formats.orbax.locating import checkpoint_at
from ckptdoctor.formats.orbax.places import is_item, listed
from ckptdoctor.formats.orbax.reading import read, read_items
from ckptdoctor.formats.orbax.writing.documents import ItemEdit, Path, leaf_as
from ckptdoctor.formats.orbax.writing.items import require_writable
from ckptdoctor.formats.orbax.writing.steps import write_edited
from ckptdoctor.words import counted

Settings = Mapping[str, object]


def find(path: str, _settings: Settings) -> tuple[str, ...]:
    """What would be renamed.

    Raises:
        UnreadableArtifact: It is corrupt.
    """
    is_orbax = os.path.isdir(path) and checkpoint_at(path, path, frozenset(listed(path))) is not None
    return _told(_paths(path)[1]) if is_orbax else ()


def mend(path: str, output: str, _settings: Settings, progress: Progress | None = None) -> tuple[str, ...]:
    """Writes the checkpoint with the paths of the rebuilt model; every other item stays as it is.

    Raises:
        Refused: Two variables would have one path.
        UnreadableArtifact: It is corrupt.
    """
    tree, paths = _paths(path)
    if tree is None or is_item(path, listed(path)):
        raise Refused("the item stands alone, without its step and the configuration in it", path)
    require_writable(os.path.join(path, tree.name), path)
    staying = {leaf.path for leaf in tree.leaves} - paths.keys()
    if len(staying | {*paths.values()}) < len(tree.leaves):
        raise Refused("two of its variables would have one path: load it with model.load_weights(path)", path)
    add = tuple(leaf_as(leaf, paths[leaf.path]) for leaf in tree.leaves if leaf.path in paths)
    edit = ItemEdit(frozenset(paths), tuple(sorted(add, key=lambda leaf: leaf.path)))
    write_edited(path, output, {tree.name: edit}, progress)
    return _told(paths)


def _paths(path: str) -> tuple[Item | None, dict[Path, Path]]:
    """The tree, and the paths in it that are others in the model that `load_model` makes."""
    items = read_items(path)
    tree = next((each for each in items if keras_tree.is_keras(each)), None)
    if tree is None:
        return None, {}
    rebuilt = {each.path: each.aliases[0] for each in read(path).variables if each.aliases}
    found: dict[Path, Path] = {}
    flat = sorted(((old.replace("/", "_"), new.replace("/", "_")) for old, new in rebuilt.items()), key=_longest)
    for leaf in tree.leaves:
        group, name = leaf.path[0], "/".join(leaf.path[1:])
        if group in keras_tree.VARIABLES and name in rebuilt:
            found[leaf.path] = (group, *rebuilt[name].split("/"))
        elif group == keras_tree.OPTIMIZER:
            last = leaf.path[-1]
            pair = next(((old, new) for old, new in flat if last.startswith(f"{old}_")), None)
            if pair is not None:
                found[leaf.path] = (*leaf.path[:-1], pair[1] + last[len(pair[0]) :])
    return tree, found


def _longest(pair: tuple[str, str]) -> int:
    return -len(pair[0])


def _told(paths: Mapping[Path, Path]) -> tuple[str, ...]:
    shown: Sequence[tuple[Path, Path]] = sorted(paths.items())[-1:]
    example = [f"{'/'.join(old)} → {'/'.join(new)}" for old, new in shown]
    return tuple(f"{counted(len(paths), 'path')} as load_model looks for them: {each}" for each in example)
