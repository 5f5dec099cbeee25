"""The trackable object graph: which Python object held which variable when a checkpoint was written.

Stored as a string tensor under `_CHECKPOINTABLE_OBJECT_GRAPH` (tensorflow/core/protobuf/trackable_object_graph.proto).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from ckptdoctor.containers.bundles.graph_nodes import Node, make_node, read_nodes
from ckptdoctor.containers.bundles.reading import TensorBundle, read_strings
from ckptdoctor.containers.tables.messages import Message
from ckptdoctor.containers.tables.wire import CorruptBytes
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import TensorRef
from ckptdoctor.state import NOTHING

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
MAX_PATHS = 1 << 24
MEAN_PATH = 256
"""Characters of all paths together: a chain of 100,000 objects would have ten thousand million, real paths have 60."""


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
        nodes = self.nodes
        left = MAX_PATHS + MEAN_PATH * len(nodes)
        for index in queue:
            prefix = f"{found[index]}/" if found[index] else ""
            for name, child in nodes[index].children.items():
                if child not in found and name not in skip:
                    found[child] = prefix + name
                    if nodes[child][0]:  # children of its own
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
    return parse_object_graph(strings[0], bundle.prefix, bundle.tensors)


def parse_object_graph(data: bytes, path: str, tensors: Mapping[str, TensorRef] = NOTHING) -> ObjectGraph:
    """Parses a serialized TrackableObjectGraph; the checkpoints of a run have the same one, which is parsed once.

    Args:
        data: The graph.
        path: What it is read from.
        tensors: Those that it refers to by their keys, which need not be there twice.

    Raises:
        UnreadableArtifact: It is corrupt, empty, or refers to nodes that do not exist.
    """
    known = _last.get(data)
    if known is not None:
        return known
    nodes = _read(data, path, tensors)
    if not nodes:
        raise UnreadableArtifact("the object graph has no nodes", path)
    lost = _refers_to_nothing(nodes)
    if lost is not None:
        raise UnreadableArtifact(f"node {lost} of the object graph refers to a node that does not exist", path)
    graph = ObjectGraph(tuple(nodes))
    _last.clear()
    if len(data) <= _MOST_KEPT:
        _last[data] = graph
    return graph


_last: dict[bytes, ObjectGraph] = {}
"""The last graph, by its bytes."""
_MOST_KEPT = 1 << 24
"""Bytes of a graph that is kept: that of 100,000 variables."""


def _read(data: bytes, path: str, tensors: Mapping[str, TensorRef]) -> list[Node]:
    """By hand, unless anything in it is unusual."""
    with suppress(CorruptBytes):
        return read_nodes(data, tensors)
    try:
        return [make_node(node) for node in Message(data).messages(1)]
    except CorruptBytes as error:
        raise UnreadableArtifact("the object graph is no protocol buffer: it is corrupt", path) from error


def _refers_to_nothing(nodes: Sequence[Node]) -> int | None:
    """The first node that refers to one that does not exist; None if all exist."""
    everything = range(len(nodes))
    children = [node.children.values() for node in nodes if node.children]
    ends = [at for node in nodes if node.slots for variable, _, slot in node.slots for at in (variable, slot)]
    lowest, highest = min([0, *ends, *map(min, children)]), max([0, *ends, *map(max, children)])
    if lowest in everything and highest in everything:
        return None
    for index, node in enumerate(nodes):
        own = {*node.children.values(), *[at for variable, _, slot in node.slots for at in (variable, slot)]}
        if own.difference(everything):
            return index
    return None
