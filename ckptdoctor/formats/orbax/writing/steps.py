"""A checkpoint of Orbax with another optimizer: the step as it was, but for one item, and for the configuration."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.strict_json import parse_object
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.keras.writing.compiled import compiled
from ckptdoctor.formats.orbax import keras_tree
from ckptdoctor.formats.orbax.items import Item
from ckptdoctor.formats.orbax.metadata import json_object
from ckptdoctor.formats.orbax.places import STRINGS, is_item, listed
from ckptdoctor.formats.orbax.reading import read, read_items
from ckptdoctor.formats.orbax.writing.chains import chain_edit
from ckptdoctor.formats.orbax.writing.documents import ItemEdit
from ckptdoctor.formats.orbax.writing.items import Sizes, copy_entry, require_writable, write_item
from ckptdoctor.formats.orbax.writing.keras_tree import optimizer_edit, renamed
from ckptdoctor.optimizers.keras.config import read_config
from ckptdoctor.optimizers.lists.elements import notes as notes_of
from ckptdoctor.optimizers.lists.elements import require_listable
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Generation

_NUMBER = re.compile(r"\d+\Z")
_ITEM = "pytree"
"""What Keras 3.14 and later call the tree; 3.13 calls it `state`, and has no loader."""


def write(
    optimizer: PlannedOptimizer,
    target: str,
    output: str,
    *,
    link: bool = False,
    loss_from: str | None = None,
    progress: Progress | None = None,
) -> Written:
    """Writes a checkpoint with this optimizer.

    Args:
        optimizer: The optimizer.
        target: A step, or an item that stands alone.
        output: The directory to write: the step itself where its name is a step's, else the root that the step is in.
        link: Share unchanged data files by hard link.
        loss_from: An artifact that tells the loss, where the target was saved uncompiled.
        progress: Told how many more bytes have been dealt with.

    Raises:
        GraftRefused: The target has no place for this state.
        UnreadableArtifact: An input is corrupt.
    """
    site = _site(optimizer, target, loss_from)
    place, told = placed(target, output)
    if site.item == "":
        sizes = write_item(target, output, target, site.edit, link=link, progress=progress)
        return _written(sizes, site.calls(""))
    os.makedirs(place)
    sizes = Sizes()
    for name in sorted(listed(target)):
        if name == site.item:
            source, goal = os.path.join(target, name), os.path.join(place, name)
            sizes = plus(sizes, write_item(source, goal, target, site.edit, link=link, progress=progress))
        else:
            sizes = plus(sizes, Sizes(copied=copy_entry(target, place, name, target, frozenset(site.texts), progress)))
    for name, text in site.texts.items():
        with open(os.path.join(place, *name.split("/")), "xb") as stream:
            stream.write(text)
        sizes = plus(sizes, Sizes(new=len(text)))
    return _written(sizes, site.calls(told))


def write_edited(target: str, output: str, edits: Mapping[str, ItemEdit], progress: Progress | None = None) -> str:
    """Writes a step, or an item that stands alone, with these edits; answers what a program is given to load it.

    Args:
        target: The step or item.
        output: As for `write`.
        edits: Name of an item ("" for one that stands alone) → what becomes of its leaves; the others stay.
        progress: Told how many more bytes have been dealt with.
    """
    place, told = placed(target, output)
    if "" in edits:
        write_item(target, output, target, edits[""], progress=progress)
        return told
    os.makedirs(place)
    for name in sorted(listed(target)):
        if name in edits:
            write_item(os.path.join(target, name), os.path.join(place, name), target, edits[name], progress=progress)
        else:
            copy_entry(target, place, name, target, progress=progress)
    return told


def plus(one: Sizes, other: Sizes) -> Sizes:
    """Both together."""
    return Sizes(one.new + other.new, one.copied + other.copied, one.linked + other.linked)


def _written(sizes: Sizes, notes: tuple[str, ...]) -> Written:
    return Written(notes, sizes.new, sizes.copied, sizes.linked)


def check(optimizer: PlannedOptimizer, target: str) -> None:
    """Raises what `write` would, before anything is written.

    Raises:
        GraftRefused: The target has no place for this state.
        UnreadableArtifact: It is corrupt.
    """
    _site(optimizer, target, None)


class Site(NamedTuple):
    """What of a target changes.

    Attributes:
        item: Name of the item that does; "" where that stands alone.
        edit: What becomes of its leaves.
        texts: Other files that change, relative to the step, with `/`.
        calls: Function (what is given to a loader; "" where there is no step): sentences for the user.
    """

    item: str
    edit: ItemEdit
    texts: Mapping[str, bytes]
    calls: Callable[[str], tuple[str, ...]]


def _site(optimizer: PlannedOptimizer, target: str, loss_from: str | None) -> Site:
    items = read_items(target)
    tree = next((each for each in items if keras_tree.is_keras(each)), None)
    if tree is None:
        item, edit = chain_edit(optimizer, items, target)
        require_writable(os.path.join(target, item), target)
        return Site(item, edit, {}, _of_a_program)
    keras = _Keras(optimizer, target, items, tree, loss_from)
    return Site(tree.name, keras.edit, keras.texts, keras.calls)


def _of_a_program(root: str) -> tuple[str, ...]:
    return (
        f"restore {root or 'OUT'} into a target of the program's own: without one Orbax gives lists and dictionaries",
    )


def placed(target: str, output: str) -> tuple[str, str]:
    """Where the step goes, and what a program is given to load it.

    Frameworks load the root of a run, and take the newest step in it. So an output that is named as a step is (`12` for
    `7`) is one of the run that it is put into; any other is a root of its own.
    """
    step, name = os.path.basename(os.path.abspath(target)), os.path.basename(output)
    number = _NUMBER.search(step)
    same = number is not None and _NUMBER.sub("", step) == _NUMBER.sub("", name) and _NUMBER.search(name) is not None
    if same or number is None or is_item(target, listed(target)):
        return output, "the directory that OUT is in (which takes the newest step there)" if same else "OUT"
    return os.path.join(output, step), "OUT"


class _Keras:
    """What changes in a checkpoint of Keras' OrbaxCheckpoint: its tree, and the configuration beside it."""

    def __init__(
        self, optimizer: PlannedOptimizer, target: str, items: Sequence[Item], tree: Item, loss_from: str | None
    ) -> None:
        if optimizer.generation is not Generation.KERAS3:
            raise GraftRefused(
                f"OrbaxCheckpoint is Keras 3's and never holds optimizers of {optimizer.generation.value}: leave --as "
                "out, or say --as keras3",
                target,
            )
        require_listable(optimizer)
        self._optimizer = optimizer
        self._tree = tree
        require_writable(os.path.join(target, tree.name), target)
        self.texts: dict[str, bytes] = {}
        self._notes: tuple[str, ...] = ()
        self._config = next((each.name for each in items if "config" in each.texts), None)
        name = self._configure(items, target, loss_from) or optimizer.label
        self.edit = optimizer_edit(optimizer, tree, name)
        names = [leaf.path[1] for leaf in self.edit.add if leaf.path[-1] == "iteration"]
        self._called = names[-1] if names else ""
        self._prefixed = any(each.aliases for each in read(target).variables)

    def _configure(self, items: Sequence[Item], target: str, loss_from: str | None) -> str | None:
        """Puts the optimizer into the configuration, where there is one; answers what that calls it."""
        item = next((each for each in items if each.name == self._config), None)
        if item is None or self._config is None:
            return None
        document = parse_object(item.texts["config"], target, "model_config")
        name = _name_in(document) or self._optimizer.label
        config, self._notes = compiled(self._optimizer, document, None, loss_from)
        if config is None:
            return name
        config = config if name is None else renamed(config, name)
        there = json_object(os.path.join(target, item.name), STRINGS, target) or {}
        self.texts[f"{item.name}/{STRINGS}"] = json.dumps({**there, "config": json.dumps(config)}).encode()
        return name or _name_in(config)

    def calls(self, root: str) -> tuple[str, ...]:
        """How the result is loaded, and what is to be known of it."""
        return (self._call(root), *self._notes, *notes_of(self._optimizer))

    def _call(self, root: str) -> str:
        if not root:
            return _ALONE
        by_hand = (
            f"build and compile the model as its program does, with an optimizer called {self._called!r}, call "
            f"model.optimizer.build(model.trainable_variables), then model.load_weights(path) with the absolute path "
            f"of {root}: it restores the optimizer's state, and drops it where the optimizer is not built or is called "
            "otherwise"
        )
        if self._tree.name != _ITEM:
            return f"Keras 3.13 wrote the target and has no loader for it; later ones look for an item {_ITEM!r}"
        if self._config is None:
            return f"to load it: {by_hand}"
        if self._prefixed:
            why = "drops weights and state of models that are not functional, as it calls their variables otherwise"
            return f"to load it: {by_hand}; load_model of Keras 3.14 and 3.15 {why}"
        return f"load with keras.saving.load_model(path) with the absolute path of {root}: it restores everything"


_ALONE = "the target is an item without its step, which Keras does not load: graft into the step, or put OUT into one"


def _name_in(document: Mapping[str, object]) -> str | None:
    """What a configuration calls its optimizer, the inner one in a LossScaleOptimizer."""
    settings = document.get("compile_config")
    config = (
        read_config(settings.get("optimizer"), "3.13", Generation.KERAS3) if isinstance(settings, Mapping) else None
    )
    return config.name if config is not None else None
