"""The saved objects of the `.keras` layout, and the order of those below one, as far as a file gives it away.

Keras writes an object's attributes by name (`saving_lib._walk_saveable`, over `dir()`), and trains them in the order in
which they were assigned (`Layer._layers`, filled by its tracker). What is left of that order are the names that Keras
gives: `dense`, `dense_1`, `dense_2` are numbered as they are made, and Keras 3.6 and later write them down.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.formats.keras.layers import CHILD_ORDER
from ckptdoctor.references import TensorRef

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
MAX_DEPTH = 64
"""Models nested deeper than this are not described by their configuration any further."""
_COUNTER = re.compile(r"(.+)_(\d{1,6})")
_MOST_STEMS = 64


class SavedNode:
    """A saved object of the `.keras` layout.

    Attributes:
        group: Name of its group.
        own: Its own variables, in order.
        label: The object's name, which Keras writes since 3.6.
        children: The objects below it by group name, in the order in which they were written.
        is_object: It has a place for variables of its own; a list or dictionary of objects has none.
    """

    __slots__ = ("children", "group", "is_object", "label", "own")

    def __init__(self, group: str = "") -> None:
        self.group = group
        self.own: list[TensorRef] = []
        self.label: str | None = None
        self.children: dict[str, SavedNode] = {}
        self.is_object = False

    @property
    def has_weights(self) -> bool:
        """Whether it or anything below it stores a variable."""
        pending = [self]
        while pending:
            node = pending.pop()
            if node.own:
                return True
            pending.extend(node.children.values())
        return False


class Child(NamedTuple):
    """An object below another one.

    Attributes:
        group: Its group.
        node: What is saved of it.
        loose: Nothing tells its place among its siblings, but perhaps its number.
        stem: What the name that Keras gave it begins with; siblings of one stem are in order.
    """

    group: str
    node: SavedNode
    loose: bool = False
    stem: str = ""


def ordered_children(class_name: str, node: SavedNode) -> list[Child]:
    """What is below an object that no configuration describes, in order of creation as far as it is known.

    Args:
        class_name: The object's class; "" where it is not known.
        node: The object.
    """
    known = CHILD_ORDER.get(class_name, ())
    stripped = {group.lstrip("_"): group for group in node.children}
    first = [stripped[name] for name in known if name in stripped]
    held = {group: child for group, child in node.children.items() if group not in first}
    if first or not node.is_object:  # a list is written in its own order, a dictionary as well
        return [Child(group, node.children[group]) for group in (*first, *counted(list(held)))]
    return _by_numbers(_flattened(held))


def _flattened(held: Mapping[str, SavedNode]) -> dict[str, SavedNode]:
    """A subclassed model's sub-objects: `layers` holds those that no attribute before it in the alphabet does."""
    holder = held.get(CONTAINERS[0])
    if holder is None or holder.is_object or len(held) == 1:
        return dict(held)
    found: dict[str, SavedNode] = {}
    for group, child in held.items():
        inside = counted(list(child.children)) if child is holder else ()
        found.update({f"{group}/{name}": child.children[name] for name in inside} or {group: child})
    return found


def _by_numbers(held: Mapping[str, SavedNode]) -> list[Child]:
    """Siblings by the numbers in the names that Keras gave to them, or to what is below them."""
    groups = list(held)
    stems = {group: _stems(child) for group, child in held.items()}
    weighty = [group for group in groups if held[group].has_weights]
    if len(weighty) < 2:  # noqa: PLR2004
        return [Child(group, held[group]) for group in groups]
    rest = set(groups).difference(weighty)
    light = [Child(group, held[group]) for group in groups if group in rest]
    common = set.intersection(*(set(stems[group]) for group in weighty))
    for stem in sorted(common):
        if len({stems[group][stem] for group in weighty}) == len(weighty):
            order = sorted(weighty, key=lambda group: stems[group][stem])
            return [*(Child(group, held[group]) for group in order), *light]
    firsts = {group: min(stems[group].items(), key=lambda item: item[1], default=("", 0)) for group in weighty}
    alike: dict[str, list[str]] = {}
    for group in weighty:
        alike.setdefault(firsts[group][0], []).append(group)
    queues = {stem: iter(sorted(each, key=lambda group: firsts[group][1])) for stem, each in alike.items()}
    order = [next(queues[firsts[group][0]]) for group in weighty]
    return [*(Child(group, held[group], loose=True, stem=firsts[group][0]) for group in order), *light]


def _stems(node: SavedNode) -> dict[str, int]:
    """The names that Keras may have given at or below a node: what each begins with, and its lowest number."""
    found: dict[str, int] = {}
    pending: list[tuple[SavedNode, int]] = [(node, 0)]
    while pending and len(found) < _MOST_STEMS:
        each, depth = pending.pop()
        if each.label is not None and (each.own or each.children):
            stem, number = split(each.label)
            found[stem] = min(number, found.get(stem, number))
        if depth < MAX_DEPTH:
            pending.extend((child, depth + 1) for child in each.children.values())
    return found


def split(name: str) -> tuple[str, int]:
    """A counted name's stem and number: `dense_4` is (`dense`, 4), `dense` is (`dense`, 0)."""
    match = _COUNTER.fullmatch(name)
    return (match.group(1), int(match.group(2))) if match else (name, 0)


def counted(groups: Sequence[str]) -> list[str]:
    """Groups in the order of writing, but those that only a counter tells apart (`dense`, `dense_1`) in its order.

    HDF5 reuses the place of a table that it outgrew, so that one of the last groups may seem to be the first.
    """
    numbered: dict[str, list[tuple[int, str]]] = {}
    for group in groups:
        stem, number = split(group)
        numbered.setdefault(stem, []).append((number, group))
    queues = {stem: iter(sorted(members)) for stem, members in numbered.items()}
    return [next(queues[split(group)[0]])[1] for group in groups]
