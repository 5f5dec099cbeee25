"""The trackable object graph: which Python object held which variable when a checkpoint was written.

Stored as a string tensor under `_CHECKPOINTABLE_OBJECT_GRAPH` (tensorflow/core/protobuf/trackable_object_graph.proto).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.tensor_bundle import TensorBundle, decode_name, read_strings
from ckptdoctor.errors import UnreadableArtifact

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
VARIABLE_VALUE = "VARIABLE_VALUE"


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
        attributes: Names of everything that it saves (`VARIABLE_VALUE`, `OBJECT_CONFIG_JSON`).
    """

    children: dict[str, int]
    key: str | None
    full_name: str
    slots: tuple[SlotLink, ...]
    attributes: tuple[tuple[str, str], ...]

    @property
    def is_variable(self) -> bool:
        """Whether it holds a value in the checkpoint."""
        return self.key is not None


@dataclass(frozen=True, slots=True)
class ObjectGraph:
    """All nodes; node 0 is the root."""

    nodes: tuple[Node, ...]

    def paths(self, *, skip: Collection[str] = ()) -> dict[int, str]:
        """The shortest path from the root to each node that children reach, `/`-separated.

        Args:
            skip: Child names that are not followed.
        """
        found = {0: ""}
        queue = [0]
        for index in queue:
            prefix = f"{found[index]}/" if found[index] else ""
            for name, child in self.nodes[index].children.items():
                if child not in found and name not in skip:
                    found[child] = prefix + name
                    queue.append(child)
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
    count = len(graph.nodes)
    if not count:
        raise UnreadableArtifact("the object graph has no nodes", path)
    nodes: list[Node] = []
    for node in graph.nodes:
        children = {decode_name(child.local_name): child.node_id for child in node.children}
        key, full_name = None, ""
        attributes: list[tuple[str, str]] = []
        for attribute in node.attributes:
            name, where = decode_name(attribute.name), decode_name(attribute.checkpoint_key)
            attributes.append((name, where))
            if name == VARIABLE_VALUE:
                key, full_name = where, decode_name(attribute.full_name)
        slots = tuple(
            SlotLink(slot.original_variable_node_id, decode_name(slot.slot_name), slot.slot_variable_node_id)
            for slot in node.slot_variables
        )
        if not (
            all(0 <= child < count for child in children.values())
            and all(0 <= slot.variable < count and 0 <= slot.slot < count for slot in slots)
        ):
            raise UnreadableArtifact(
                f"node {len(nodes)} of the object graph refers to a node that does not exist", path
            )
        nodes.append(Node(children, key, full_name, slots, tuple(attributes)))
    return ObjectGraph(tuple(nodes))
