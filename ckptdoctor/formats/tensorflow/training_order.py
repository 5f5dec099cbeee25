"""The order in which Keras 2 trains variables that share one full name, as far as the object graph tells it.

Layers that are built inside another one's `build` name their weights after that one: `enc/kernel` may come ten times.
What is left is the order of the optimizer's list, which is that of `trainable_weights`, and it depends on what each
object is (Keras 2.11 to 2.15):

- a layer or model gives its sub-layers in the order in which attributes were assigned (`Layer._flatten_layers`), and so
  does the graph (`AutoTrackable._trackable_children`);
- a list gives its items by number, a functional model its layers (`layer_with_weights-0`, `layer-1`);
- a dictionary gives its values sorted by key (`data_structures.Mapping._values`), a tf.Module its attributes sorted by
  name (`tf.Module._flatten`); the graph has both in another order.

A SavedModel says what each object is. A checkpoint does not; there, what is no list and no layer for sure is told only
as far as both rules give the same answer.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ckptdoctor.containers.bundles.object_graph import is_index
from ckptdoctor.formats.tensorflow.objects import Objects
from ckptdoctor.state import ModelVariable

_NUMBERED = re.compile(r"layer(_with_weights)?-\d+")
_LAYER = "_tf_keras_"
_DICTIONARY = "trackable_dict_wrapper"
MAX_DEPTH = 64
"""Objects nested deeper than this are in no order that is told."""

Placed: TypeAlias = list[ModelVariable | None]


def in_order_of_training(objects: Objects, full_name: str, variables: Sequence[ModelVariable]) -> Placed:
    """Variables of one name in the order in which they are trained; None at places that may be another's.

    Args:
        objects: The classified graph.
        full_name: The name.
        variables: All that share it, in the graph's order.
    """
    tree = _Branch()
    for each in variables:
        tree.add(objects.object_paths[each.path].split("/"), each)
    return _placed(objects, tree, _Place(0, "", scoped="/" in full_name))


class _Branch:
    """An object on the way to variables of one name: the variables at it, and its sub-objects, in the graph's order."""

    __slots__ = ("below", "own", "size")

    def __init__(self) -> None:
        self.own: list[ModelVariable] = []
        self.below: dict[str, _Branch] = {}
        self.size = 0

    def add(self, parts: Sequence[str], variable: ModelVariable) -> None:
        """Hangs a variable below."""
        branch = self
        branch.size += 1
        for part in parts[: MAX_DEPTH + 2]:
            branch = branch.below.setdefault(part, _Branch())
            branch.size += 1
        branch.own.append(variable)


class _Place(NamedTuple):
    """Where a branch is in the graph.

    Attributes:
        node: The object; None where the graph's paths do not lead.
        name: What its parent calls it.
        scoped: The variables' name begins with a layer's, and they have not parted above.
        depth: Objects above.
    """

    node: int | None
    name: str
    scoped: bool
    depth: int = 0


def _placed(objects: Objects, branch: _Branch, place: _Place) -> Placed:
    orders = _orders(objects, branch, place)
    if place.depth > MAX_DEPTH or not orders:
        return [None] * branch.size
    found: Placed = list(branch.own)
    starts = [_starts(branch.below, order) for order in orders]
    for part in orders[0]:
        below = branch.below[part]
        if any(each[part] != starts[0][part] for each in starts[1:]):
            found += [None] * below.size
            continue
        child = None if place.node is None else objects.node(place.node).children.get(part)
        # Below the place where the ways part, the layer that named them all may be above.
        scoped = place.scoped and len(branch.below) == 1
        found += _placed(objects, below, _Place(child, part, scoped, place.depth + 1))
    return found


def _starts(below: Mapping[str, _Branch], order: Sequence[str]) -> dict[str, int]:
    """Where each sub-object's variables begin, in this order."""
    starts: dict[str, int] = {}
    at = 0
    for part in order:
        starts[part] = at
        at += below[part].size
    return starts


def _orders(objects: Objects, branch: _Branch, place: _Place) -> tuple[Sequence[str], ...]:
    """The orders in which an object may give its sub-objects; none where it is the user who puts them in order."""
    written = list(branch.below)
    by_name = sorted(written)
    if len(written) < 2:  # noqa: PLR2004
        return (written,)
    if all(is_index(part) for part in written):
        return (sorted(written, key=int),)
    if all(_NUMBERED.fullmatch(part) for part in written) or _NUMBERED.fullmatch(place.name):
        return (written,)
    identifier = "" if place.node is None else objects.identifiers.get(place.node, "")
    if identifier.startswith(_LAYER):
        return (written,)
    if identifier == _DICTIONARY:
        return (by_name,)
    if place.node == 0 and written == by_name:
        return ()  # probably a tf.train.Checkpoint, which sorts what it is given: models, trained in anybody's order
    if place.scoped and place.node is not None and _is_model(objects, place.node):
        return (written,)
    return (written, by_name)


def _is_model(objects: Objects, node: int) -> bool:
    """Whether variables that a layer named, and that part here, part at that layer: the root, or what was compiled."""
    own = {index for each in objects.optimizers for index in (each.number, each.outer) if index is not None}
    return node == 0 or objects.child(node, "optimizer") in own
