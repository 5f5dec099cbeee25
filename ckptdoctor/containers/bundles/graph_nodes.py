"""Nodes of a trackable object graph, decoded by hand where they look as TensorFlow writes them.

Source: tensorflow/core/protobuf/trackable_object_graph.proto. A graph has a node for each object and each variable, and
an object for every part of a node costs more than all else that reading a checkpoint takes. Nodes in any other form
are read field by field.
"""

import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from ckptdoctor.containers.tables.messages import Message
from ckptdoctor.containers.tables.wire import CorruptBytes, varint
from ckptdoctor.references import TensorRef
from ckptdoctor.state import NOTHING

VARIABLE_VALUE = "VARIABLE_VALUE"

# Tags: a field's number, shifted by three, and its wire type.
_NODE, _CHILD, _ATTRIBUTE, _SLOT = 0x0A, 0x0A, 0x12, 0x1A  # of a graph; of a node
_FIRST = frozenset({_CHILD, _SLOT})
"""What an object's node begins with."""
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


class _Form(NamedTuple):
    """What nodes of variables have in common that begin alike.

    Attributes:
        size: A node's bytes, its tag and length among them.
        parts: Takes one apart at its place: the variable's name, what is between, its key, what follows.
        between: The tag and the length of the key.
        rest: What TensorFlow writes at the end.
    """

    size: int
    parts: Callable[[bytes, int], tuple[bytes, ...]]
    between: bytes
    rest: bytes


_HEAD = 25
"""Bytes of a variable's node in which all is told that comes before its name."""
_MOST_FORMS = 1000
_NONE: dict[str, int] = {}
_EMPTY = Node(_NONE, None, "", (), ())


def read_nodes(data: bytes, tensors: Mapping[str, TensorRef] = NOTHING) -> list[Node]:
    """Reads the nodes of a serialized TrackableObjectGraph.

    Args:
        data: The graph.
        tensors: Those that it refers to; their keys are taken from there.

    Raises:
        CorruptBytes: It is not such a message, or holds more than nodes.
    """
    nodes: list[Node] = []
    new = tuple.__new__  # what a named tuple's constructor calls, without the constructor: this runs once per variable
    forms: dict[bytes, _Form] = {}
    at, end = 0, len(data)
    while at < end:
        form = forms.get(data[at : at + _HEAD])
        if form is not None and at + form[0] <= end:
            size, parts, between, rest = form
            its_name, its_between, its_key, its_rest = parts(data, at)
            if its_between == between and its_rest == rest:
                try:
                    key, full_name = its_key.decode(), its_name.decode()
                except UnicodeDecodeError as error:
                    raise CorruptBytes("a name that is no text") from error
                ref = tensors.get(key)
                nodes.append(new(Node, (_NONE, key if ref is None else ref.key, full_name, (), ())))
                at += size
                continue
        try:
            size, start = data[at + 1], at + 2
            if size >= 0x80:
                size, start = _length(data, at + 1)
            stop = start + size
            if data[at] != _NODE or stop > end:
                raise CorruptBytes("something that is no node, or one that runs past the end")
            tag = data[start] if size else 0
        except IndexError as error:
            raise CorruptBytes("a length that is cut") from error
        if tag == _ATTRIBUTE and (form := _form(data, at, start, stop)):
            if len(forms) == _MOST_FORMS:
                forms.clear()
            forms[data[at : at + _HEAD]] = form  # this node is read by it, too
            continue
        # Hostile graphs have millions that are empty: they are one object.
        nodes.append(_EMPTY if not size else _object(data, start, stop) if tag in _FIRST else _made(data, start, stop))
        at = stop
    return nodes


def _form(data: bytes, begin: int, start: int, stop: int) -> _Form | None:
    """What those nodes have in common that begin as this one, if it is a variable's in the usual form."""
    try:
        size, at = _length(data, start + 1)
        last = at + size
        size, name = _length(data, at + 17)
        middle = name + size
        size, key = _length(data, middle + 1)
    except (CorruptBytes, IndexError):
        return None
    if (
        data[at : at + 17] != _VALUE
        or data[middle] != _KEY
        or key + size != last
        or (last != stop and data[last:stop] != _HAS_VALUES)
        or name - begin > _HEAD
    ):
        return None
    layout = f"{name - begin}x{middle - name}s{key - middle}s{last - key}s{stop - last}s"
    return _Form(stop - begin, struct.Struct(layout).unpack_from, data[middle:key], data[last:stop])


def _object(data: bytes, start: int, stop: int) -> Node:
    """An object: its children, and the slots that it links if it is an optimizer."""
    try:
        children, at = _children(data, start, stop)
        slots, at = _slots(data, at, stop) if at < stop else ((), at)
    except (CorruptBytes, IndexError, UnicodeDecodeError):
        return _made(data, start, stop)
    if at < stop and data[at:stop] != _HAS_VALUES:
        return _made(data, start, stop)
    return tuple.__new__(Node, (children, None, "", slots, ()))


def _made(data: bytes, start: int, stop: int) -> Node:
    return make_node(Message(data[start:stop]))


def _length(data: bytes, at: int) -> tuple[int, int]:
    """A varint, and the position after it; of one or two bytes, mostly."""
    low = data[at]
    if low < 0x80:
        return low, at + 1
    high = data[at + 1]
    return (low + (high - 1 << 7), at + 2) if high < 0x80 else varint(data, at)


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
    while position < stop and data[position] == _SLOT:
        last = position + 2 + data[position + 1]
        variable, at = varint(data, position + 3)
        end = at + 2 + data[at + 1]
        slot, after = varint(data, end + 1)
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
        found.append((variable, data[at + 2 : end].decode(), slot))
        position = _like_it(data[position:last], at - position, end - position, memoryview(data)[last:stop], found)
        position += last
    return tuple(found), position


def _like_it(link: bytes, at: int, end: int, data: memoryview, found: list[SlotLink]) -> int:
    """Adds links that follow one and are as long in all their parts, and answers how many bytes they take.

    An optimizer of 100,000 variables has several times as many: they are taken apart several at once.

    Args:
        link: The one.
        at: Where the name's field begins in it.
        end: Where that ends.
        data: What follows.
        found: What they are added to.
    """
    front, size = link[:3], len(link)
    of_variable, of_slot = _NUMBERS.get(at - 3), _NUMBERS.get(size - end - 1)
    if of_variable is None or of_slot is None:
        return 0
    names: dict[bytes, str] = {}
    taken = 0
    parts = struct.Struct(f"3s{at - 3}s{end - at}sB{size - end - 1}s")
    for begin, variable, named, tag, slot in parts.iter_unpack(data[: len(data) // size * size]):
        owner, value = int.from_bytes(variable, "little"), int.from_bytes(slot, "little")
        name = names.get(named)
        if name is None and named[:2] == link[at : at + 2]:
            name = names[named] = named[2:].decode()
        if (
            begin != front
            or tag != _SLOT_ID
            or name is None
            or owner & of_variable[0] != of_variable[1]
            or value & of_slot[0] != of_slot[1]
        ):
            break
        owner = owner & 0x7F | owner >> 1 & 0x3F80 | owner >> 2 & 0x1FC000 | owner >> 3 & 0xFE00000  # without the marks
        value = value & 0x7F | value >> 1 & 0x3F80 | value >> 2 & 0x1FC000 | value >> 3 & 0xFE00000
        found.append((owner, name, value))
        taken += size
    return taken


_NUMBERS = {
    length: (int.from_bytes(b"\x80" * length, "little"), int.from_bytes(b"\x80" * (length - 1), "little"))
    for length in range(1, 5)
}
"""Bytes of a varint below 2^28 → the bits that mark where it ends, and those of them that are set."""


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
