"""Object-based checkpoints from a few lines of Python: nodes, the optimizers of each generation, and their keys."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from support.bundles import Tensor, array, strings, write_bundle

from ckptdoctor.containers.bundles.object_graph import GRAPH_KEY
from ckptdoctor.containers.protos import checkpoint_pb2 as pb

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


@dataclass(eq=False)
class Node:
    """An object: its attributes that are objects, its value if it is a variable, the slots that it links.

    Attributes:
        children: Attribute name → object.
        value: Its value, if it is a variable.
        full_name: The variable's own name.
        slots: (variable, slot name, slot variable).
        stored: False: the graph names the value, the bundle lacks it.
    """

    children: dict[str, Node] = field(default_factory=dict)
    value: Tensor | None = None
    full_name: str = ""
    slots: list[tuple[Node, str, Node]] = field(default_factory=list)
    stored: bool = True


def variable(values: Any, full_name: str = "", dtype: str = "float32") -> Node:
    """A variable."""
    return Node(value=values if isinstance(values, Tensor) else array(values, dtype), full_name=full_name)


def tracked(**children: Node) -> Node:
    """An object with these attributes."""
    return Node(children)


def listed(items: Sequence[Node]) -> Node:
    """A list, as TensorFlow tracks it."""
    return Node({str(number): each for number, each in enumerate(items)})


def model(names: Mapping[str, tuple[int, ...]] | None = None, *, fill: float = 1.0) -> Node:
    """A model of layers: `hidden/kernel` → shape. Every variable is filled with another number."""
    names = names or {"hidden/kernel": (3, 4), "hidden/bias": (4,), "out/kernel": (4, 1), "out/bias": (1,)}
    root = Node()
    for number, (name, shape) in enumerate(names.items()):
        *parents, last = name.split("/")
        at = root
        for each in parents:
            at = at.children.setdefault(each, Node())
        at.children[last] = variable(_filled(shape, fill + number), name)
    return root


def variables(node: Node) -> list[Node]:
    """A model's variables, in order."""
    own = [node] if node.value is not None else []
    return own + [each for child in node.children.values() for each in variables(child)]


def _filled(shape: tuple[int, ...], value: float) -> Tensor:
    import numpy as np

    return array(np.full(shape, value))


def _slot(of: Node, full_name: str, value: float = 0.5) -> Node:
    shape = of.value.shape if of.value is not None else ()
    return variable(_filled(shape, value), full_name)


# ---------------------------------------------------------------------------------------------------------- optimizers


def legacy(
    trained: Sequence[Node],
    *,
    iterations: int | None = 7,
    slots: Sequence[str] = ("m", "v"),
    scalars: Mapping[str, float] | None = None,
    name: str = "Adam",
) -> Node:
    """An OptimizerV2: `iter`, its scalars, and linked slots, all of one kind first."""
    node = Node()
    if iterations is not None:
        node.children["iter"] = variable(array(iterations, "int64"), f"{name}/iter")
    if scalars is None:
        scalars = {"learning_rate": 0.001, "decay": 0.0, "beta_1": 0.9, "beta_2": 0.999}
    node.children |= {each: variable(value, f"{name}/{each}") for each, value in scalars.items()}
    for kind in slots:
        node.slots += [(each, kind, _slot(each, f"{name}/{each.full_name}/{kind}")) for each in trained]
    return node


def tf1(trained: Sequence[Node], *, steps: int = 7, slots: Sequence[str] = ("m", "v")) -> Node:
    """A tf.compat.v1 Adam in a tf.train.Checkpoint: beta powers, linked slots, no count."""
    node = tracked(
        beta1_power=variable(0.9 ** (steps + 1), "beta1_power"),
        beta2_power=variable(0.999 ** (steps + 1), "beta2_power"),
    )
    for kind in slots:
        node.slots += [(each, kind, _slot(each, f"{each.full_name}/Adam")) for each in trained]
    return node


ADAM_LISTS = {"_momentums": "m", "_velocities": "v"}


def keras2(
    trained: Sequence[Node],
    *,
    iterations: int = 7,
    lists: Mapping[str, str] | None = None,
    name: str = "Adam",
) -> Node:
    """A rewritten optimizer of 2.11+: `_variables`, one list a kind; names are all that ties slots to variables."""
    lists = ADAM_LISTS if lists is None else lists
    count = variable(array(iterations, "int64"), "iteration")
    slots = {
        attribute: [_slot(each, f"{name}/{tag}/{each.full_name}") for each in trained]
        for attribute, tag in lists.items()
    }
    alternating = [slots[attribute][number] for number in range(len(trained)) for attribute in slots]
    return Node(
        {
            "_iterations": count,
            "_learning_rate": variable(0.001, "learning_rate"),
            "_variables": listed([count, *alternating]),
            "_index_dict": Node(),
            **{attribute: listed(each) for attribute, each in slots.items()},
        }
    )


ADAM_SUFFIXES = {"_momentums": "momentum", "_velocities": "velocity"}


def keras3(
    trained: Sequence[Node],
    *,
    iterations: int = 7,
    lists: Mapping[str, str] | None = None,
    filled: bool = True,
    name: str = "adam",
) -> Node:
    """A Keras 3 optimizer: it lists what it trains, `_variables` has the learning rate, lists are filled since 3.10."""
    lists = ADAM_SUFFIXES if lists is None else lists
    count = variable(array(iterations, "int64"), f"{name}/iteration")
    rate = variable(0.001, f"{name}/learning_rate")
    slots = {
        attribute: [_slot(each, f"{name}/{each.full_name.replace('/', '_')}_{suffix}") for each in trained]
        for attribute, suffix in lists.items()
    }
    alternating = [slots[attribute][number] for number in range(len(trained)) for attribute in slots]
    return Node(
        {
            "_iterations": count,
            "_learning_rate": rate,
            "_variables": listed([count, rate, *alternating]),
            "_trainable_variables": listed(trained),
            "_trainable_variables_indices": Node(),
            **{attribute: listed(each if filled else []) for attribute, each in slots.items()},
        }
    )


# --------------------------------------------------------------------------------------------------------- checkpoints


def checkpoint(root: Node, *, save_counter: int | None = 1) -> dict[str, Tensor]:
    """The tensors of a `tf.train.Checkpoint` of these objects, its object graph among them.

    As in TensorFlow, a key is the shortest path to its variable, and a slot is stored only with its variable.
    """
    if save_counter is not None:
        root.children["save_counter"] = variable(array(save_counter, "int64"), "save_counter")
    paths: dict[int, str] = {id(root): ""}
    nodes = [root]
    for node in nodes:
        for name, child in node.children.items():
            if id(child) not in paths:
                paths[id(child)] = f"{paths[id(node)]}/{_escaped(name)}".lstrip("/")
                nodes.append(child)
    links = [(node, *link) for node in nodes for link in node.slots if id(link[0]) in paths]
    for optimizer, owner, name, slot in links:
        paths[id(slot)] = f"{paths[id(owner)]}/.OPTIMIZER_SLOT/{paths[id(optimizer)]}/{_escaped(name)}"
        nodes.append(slot)
    numbers = {id(node): number for number, node in enumerate(nodes)}
    tensors: dict[str, Tensor] = {}
    graph = pb.TrackableObjectGraph()
    for node in nodes:
        made = graph.nodes.add()
        for name, child in node.children.items():
            made.children.add(node_id=numbers[id(child)], local_name=name)
        for owner, name, slot in node.slots:
            if id(owner) in paths:
                made.slot_variables.add(
                    original_variable_node_id=numbers[id(owner)],
                    slot_name=name,
                    slot_variable_node_id=numbers[id(slot)],
                )
        if node.value is not None:
            key = paths[id(node)] + _SUFFIX
            made.attributes.add(name="VARIABLE_VALUE", full_name=node.full_name, checkpoint_key=key)
            if node.stored:
                tensors[key] = node.value
    tensors[GRAPH_KEY] = strings(graph.SerializeToString())
    return tensors


def _escaped(name: str) -> str:
    return name.replace(".", "..").replace("/", ".S")


def write_objects(prefix: str | os.PathLike[str], root: Node, **options: Any) -> str:
    """Writes a checkpoint of these objects; answers its prefix."""
    return write_bundle(prefix, checkpoint(root), **options)


def write_model(prefix: str | os.PathLike[str], iterations: int = 7, **options: Any) -> str:
    """A model of two layers and its Adam, by TensorFlow 2.10: what most tests need."""
    net = model()
    return write_objects(prefix, tracked(model=net, optimizer=legacy(variables(net), iterations=iterations)), **options)
