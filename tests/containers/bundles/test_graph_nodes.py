"""Graph nodes decoded by hand are what the protocol buffer library reads, whatever form they have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import varint

from ckptdoctor.containers.bundles import graph_nodes
from ckptdoctor.containers.bundles.graph_nodes import Node, read_nodes
from ckptdoctor.containers.bundles.object_graph import parse_object_graph
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.errors import UnreadableArtifact


def _by_library(data: bytes) -> list[Node]:
    return [_node(each) for each in pb.TrackableObjectGraph.FromString(data).nodes]


def _node(node: pb.TrackableObject) -> Node:
    values = [each for each in node.attributes if each.name == "VARIABLE_VALUE"]
    return Node(
        children={child.local_name: child.node_id for child in node.children},
        key=values[-1].checkpoint_key if values else None,
        full_name=values[-1].full_name if values else "",
        slots=tuple(
            (each.original_variable_node_id, each.slot_name, each.slot_variable_node_id) for each in node.slot_variables
        ),
        others=tuple((each.name, each.checkpoint_key) for each in node.attributes if each.name != "VARIABLE_VALUE"),
    )


NAMES = st.one_of(st.text(max_size=6), st.sampled_from(["m", "kernel", "x" * 127, "x" * 128, "x" * 20_000, "\x12\n"]))
IDS = st.one_of(st.integers(0, 300), st.sampled_from([127, 128, 16_383, 16_384, 1 << 21, 1 << 28, (1 << 31) - 1, -1]))
ATTRIBUTES = st.builds(
    pb.TrackableObject.SerializedTensor,
    name=st.sampled_from(["VARIABLE_VALUE", "VARIABLE_VALUE", "OBJECT_CONFIG_JSON", ""]),
    full_name=NAMES,
    checkpoint_key=NAMES,
)
NODES = st.builds(
    pb.TrackableObject,
    children=st.lists(st.builds(pb.ObjectReference, node_id=IDS, local_name=NAMES), max_size=3),
    attributes=st.lists(ATTRIBUTES, max_size=2),
    slot_variables=st.lists(
        st.builds(pb.SlotVariableReference, original_variable_node_id=IDS, slot_name=NAMES, slot_variable_node_id=IDS),
        max_size=2,
    ),
    has_checkpoint_values=st.sampled_from([None, pb.BoolValue(value=True), pb.BoolValue()]),
    registered_saver=st.sampled_from([None, None, pb.RegisteredSaver(name="s", object_name="o")]),
)


@given(st.lists(NODES, max_size=6))
def test_any_graph(nodes: list[pb.TrackableObject]) -> None:
    """Nodes with any children, attributes and slot links, of any lengths, are read as the library reads them."""
    data = pb.TrackableObjectGraph(nodes=nodes * 2).SerializeToString()  # what begins as one before is read by its form
    assert read_nodes(data) == _by_library(data)


@given(st.lists(NODES, min_size=1, max_size=4), st.data())
def test_damage(nodes: list[pb.TrackableObject], data: st.DataObject) -> None:
    """A graph with any bytes changed is refused, or read as the library reads it; what that refuses, is refused."""
    raw = bytearray(pb.TrackableObjectGraph(nodes=nodes * 2).SerializeToString()[:2000])
    for _ in range(data.draw(st.integers(1, 3))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = list(parse_object_graph(bytes(raw), "p").nodes)
    except UnreadableArtifact:
        return
    assert found == _by_library(bytes(raw))


def _field(tag: int, data: bytes) -> bytes:
    return bytes([tag]) + varint(len(data)) + data


_VALUE = _field(0x0A, b"VARIABLE_VALUE")
FORMS = {
    "twice the same attribute": _field(0x12, _VALUE + _field(0x1A, b"one")) + _field(0x12, _VALUE + _field(0x1A, b"2")),
    "two full names": _field(0x12, _VALUE + _field(0x12, b"a") + _field(0x12, b"b") + _field(0x1A, b"key")),
    "key first": _field(0x12, _field(0x1A, b"key") + _VALUE + _field(0x12, b"name")),
    "no full name": _field(0x12, _VALUE + _field(0x1A, b"key")),
    "no key": _field(0x12, _VALUE + _field(0x12, b"name")),
    "unknown field in an attribute": _field(0x12, _VALUE + _field(0x12, b"a") + _field(0x1A, b"k") + b"\x28\x01"),
    "unknown field after an attribute": _field(0x12, _VALUE + _field(0x12, b"a") + _field(0x1A, b"k")) + b"\x38\x01",
    "has no values": _field(0x12, _VALUE + _field(0x12, b"a") + _field(0x1A, b"k")) + b"\x2a\x02\x08\x00",
    "padded length": b"\x12\x97\x80\x00" + _VALUE + _field(0x12, b"ab") + _field(0x1A, b"k"),
    "padded length of a name": _field(0x12, _VALUE + b"\x12\x81\x00a" + _field(0x1A, b"k")),
    "padded id": _field(0x0A, b"\x08\x81\x80\x00\x12\x01a"),
    "two ids": _field(0x0A, b"\x08\x01\x08\x02\x12\x01a"),
    "name first": _field(0x0A, b"\x12\x01a\x08\x01"),
    "no id": _field(0x0A, b"\x12\x01a"),
    "no name": _field(0x0A, b"\x08\x01"),
    "child after an attribute": _field(0x12, _VALUE + _field(0x1A, b"k")) + _field(0x0A, b"\x08\x01\x12\x01a"),
    "the same child twice": _field(0x0A, b"\x08\x01\x12\x01a") + _field(0x0A, b"\x08\x02\x12\x01a"),
    "nothing": b"",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str) -> None:
    """Every form that a message may take, also those that TensorFlow never writes, means the same both ways."""
    data = _field(0x0A, FORMS[form]) + _field(0x0A, b"")
    assert read_nodes(data) == _by_library(data)


@pytest.mark.parametrize("cut", range(1, 40))
def test_cut(cut: int) -> None:
    """A graph that is cut anywhere is an error."""
    node = _field(0x12, _VALUE + _field(0x12, b"name") + _field(0x1A, b"a/key/of/it")) + b"\x2a\x02\x08\x01"
    with pytest.raises(UnreadableArtifact, match="no protocol buffer"):
        parse_object_graph((_field(0x0A, node) * 3)[:-cut], "p")


def test_usual_nodes_are_decoded_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables, objects with children and optimizers that link slots are not read field by field."""
    monkeypatch.setattr(graph_nodes, "make_node", None)
    variable = pb.TrackableObject(has_checkpoint_values=pb.BoolValue(value=True))
    variable.attributes.add(name="VARIABLE_VALUE", full_name="f" * 200, checkpoint_key="k" * 300)
    parent = pb.TrackableObject(children=[pb.ObjectReference(node_id=70_000, local_name="kernel")] * 2000)
    link = pb.SlotVariableReference(original_variable_node_id=7, slot_name="m", slot_variable_node_id=70_000)
    parent.slot_variables.extend([link] * 2000)
    lone = pb.TrackableObject(slot_variables=[link], has_checkpoint_values=pb.BoolValue(value=True))
    data = pb.TrackableObjectGraph(nodes=[variable, parent, lone, variable]).SerializeToString()
    assert read_nodes(data) == _by_library(data)
