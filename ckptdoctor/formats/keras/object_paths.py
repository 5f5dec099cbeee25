"""Where a model's variables hang in a TensorFlow checkpoint of it, by its configuration and its groups in an archive.

Both hold the same objects: `.keras` by class and count (`layers/dense_1/vars/0`), an object graph by the attributes and
lists that TensorFlow tracks (`_operations/2/_kernel` of Keras 3, `layer-2/kernel` before it). Attributes that hold
layers are the same in both; those of variables are what their classes call them. Measured on Keras 3.15, tf_keras 2.21.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.keras.configurations import (
    class_of,
    inner_config,
    layer_configs,
    layer_groups,
    name_of,
    settings_of,
)  # fmt: skip
from ckptdoctor.formats.keras.layers import CHILD_ORDER, OTHER_NAMES, class_of_group, snake_case, weight_names
from ckptdoctor.formats.keras.nodes import CONTAINERS, SavedNode
from ckptdoctor.formats.keras.optimizer_groups import VARS
from ckptdoctor.formats.keras.tree import portable
from ckptdoctor.state import Generation, ModelVariable

Config: TypeAlias = Mapping[str, object]
Steps: TypeAlias = tuple[tuple[str, ...], ...]
"""From the model on, the names of each object below the one before it: Keras 3 and earlier ones differ in some."""

_ATTRIBUTES = frozenset({"layer", "cell", *(name for names in CHILD_ORDER.values() for name in names)})
"""Attributes of Keras' own layers that hold a layer."""
_OPERATIONS = re.compile(r"\.ops(\.|$)")
"""The modules of what is no layer."""
_UNTRACKED = "seed_generator"
"""One that holds what TensorFlow does not track."""


class ObjectPaths(NamedTuple):
    """A model in an object graph.

    Attributes:
        variables: Each variable and the way to it.
        lists: The way to each list of layers, or to the model that lists them itself → what its members are called.
            Operations (`x + y` in Keras 3) have their place in the list and no object.
        untracked: Variables that no object graph has: the random state of dropout.
    """

    variables: tuple[tuple[ModelVariable, Steps], ...]
    lists: Mapping[Steps, tuple[str, ...]]
    untracked: tuple[ModelVariable, ...]


def object_paths(config: object, variables: Sequence[ModelVariable], generation: Generation) -> ObjectPaths:
    """The way through the objects to each variable of a model.

    Args:
        config: The model's configuration.
        variables: Its variables as they are read from a `.keras` archive.
        generation: `KERAS3` for the objects of Keras 3, else those of tf.keras and tf_keras.

    Raises:
        GraftRefused: It is no Sequential or functional model, or has layers whose attributes only their code knows.
    """
    if not isinstance(config, Mapping) or not layer_configs(config):
        raise GraftRefused("it is no Sequential or functional model, whose code alone knows its layers")
    walk = _Walk(generation, variables)
    walk.model(config, walk.root, ())
    lost = [each.path for each in variables if each.tensor.key not in walk.found]
    if lost:
        raise GraftRefused(f"{lost[0]} is in no list of the model's configuration: only its code knows its place")
    return ObjectPaths(
        tuple((each, steps) for each in variables if (steps := walk.found[each.tensor.key]) is not None),
        walk.lists,
        tuple(each for each in variables if walk.found[each.tensor.key] is None),
    )


class _Walk:
    """The objects of one model, from the outermost in."""

    def __init__(self, generation: Generation, variables: Sequence[ModelVariable]) -> None:
        self.of_keras3 = generation is Generation.KERAS3
        self.root = SavedNode()
        self.found: dict[str, Steps | None] = {}
        self.lists: dict[Steps, tuple[str, ...]] = {}
        for each in variables:
            node = self.root
            for part in portable(each.tensor.key).split("/")[:-1]:
                node = node.children.setdefault(part, SavedNode(part)) if part != VARS else node
            node.own.append(each.tensor)

    def model(self, config: Config, node: SavedNode, steps: Steps) -> None:
        """A model with a list of layers."""
        container = next((each for each in CONTAINERS if each in node.children), None)
        if container is None:
            return
        layers = layer_configs(config)
        is_row = "input_layers" not in settings_of(config)
        if is_row and not self.of_keras3:
            layers = [each for each in layers if class_of(each) != "InputLayer"]
        if self.of_keras3:
            steps = (*steps, *((("_functional",),) if is_row else ()), ("_operations",))
        called = {id(each): str(at) if self.of_keras3 else f"layer-{at}" for at, each in enumerate(layers)}
        self.lists[steps] = tuple(called[id(each)] for each in layers if not _is_operation(each))
        holder = node.children[container]
        for group, layer in layer_groups(holder, layer_configs(config), container):
            self._layer(holder.children[group], class_of(layer), layer, (*steps, (called[id(layer)],)))

    def _layer(self, node: SavedNode, class_name: str, config: Config | None, steps: Steps) -> None:
        if config is not None and layer_configs(config):
            self.model(config, node, steps)
            return
        names = weight_names(class_name, len(node.own), settings_of(config) if config is not None else None)
        strange = [each for each in node.children if each.lstrip("_") not in {*_ATTRIBUTES, _UNTRACKED}]
        if strange or (node.own and names is None):
            called = name_of(config) if config is not None else ""
            raise GraftRefused(
                f"{called or node.group} is a {class_name or 'layer'}: by which attributes it holds its weights only "
                "its code knows"
            )
        for ref, name in zip(node.own, names or (), strict=True):
            self.found[ref.key] = (*steps, (name, f"_{name}", *OTHER_NAMES.get(name, ())))
        for group, child in node.children.items():
            about = inner_config(config, group)
            inner = class_of(about) or class_of_group(group, snake_case(class_name)) or ""
            plain = group.lstrip("_")
            if plain == _UNTRACKED:
                self.found.update((each.key, None) for each in child.own)
                continue
            self._layer(child, inner, about, (*steps, (plain, f"_{plain}")))


def _is_operation(layer: Config) -> bool:
    return bool(_OPERATIONS.search(str(layer.get("module"))))
