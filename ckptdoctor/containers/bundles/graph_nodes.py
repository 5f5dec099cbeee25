"""Nodes of a trackable object graph, decoded by hand where they look as TensorFlow writes them.

Source: tensorflow/core/protobuf/trackable_object_graph.proto. A graph has a node for each object and each variable, and
an object for every part of a node costs more than all else that reading a checkpoint takes. Nodes in any other form
are read field by field.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from ckptdoctor.containers.tables.messages import Message
from ckptdoctor.containers.tables.wire import CorruptBytes, varint
from ckptdoctor.references import TensorRef
from ckptdoctor.state import NOTHING

VARIABLE_VALUE = "VARIABLE_VALUE"

# Tags: a field's number, shifted by three, and its wire type.
_NODE, _CHILD, _ATTRIBUTE, _SLOT = 0x0A, 0x0A, 0x12, 0x1A  # of a graph; of a node
_NODE_ID, _LOCAL_NAME, _KEY, _SLOT_ID = 0x08, 0x12, 0x1A, 0x18  # of a child or a slot link; of an attribute
_VALUE = b"\x0a\x0e" + VARIABLE_VALUE.encode() + b"\x12"
"""An attribute's name where it is a variable's value, and the tag of its full name."""
_HAS_VALUES = b"\x2a\x02\x08\x01"
"""`has_checkpoint_values`, which TensorFlow 2.6 and later write at a node's end."""


SlotLink: TypeAlias = tuple[int, str, int]
"""An optimizer's own record: a variable, a name, and the node that is its slot of this name for that variable."""


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


def read_nodes(data: bytes, tensors: Mapping[str, TensorRef] = NOTHING) -> list[Node]:
    """Reads the nodes of a serialized TrackableObjectGraph. One long loop: it runs once per node.

    Args:
        data: The graph.
        tensors: Those that it refers to; their keys are taken from there.

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
                high = data[start]
                size, start = (size + (high - 1 << 7), start + 1) if high < 0x80 else varint(data, stop + 1)
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
                if size >= 0x80:  # in two bytes, mostly; calls would take longer than all else
                    high = data[at]
                    size, at = (size + (high - 1 << 7), at + 1) if high < 0x80 else varint(data, start + 1)
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
                    text = data[key:last].decode()
                    ref = tensors.get(text)
                    stored = text if ref is None else ref.key
                    nodes.append(new(Node, (_NONE, stored, data[name:middle].decode(), (), ())))
                    continue
            elif tag in {_CHILD, _SLOT}:
                children, at = _children(data, start, stop)
                slots, at = _slots(data, at, stop) if at < stop else ((), at)
                if at == stop or data[at:stop] == _HAS_VALUES:
                    nodes.append(new(Node, (children, None, "", slots, ())))
                    continue
        except (CorruptBytes, IndexError, UnicodeDecodeError):
            pass
        nodes.append(make_node(Message(data[start:stop])))
    return nodes


def _length(data: bytes, at: int) -> tuple[int, int]:
    """A varint of two bytes, or more, and the position after it."""
    high = data[at + 1]
    return (data[at] + (high - 1 << 7), at + 2) if high < 0x80 else varint(data, at)


def _children(data: bytes, position: int, stop: int) -> tuple[dict[str, int], int]:
    """The children of a node, which come first, and where something else begins."""
    children: dict[str, int] = {}
    while position < stop and data[position] == _CHILD:
        last = position + 2 + data[position + 1]
        child, at = data[position + 3], position + 4
        if child >= 0x80:
            byte, shift = child, 0
            while byte >= 0x80 and shift < 35:
                byte = data[at]
                at += 1
                shift += 7
                child += byte - 1 << shift
        name = at + 2
        if (
            data[position + 2] != _NODE_ID
            or data[at] != _LOCAL_NAME
            or name + data[at + 1] != last
            or last - position >= 0x80
            or child >> 31
        ):
            break
        children[data[name:last].decode()] = child
        position = last
    return children, position


def _slots(data: bytes, position: int, stop: int) -> tuple[tuple[SlotLink, ...], int]:
    """An optimizer's links, one for every slot, and where something else begins."""
    found: list[SlotLink] = []
    names: dict[bytes, str] = {}
    while position < stop and data[position] == _SLOT:
        last = position + 2 + data[position + 1]
        variable, at = data[position + 3], position + 4
        if variable >= 0x80:
            byte, shift = variable, 0
            while byte >= 0x80 and shift < 35:
                byte = data[at]
                at += 1
                shift += 7
                variable += byte - 1 << shift
        name = at + 2
        end = name + data[at + 1]
        slot, after = data[end + 1], end + 2
        if slot >= 0x80:
            byte, shift = slot, 0
            while byte >= 0x80 and shift < 35:
                byte = data[after]
                after += 1
                shift += 7
                slot += byte - 1 << shift
        if (
            data[position + 2] != _NODE_ID
            or data[at] != _LOCAL_NAME
            or data[end] != _SLOT_ID
            or after != last
            or last - position >= 0x80
            or variable >> 31
            or slot >> 31
        ):
            break
        raw = data[name:end]
        text = names.get(raw)
        if text is None:
            text = names[raw] = raw.decode()
        found.append((variable, text, slot))
        position = last
    return tuple(found), position


def make_node(node: Message) -> Node:
    """A TrackableObject in whatever form its message has.

    Raises:
        CorruptBytes: It is corrupt.
    """
    children = {child.text(2): child.integer(1, bits=32) for child in node.messages(1)}
    slots = [(link.integer(1, bits=32), link.text(2), link.integer(3, bits=32)) for link in node.messages(3)]
    key, full_name = None, ""
    others: list[tuple[str, str]] = []
    for attribute in node.messages(2):  # name 1, full_name 2, checkpoint_key 3
        name, its_full_name, its_key = (attribute.text(field) for field in (1, 2, 3))
        if name == VARIABLE_VALUE:
            key, full_name = its_key, its_full_name
        else:
            others.append((name, its_key))
    saver = node.message(4)  # of these two nothing is needed, but TensorFlow refuses the graph where they are corrupt
    saver.texts(1), saver.texts(2), node.message(5)
    return Node(children or _NONE, key, full_name, tuple(slots), tuple(others))
