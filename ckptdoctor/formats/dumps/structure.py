"""What people pickle around an optimizer's weights: the lists and dicts of arrays in a dump, found and labelled.

A dump has no format of its own. Seen in the wild: the bare list; `(model_weights, optimizer_weights)`;
`{"optimizer": […], "epoch": 3}`; `{name: array}` and `[(name, array), …]`; `{"m": […], "v": […], "t": 7}`; the
configuration beside any of them.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ckptdoctor.containers.pickles.reading import Key, Node
from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.optimizers.catalogue import LAYOUTS
from ckptdoctor.optimizers.inference import class_of_name
from ckptdoctor.optimizers.keras.config import OptimizerConfig, read_config
from ckptdoctor.references import Inline, TensorRef
from ckptdoctor.state import Scalar

COUNT_NAMES = frozenset({"iterations", "iteration", "iter", "step", "steps", "t", "global_step"})
"""Keys under which a hand-made dict of slots keeps its count."""

_OPTIMIZER = re.compile(r"opt|adam|sgd|rmsprop|adagrad|adadelta|ftrl|moment", re.IGNORECASE)
_MODEL = re.compile(r"weight|model|param|layer|net|variables|encoder|decoder", re.IGNORECASE)
_MAX_NAME = 1000
_MAX_HEAD = 8

SLOT_TAGS = frozenset(kind.name for layout in LAYOUTS for kind in layout.kinds)
"""Every name of a slot kind: what the keys of a hand-made dict of slots are."""


@dataclass(frozen=True, slots=True)
class Element:
    """An array or number of a group, with its value and name where it has one; `plain` numbers are Python's own."""

    tensor: TensorRef
    value: Scalar | None = None
    name: str | None = None
    plain: bool = False

    @property
    def count(self) -> int | None:
        """The whole number that it is, also where it is stored as a float; None for everything else."""
        if isinstance(self.value, (int, float)) and not isinstance(self.value, bool):
            return int(self.value) if abs(self.value) < 1 << 63 and self.value % 1 == 0 else None
        return None


@dataclass(frozen=True, slots=True)
class Group:
    """Arrays that belong together.

    Attributes:
        label: The keys that lead to it (`optimizer`, `gen/optimizer`); "" for the dump itself.
        elements: In the dump's order.
        config: A configuration that stands beside it.
        tags: For a dict of slots by kind, the kind of each element.
    """

    label: str
    elements: tuple[Element, ...]
    config: OptimizerConfig | None = None
    tags: tuple[str | None, ...] = ()

    @property
    def named(self) -> bool:
        """Whether every element has a name."""
        return bool(self.elements) and all(each.name is not None for each in self.elements)

    @property
    def says_optimizer(self) -> bool:
        """Whether the dump calls it an optimizer's."""
        return self.config is not None or _OPTIMIZER.search(self.label) is not None

    @property
    def says_model(self) -> bool:
        """Whether the dump calls it a model's."""
        return not self.says_optimizer and _MODEL.search(self.label) is not None


@dataclass(slots=True)
class Contents:
    """Everything in a dump: groups of arrays, counts by name, and arrays that stand alone."""

    groups: list[Group] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    counter_tensors: dict[str, TensorRef] = field(default_factory=dict)
    others: list[TensorRef] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the structure the walk is: the keys that lead there, as labels and as Python would write them."""

    labels: tuple[str, ...] = ()
    written: str = ""

    def below(self, key: object) -> _Place:
        """The place of an element."""
        return _Place((*self.labels, _name(key)), f"{self.written}[{_short(key)!r}]")

    @property
    def label(self) -> str:
        """The keys, joined."""
        return "/".join(self.labels)


def contents(root: Node) -> Contents:
    """Finds the groups of arrays in a structure."""
    found = Contents()
    _walk(root, _Place(), None, found)
    return found


def _walk(node: Node, place: _Place, config: OptimizerConfig | None, found: Contents) -> None:
    if isinstance(node, TensorRef):
        found.others.append(node)
    elif isinstance(node, dict):
        _walk_dict(node, place, config, found)
    elif isinstance(node, (list, tuple)):
        _walk_list(node, place, config, found)


def _walk_list(node: Sequence[Node], place: _Place, config: OptimizerConfig | None, found: Contents) -> None:
    pairs = _pairs(node)
    if pairs:
        elements = [element(value, f"{place.written}[{index}][1]", name) for index, (name, value) in enumerate(pairs)]
        found.groups.append(Group(place.label, tuple(elements), config))
    elif all(_is_leaf(each) for each in node):
        # Numbers alone, and many of them, are a history; the longest head of an optimizer has six.
        arrays = [each for each in node if isinstance(each, TensorRef)]
        if any(each.shape for each in arrays) or (arrays and len(node) <= _MAX_HEAD):
            elements = [element(each, f"{place.written}[{index}]") for index, each in enumerate(node)]
            found.groups.append(Group(place.label, tuple(elements), config))
    else:
        configs = [one for each in node if (one := _configuration(each)) is not None]
        beside = configs[0] if len(configs) == 1 else config
        for index, each in enumerate(node):
            if _configuration(each) is None:
                _walk(each, place.below(index), beside, found)


def _walk_dict(node: dict[Key, Node], place: _Place, config: OptimizerConfig | None, found: Contents) -> None:
    config = _configuration(node) or next(
        (one for each in node.values() if (one := _configuration(each)) is not None), config
    )
    tagged = _tagged(node, place)
    if tagged:
        elements, tags = zip(*tagged, strict=True)
        found.groups.append(Group(place.label, elements, config, tags))
        return
    shaped = any(isinstance(value, TensorRef) and value.shape for value in node.values())
    numbered = all(isinstance(key, int) for key in node)
    group: list[Element] = []
    for key, value in node.items():
        if not _is_leaf(value):
            if _configuration(value) is None:
                _walk(value, place.below(key), config, found)
            continue
        leaf = element(value, place.below(key).written, None if numbered else _name(key))
        if shaped and isinstance(value, TensorRef):
            group.append(leaf)
        elif leaf.count is not None and not isinstance(value, float):
            found.counters.setdefault(_name(key), leaf.count)
            if isinstance(value, TensorRef):
                found.counter_tensors.setdefault(_name(key), value)
        elif isinstance(value, TensorRef):
            found.others.append(value)
    if group:
        found.groups.append(Group(place.label, tuple(group), config))


def _tagged(node: dict[Key, Node], place: _Place) -> list[tuple[Element, str | None]]:
    """The elements of a dict whose keys are kinds of slots, each with its kind; the count has none."""
    kinds = [key for key in node if isinstance(key, str) and key in SLOT_TAGS and _arrays(node[key])]
    shaped = [key for key in kinds if not isinstance(node[key], TensorRef)]
    if not shaped:
        return []
    found: list[tuple[Element, str | None]] = []
    for key, value in node.items():
        if key in COUNT_NAMES and _is_leaf(value):
            found.append((element(value, place.below(key).written), None))
        elif key in shaped:
            found.extend((element(each, place.below(key).written, name), str(key)) for name, each in _arrays(value))
    return found


def _arrays(node: Node) -> list[tuple[str | None, Node]]:
    """The arrays of a list or dict that holds nothing else, with their names."""
    if isinstance(node, dict):
        named = [(_name(key), value) for key, value in node.items()]
        return list(named) if all(isinstance(value, TensorRef) for _, value in named) else []
    if isinstance(node, (list, tuple)) and not isinstance(node, TensorRef):
        return [(None, each) for each in node] if all(isinstance(each, TensorRef) for each in node) else []
    return []


def _pairs(node: Sequence[Node]) -> list[tuple[str, Node]]:
    """`[(name, array), …]`, or nothing."""
    found: list[tuple[str, Node]] = []
    for each in node:
        match each:
            case TensorRef():
                return []
            case (str() as name, value) if _is_leaf(value):
                found.append((name[:_MAX_NAME], value))
            case _:
                return []
    return found


def _is_leaf(node: Node) -> bool:
    return isinstance(node, (TensorRef, int, float)) and not isinstance(node, bool)


def _name(key: object) -> str:
    return (key if isinstance(key, str) else str(key))[:_MAX_NAME]


def _short(key: object) -> object:
    return key[:_MAX_NAME] if isinstance(key, str) else key


def element(node: Node, place: str = "", name: str | None = None) -> Element:
    """An array or number as an element.

    Args:
        node: A TensorRef, or one of Python's own numbers, which gets a tensor that carries it.
        place: The key of such a tensor.
        name: What the dump calls it.
    """
    if isinstance(node, TensorRef):
        return Element(node, _scalar(node), name)
    if isinstance(node, int) and -(1 << 63) <= node < 1 << 63:
        return Element(TensorRef(place, "int64", (), Inline(struct.pack("<q", node))), node, name, plain=True)
    number = float(node) if isinstance(node, float) else math.inf
    return Element(TensorRef(place, "float64", (), Inline(struct.pack("<d", number))), number, name, plain=True)


def _scalar(ref: TensorRef) -> Scalar | None:
    return read_scalar(ref) if ref.shape == () and ref.dtype != "string" else None


def _configuration(node: Node) -> OptimizerConfig | None:
    """`serialize(optimizer)` or `optimizer.get_config()`, pickled."""
    if not isinstance(node, dict):
        return None
    plain = _plain(node)
    if isinstance(plain.get("class_name"), str) and isinstance(plain.get("config"), Mapping):
        return read_config(plain)
    name = plain.get("name")
    if ("learning_rate" in plain or "lr" in plain) and isinstance(name, str) and class_of_name(name):
        return read_config({"class_name": class_of_name(name), "config": plain})
    return None


def _plain(node: dict[Key, Node]) -> dict[str, object]:
    """A configuration with numpy's numbers as Python's."""
    found: dict[str, object] = {}
    for key, value in node.items():
        if isinstance(value, TensorRef):
            found[str(key)] = _scalar(value) if value.shape == () else None
        else:
            found[str(key)] = _plain(value) if isinstance(value, Mapping) else value
    return found
