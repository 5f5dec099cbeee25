"""Changing a trackable object graph: one optimizer's nodes are made anew, everything else stays as it was.

The raw message is edited, so that fields which nothing here knows survive. Nodes below the old optimizer that nobody
else refers to are used again where the new one has an attribute of that name; those that are left over are removed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ckptdoctor.containers.bundles.graph_nodes import VARIABLE_VALUE
from ckptdoctor.containers.bundles.writing import NewTensor
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.protos import parse
from ckptdoctor.errors import GraftRefused, Refused

SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
"""How every variable's key ends: TensorFlow since 2.15 puts keys together from the part before it."""
_SLOT = ".OPTIMIZER_SLOT"


def escaped(name: str) -> str:
    """A local name as it stands in keys (tensorflow/python/checkpoint/graph_view.py, `_escape_local_name`)."""
    return name.replace(".", "..").replace("/", ".S")


class GraphEditor:
    """A graph while one of its optimizers is replaced.

    Args:
        data: The serialized TrackableObjectGraph.
        path: The checkpoint that it is of.
        stored: Names of all tensors of the bundle, which new ones must not take.
        length: Pad the graph with empty nodes to this length first.

    Attributes:
        nodes: The nodes.
        made: Nodes that were made or made anew, in order.
        tensors: Tensors to be written.
        leftover: Nodes of the old optimizer that have no part in the new one.
    """

    def __init__(self, data: bytes, path: str, stored: Collection[str], length: int = 0) -> None:
        self.graph = parse(pb.TrackableObjectGraph, data, "the object graph", path)
        self.nodes = self.graph.nodes
        while len(self.nodes) < length:
            self.nodes.add()
        self.states_values = any(node.HasField("has_checkpoint_values") for node in self.nodes)
        self.tensors: dict[str, NewTensor] = {}
        self.made: dict[int, None] = {}
        self._before = self._keys(range(len(self.nodes)))
        self._taken = set(stored)
        self.leftover: set[int] = set()

    # ------------------------------------------------------------------------------------------------------- looking

    def child(self, node: int, name: str) -> int | None:
        """The child with this name."""
        return next((each.node_id for each in self.nodes[node].children if each.local_name == name), None)

    def find(self, path: Sequence[str]) -> int | None:
        """The node at a path of local names."""
        at: int | None = 0
        for name in path:
            at = None if at is None else self.child(at, name)
        return at

    def path_to(self, node: int) -> tuple[str, ...]:
        """The first shortest path to a node, as TensorFlow finds it for its keys."""
        came: dict[int, tuple[int, str]] = {0: (0, "")}
        queue = [0]
        for at in queue:
            for each in self.nodes[at].children:
                if each.node_id not in came:
                    came[each.node_id] = (at, each.local_name)
                    queue.append(each.node_id)
        path: list[str] = []
        while node:
            node, name = came[node]
            path.append(name)
        return tuple(reversed(path))

    def attribute(self, node: int) -> pb.TrackableObject.SerializedTensor | None:
        """What a variable node says of its value."""
        return next((each for each in self.nodes[node].attributes if each.name == VARIABLE_VALUE), None)

    def _reachable(self, start: int, without: int | None = None) -> set[int]:
        found: set[int] = set()
        stack = [start]
        while stack:
            at = stack.pop()
            if at in found or at == without:
                continue
            found.add(at)
            node = self.nodes[at]
            stack += [each.node_id for each in node.children]
            for link in node.slot_variables:
                stack += [link.slot_variable_node_id, link.original_variable_node_id]
        return found

    def _keys(self, nodes: Collection[int]) -> set[str]:
        return {each.checkpoint_key for index in nodes for each in self.nodes[index].attributes}

    # ------------------------------------------------------------------------------------------------------ changing

    def open(self, node: int | None, path: Sequence[str], keep: Collection[int]) -> int:
        """Prepares the place of an optimizer: its old node, emptied of what was its own, or a new one at `path`.

        Args:
            node: Its old node.
            path: Where it hangs if there is none.
            keep: Nodes that must not be used again: the model's variables.
        """
        if node is not None:
            own = self._reachable(node) - self._reachable(0, without=node) - set(keep)
            self.leftover = own - {node}
            self._taken -= self._keys(own)
            return node
        at = 0
        for name in path:
            at = self.child(at, name) or self._attach(at, name, self._add())
            self.made[at] = None
        return at

    def clear(self, node: int) -> None:
        """Takes everything off a node that the optimizer puts there."""
        for name in ("children", "attributes", "slot_variables", "registered_saver", "has_checkpoint_values"):
            self.nodes[node].ClearField(name)
        self.made[node] = None

    def old_children(self, node: int) -> dict[str, int]:
        """The children of a node that may be used again."""
        return {each.local_name: each.node_id for each in self.nodes[node].children if each.node_id in self.leftover}

    def old_links(self, node: int) -> dict[tuple[int, str], int]:
        """The linked slots of a node, by variable and slot name."""
        return {
            (each.original_variable_node_id, each.slot_name): each.slot_variable_node_id
            for each in self.nodes[node].slot_variables
        }

    def take(self, spare: int | None, *, emptied: bool = True) -> int:
        """A node to build on: the given one if it is to spare, else a new one at the end."""
        if spare is None or spare not in self.leftover:
            return self._add()
        self.leftover.discard(spare)
        if emptied:
            self.clear(spare)
        return spare

    def _add(self) -> int:
        self.nodes.add()
        self.made[len(self.nodes) - 1] = None
        return len(self.nodes) - 1

    def _attach(self, parent: int, name: str, child: int) -> int:
        self.nodes[parent].children.add(node_id=child, local_name=name)
        return child

    def attach(self, parent: int, name: str, child: int) -> None:
        """Makes a node a child of another."""
        self._attach(parent, name, child)

    def link(self, optimizer: int, variable: int, name: str, slot: int) -> None:
        """Records that a node is an optimizer's slot for a variable."""
        self.nodes[optimizer].slot_variables.add(
            original_variable_node_id=variable, slot_name=name, slot_variable_node_id=slot
        )

    def set_value(self, node: int, full_name: str, path: Sequence[str], tensor: NewTensor) -> None:
        """Makes a node a variable with this value, stored under the key that belongs to `path`."""
        prefix = "/".join(escaped(name) for name in path)
        self._set(node, full_name, prefix, tensor)

    def set_slot(
        self, node: int, full_name: str, variable: int, where: tuple[Sequence[str], str], tensor: NewTensor
    ) -> None:
        """Makes a node a linked slot of a variable, stored beside it.

        Args:
            node: The slot's node.
            full_name: Its name.
            variable: The variable's node.
            where: The optimizer's path and the slot's name.
            tensor: Its value.
        """
        attribute = self.attribute(variable)
        beside = attribute.checkpoint_key.removesuffix(SUFFIX) if attribute is not None else ""
        optimizer = "/".join(escaped(name) for name in where[0])
        self._set(node, full_name, f"{beside}/{_SLOT}/{optimizer}/{escaped(where[1])}", tensor)

    def _set(self, node: int, full_name: str, prefix: str, tensor: NewTensor) -> None:
        key, number = prefix + SUFFIX, 0
        while key in self._taken:  # a tensor of another object, or of none: it keeps its key
            number += 1
            key = f"{prefix}_{number}{SUFFIX}"
        self._taken.add(key)
        self.nodes[node].attributes.add(name=VARIABLE_VALUE, full_name=full_name, checkpoint_key=key)
        self.tensors[key] = tensor

    # ----------------------------------------------------------------------------------------------------- finishing

    def without(self, optimizers: Collection[int], variables: Collection[int]) -> tuple[bytes, frozenset[str]]:
        """Takes optimizers out, with what nothing else refers to; answers the graph and the keys that are gone.

        Args:
            optimizers: Their outermost nodes; the root is none of them.
            variables: The model's variables, which must all be reachable still.

        Raises:
            Refused: The model's variables were known by an optimizer only.
        """
        for node in self.nodes:
            kept = [each for each in node.children if each.node_id not in optimizers]
            if len(kept) < len(node.children):
                del node.children[:]
                node.children.extend(kept)
        reached = self._reachable(0)
        lost = [index for index in variables if index not in reached]
        if lost:
            attribute = self.attribute(lost[0])
            raise Refused(
                f"it holds {attribute.full_name if attribute is not None else lost[0]!r} only through its optimizer: "
                "save the model beside it, tf.train.Checkpoint(model=model, ...)"
            )
        self._compact(reached)
        gone = self._before - self._keys(range(len(self.nodes)))
        return self.graph.SerializeToString(), frozenset(gone)

    def finish(self, optimizer: int, variables: Collection[int], *, compact: bool) -> tuple[bytes, frozenset[str]]:
        """Says which nodes hold values, removes what nothing reaches; answers the graph and the keys that are gone.

        Args:
            optimizer: The optimizer's outermost node.
            variables: The model's variables, which must all be reachable still.
            compact: Remove nodes that are left over; False empties them and leaves them in their place.

        Raises:
            GraftRefused: The model's variables were known by the old optimizer only.
        """
        if self.states_values:
            self._state_values(optimizer)
        reached = self._reachable(0)
        lost = [index for index in variables if index not in reached]
        if lost:
            attribute = self.attribute(lost[0])
            raise GraftRefused(
                "the target holds the model's variables only through its optimizer "
                f"({attribute.full_name if attribute is not None else lost[0]!r}): write the same generation, or save "
                "the model beside it"
            )
        if compact:
            self._compact(reached)
        else:
            for index in self.leftover:
                self.nodes[index].Clear()
        gone = self._before - self._keys(range(len(self.nodes)))
        return self.graph.SerializeToString(), frozenset(gone)

    def _state_values(self, optimizer: int) -> None:
        """`has_checkpoint_values`: where it is false, an object that is not built yet silently restores nothing."""
        holding: dict[int, bool] = {}
        for node in reversed(list(self.made)):
            below = [each.node_id for each in self.nodes[node].children]
            below += [each.slot_variable_node_id for each in self.nodes[node].slot_variables]
            holding[node] = bool(self.nodes[node].attributes) or bool(below)
        for node, value in holding.items():
            self.nodes[node].has_checkpoint_values.value = value
        parents: dict[int, list[int]] = {}
        for index, each in enumerate(self.nodes):
            for child in each.children:
                parents.setdefault(child.node_id, []).append(index)
        stack, seen = [optimizer], {optimizer}
        while stack:
            at = stack.pop()
            self.nodes[at].has_checkpoint_values.value = True
            for parent in parents.get(at, ()):
                if parent not in seen:
                    seen.add(parent)
                    stack.append(parent)

    def _compact(self, reached: Collection[int]) -> None:
        numbers: dict[int, int] = {}
        for index in range(len(self.nodes)):
            if index in reached:
                numbers[index] = len(numbers)
        if len(numbers) == len(self.nodes):
            return
        end = len(self.nodes)
        while end:  # whole runs at a time, from the back: what is before them keeps its place
            start = end
            while start and start - 1 not in numbers:
                start -= 1
            if start < end:
                del self.nodes[start:end]
            end = start
            while end and end - 1 in numbers:
                end -= 1
        for node in self.nodes:
            for child in node.children:
                child.node_id = numbers[child.node_id]
            for link in node.slot_variables:
                link.original_variable_node_id = numbers[link.original_variable_node_id]
                link.slot_variable_node_id = numbers[link.slot_variable_node_id]
