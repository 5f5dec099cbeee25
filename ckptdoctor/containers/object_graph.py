"""The trackable object graph: which Python object held which variable when a checkpoint was written.

Stored as a string tensor under `_CHECKPOINTABLE_OBJECT_GRAPH` (tensorflow/core/protobuf/trackable_object_graph.proto).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.tensor_bundle import TensorBundle, read_strings
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
VARIABLE_VALUE = "VARIABLE_VALUE"
MAX_PATHS = 1 << 24
MEAN_PATH = 256
"""Characters of all paths together: a chain of 100,000 objects would have ten thousand million, real paths have 60."""


class SlotLink(NamedTuple):
    """An optimizer's own record: this node is its `name` slot for that variable."""

    variable: int
    name: str
    slot: int


class Node(NamedTuple):
    """An object of the graph.

    Attributes:
        children: Attribute name → node.
        key: Checkpoint key of its value, if it is a variable.
        full_name: The variable's own name.
        slots: Slot variables, if it is an optimizer that links them.
        others: Name and key of what it saves besides a value (`OBJECT_CONFIG_JSON`).
    """

    children: dict[str, int]
    key: str | None
    full_name: str
    slots: tuple[SlotLink, ...]
    others: tuple[tuple[str, str], ...]

    @property
    def is_variable(self) -> bool:
        """Whether it holds a value in the checkpoint."""
        return self.key is not None


_NONE: dict[str, int] = {}


class ObjectGraph(NamedTuple):
    """All nodes; node 0 is the root."""

    nodes: tuple[Node, ...]

    def paths(self, *, skip: Collection[str] = ()) -> dict[int, str]:
        """The shortest path from the root to each node that children reach, `/`-separated.

        Args:
            skip: Child names that are not followed.

        Raises:
            LimitExceeded: The paths are longer than any program's objects are nested.
        """
        found = {0: ""}
        queue = [0]
        left = MAX_PATHS + MEAN_PATH * len(self.nodes)
        for index in queue:
            prefix = f"{found[index]}/" if found[index] else ""
            for name, child in self.nodes[index].children.items():
                if child not in found and name not in skip:
                    found[child] = prefix + name
                    queue.append(child)
                    left -= len(prefix)
            if left < 0:
                raise LimitExceeded("the object graph is nested deeper than its paths can be told: corrupt or hostile")
        return found

    def listed(self, node: int) -> Iterator[tuple[int, int]]:
        """The numbered children of a list node, as (index, node), in order."""
        numbered = ((int(name), child) for name, child in self.nodes[node].children.items() if is_index(name))
        return iter(sorted(numbered))


def is_index(name: str) -> bool:
    """Whether a child's name is a list index."""
    return name.isascii() and name.isdigit() and len(name) < 10


def read_object_graph(bundle: TensorBundle) -> ObjectGraph | None:
    """Reads a bundle's object graph; None if it is a name-based checkpoint.

    Raises:
        UnreadableArtifact: The graph is corrupt, or refers to nodes that do not exist.
    """
    ref = bundle.tensors.get(GRAPH_KEY)
    if ref is None:
        return None
    strings = read_strings(ref)
    if len(strings) != 1:
        raise UnreadableArtifact(f"{GRAPH_KEY} should be one string, but is {len(strings)}", bundle.prefix)
    return parse_object_graph(strings[0], bundle.prefix)


def parse_object_graph(data: bytes, path: str) -> ObjectGraph:
    """Parses a serialized TrackableObjectGraph.

    Raises:
        UnreadableArtifact: It is corrupt, empty, or refers to nodes that do not exist.
    """
    from google.protobuf.message import DecodeError

    try:
        graph = pb.TrackableObjectGraph.FromString(data)
    except DecodeError as error:
        raise UnreadableArtifact("the object graph is no protocol buffer: it is corrupt", path) from error
    if not graph.nodes:
        raise UnreadableArtifact("the object graph has no nodes", path)
    nodes = tuple([_node(node) for node in graph.nodes])
    last = len(nodes) - 1
    for index, node in enumerate(nodes):
        if not _refers_within(node, last):
            raise UnreadableArtifact(f"node {index} of the object graph refers to a node that does not exist", path)
    return ObjectGraph(nodes)


def _node(node: pb.TrackableObject) -> Node:
    """One node. Most are variables without children: they share their empty parts."""
    listed, linked = node.children, node.slot_variables
    children = {child.local_name: child.node_id for child in listed} if listed else _NONE
    slots: tuple[SlotLink, ...] = ()
    if linked:
        slots = tuple([SlotLink(s.original_variable_node_id, s.slot_name, s.slot_variable_node_id) for s in linked])
    key, full_name = None, ""
    others: list[tuple[str, str]] | None = None
    for attribute in node.attributes:
        if attribute.name == VARIABLE_VALUE:
            key, full_name = attribute.checkpoint_key, attribute.full_name
        elif others is None:
            others = [(attribute.name, attribute.checkpoint_key)]
        else:
            others.append((attribute.name, attribute.checkpoint_key))
    return Node(children, key, full_name, slots, tuple(others) if others else ())


def _refers_within(node: Node, last: int) -> bool:
    """Whether every node that this one refers to exists."""
    if node.children and not 0 <= min(node.children.values()) <= max(node.children.values()) <= last:
        return False
    return not node.slots or all(0 <= link.variable <= last and 0 <= link.slot <= last for link in node.slots)
