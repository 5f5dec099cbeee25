"""Nodes of a trackable object graph, decoded by hand where they look as TensorFlow writes them.

Source: tensorflow/core/protobuf/trackable_object_graph.proto. A graph has a node for each object and each variable, and
a protocol buffer object for every part of a node costs more than all else that reading a checkpoint takes. Nodes that
hold slot links, or anything unusual, are left to the protocol buffer library, which is also who says what is corrupt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ckptdoctor.containers.wire import CorruptBytes, varint

if TYPE_CHECKING:
    from ckptdoctor.containers.protos import checkpoint_pb2 as pb

VARIABLE_VALUE = "VARIABLE_VALUE"

# Tags: a field's number, shifted by three, and its wire type.
_NODE, _CHILD, _ATTRIBUTE = 0x0A, 0x0A, 0x12  # of a graph; of a node
_NODE_ID, _LOCAL_NAME, _KEY = 0x08, 0x12, 0x1A  # of a child; of an attribute
_VALUE = b"\x0a\x0e" + VARIABLE_VALUE.encode() + b"\x12"
"""An attribute's name where it is a variable's value, and the tag of its full name."""
_HAS_VALUES = b"\x2a\x02\x08\x01"
"""`has_checkpoint_values`, which TensorFlow 2.6 and later write at a node's end."""


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
_EMPTY = Node(_NONE, None, "", (), ())


def read_nodes(data: bytes) -> list[Node]:
    """Reads the nodes of a serialized TrackableObjectGraph. One long loop: it runs once per node.

    Raises:
        CorruptBytes: It is not such a message, or holds more than nodes.
    """
    nodes: list[Node] = []
    new = tuple.__new__  # what a named tuple's constructor calls, without the constructor
    stop, end = 0, len(data)
    while stop < end:
        try:
            size, start = data[stop + 1], stop + 2
            if size >= 0x80:
                size, start = _length(data, stop + 1)
        except IndexError as error:
            raise CorruptBytes("a length that is cut") from error
        if data[stop] != _NODE or start + size > end:
            raise CorruptBytes("something that is no node, or one that runs past the end")
        stop = start + size
        if not size:  # hostile graphs have millions: they are one object
            nodes.append(_EMPTY)
            continue
        try:
            tag = data[start]
            if tag == _ATTRIBUTE:
                size, at = data[start + 1], start + 2
                if size >= 0x80:
                    size, at = _length(data, start + 1)
                last = at + size
                size, name = data[at + 17], at + 18
                if size >= 0x80:
                    size, name = _length(data, at + 17)
                middle = name + size
                size, key = data[middle + 1], middle + 2
                if size >= 0x80:
                    size, key = _length(data, middle + 1)
                if (
                    data[at : at + 17] == _VALUE
                    and data[middle] == _KEY
                    and key + size == last
                    and (last == stop or data[last:stop] == _HAS_VALUES)
                ):
                    full_name = data[name:middle].decode()
                    nodes.append(new(Node, (_NONE, data[key:last].decode(), full_name, (), ())))
                    continue
            elif tag == _CHILD:
                children = _children(data, start, stop)
                if children is not None:
                    nodes.append(new(Node, (children, None, "", (), ())))
                    continue
        except (CorruptBytes, IndexError, UnicodeDecodeError):
            pass  # the library says what it is
        nodes.append(_by_library(data[start:stop]))
    return nodes


def _length(data: bytes, at: int) -> tuple[int, int]:
    """A varint of two bytes, or more, and the position after it."""
    high = data[at + 1]
    return (data[at] + (high - 1 << 7), at + 2) if high < 0x80 else varint(data, at)


def _children(data: bytes, position: int, stop: int) -> dict[str, int] | None:
    """The children of a node that has nothing else; None where there is more, or one is written otherwise."""
    children: dict[str, int] = {}
    while position < stop and data[position] == _CHILD:
        last = position + 2 + data[position + 1]
        child, at = data[position + 3], position + 4
        if child >= 0x80:
            byte, shift = child, 0
            while byte >= 0x80:
                byte = data[at]
                at += 1
                shift += 7
                child += byte - 1 << shift
            if child >> 31:
                return None
        name = at + 2
        if (
            data[position + 2] != _NODE_ID
            or data[at] != _LOCAL_NAME
            or name + data[at + 1] != last
            or last - position >= 0x80
        ):
            return None
        children[data[name:last].decode()] = child
        position = last
    return children if position == stop or data[position:stop] == _HAS_VALUES else None


def _by_library(data: bytes) -> Node:
    from google.protobuf.message import DecodeError

    from ckptdoctor.containers.protos import checkpoint_pb2 as pb

    try:
        return make_node(pb.TrackableObject.FromString(data))
    except DecodeError as error:
        raise CorruptBytes("a node that is no protocol buffer") from error


def make_node(node: pb.TrackableObject) -> Node:
    """A node that the protocol buffer library has read."""
    listed, linked = node.children, node.slot_variables
    children = {child.local_name: child.node_id for child in listed} if listed else _NONE
    new = tuple.__new__  # as above: an optimizer links every slot
    slots: tuple[SlotLink, ...] = ()
    if linked:
        slots = tuple(
            [
                new(SlotLink, (link.original_variable_node_id, link.slot_name, link.slot_variable_node_id))
                for link in linked
            ]
        )
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
