"""Object graphs: paths, lists, slot links, and graphs that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bundles import Tensor, array, strings, write_bundle
from support.objects import legacy, model, tracked, variables, write_objects

from ckptdoctor.containers.bundles.object_graph import GRAPH_KEY, is_index, parse_object_graph, read_object_graph
from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact


def _graph(*nodes: pb.TrackableObject) -> bytes:
    return pb.TrackableObjectGraph(nodes=nodes).SerializeToString()


def _node(children: dict[str, int] | None = None, slots: tuple[tuple[int, str, int], ...] = ()) -> pb.TrackableObject:
    return pb.TrackableObject(
        children=[pb.ObjectReference(node_id=at, local_name=name) for name, at in (children or {}).items()],
        slot_variables=[
            pb.SlotVariableReference(original_variable_node_id=owner, slot_name=name, slot_variable_node_id=slot)
            for owner, name, slot in slots
        ],
    )


def test_nodes(tmp_path: Path) -> None:
    """Children, keys, full names and slot links are as they were stored."""
    net = model({"d/kernel": (2,)})
    graph = read_object_graph(
        read_bundle(write_objects(tmp_path / "p", tracked(net=net, opt=legacy(variables(net), slots=["m"]))))
    )
    assert graph is not None
    paths = {path: index for index, path in graph.paths().items()}
    kernel = graph.nodes[paths["net/d/kernel"]]
    assert (kernel.key, kernel.full_name) == ("net/d/kernel/.ATTRIBUTES/VARIABLE_VALUE", "d/kernel")
    assert kernel.is_variable
    assert not graph.nodes[0].is_variable
    ((variable, name, slot),) = graph.nodes[paths["opt"]].slots
    assert (variable, name) == (paths["net/d/kernel"], "m")
    assert graph.nodes[slot].key == "net/d/kernel/.OPTIMIZER_SLOT/opt/m/.ATTRIBUTES/VARIABLE_VALUE"


def test_name_based_checkpoints_have_none(tmp_path: Path) -> None:
    """A checkpoint by a Saver has no object graph, which is not an error."""
    assert read_object_graph(read_bundle(write_bundle(tmp_path / "p", {"w": array(1.0)}))) is None


def test_the_shortest_path_counts() -> None:
    """A node that two paths reach is known by the shorter one."""
    graph = parse_object_graph(
        _graph(_node({"a": 1, "b": 2}), _node({"deep": 3}), _node({"x": 1}), _node({"y": 2})), "p"
    )
    assert graph.paths() == {0: "", 1: "a", 2: "b", 3: "a/deep"}
    assert graph.paths(skip={"a"}) == {0: "", 2: "b", 1: "b/x", 3: "b/x/deep"}


def test_cycles_end() -> None:
    """Objects that hold each other, or themselves, are each visited once."""
    graph = parse_object_graph(_graph(_node({"self": 0, "a": 1}), _node({"parent": 0, "a": 1})), "p")
    assert graph.paths() == {0: "", 1: "a"}


def test_a_chain_of_many_objects() -> None:
    """Paths of 900 objects in a row are found without recursion."""
    nodes = [_node({"n": number + 1}) for number in range(900)]
    assert len(parse_object_graph(_graph(*nodes, _node()), "p").paths()) == 901


@pytest.mark.parametrize(("count", "name"), [(10_000, "n"), (500, "n" * 10_000)])
def test_paths_that_would_fill_the_memory(count: int, name: str) -> None:
    """Paths grow with depth, so depth times length is bounded: 100,000 objects in a row would take 10 GB."""
    nodes = [_node({name: number + 1}) for number in range(count)]
    with pytest.raises(LimitExceeded, match="nested deeper"):
        parse_object_graph(_graph(*nodes, _node()), "p").paths()


def test_lists_are_in_order() -> None:
    """The numbered children of a list come in the order of their numbers; others are not its items."""
    names = {"10": 1, "9": 2, "0": 3, "name": 4, "-1": 4, "²": 4, "9999999999": 4}
    graph = parse_object_graph(_graph(_node(names), *[_node()] * 4), "p")
    assert list(graph.listed(0)) == [(0, 3), (9, 2), (10, 1)]


@pytest.mark.parametrize(
    ("name", "expected"), [("0", True), ("12", True), ("", False), ("a", False), ("²", False), ("1" * 400, False)]
)
def test_indices(name: str, *, expected: bool) -> None:
    """Only plain short numbers are indices; a name of 400 digits is a name."""
    assert is_index(name) is expected


def test_other_attributes_are_kept() -> None:
    """What an object saves besides a value is known by name and key."""
    node = pb.TrackableObject()
    node.attributes.add(name="OBJECT_CONFIG_JSON", checkpoint_key="k/.ATTRIBUTES/OBJECT_CONFIG_JSON")
    graph = parse_object_graph(_graph(node), "p")
    assert graph.nodes[0].others == (("OBJECT_CONFIG_JSON", "k/.ATTRIBUTES/OBJECT_CONFIG_JSON"),)
    assert not graph.nodes[0].is_variable


BAD: dict[str, tuple[bytes, str]] = {
    "no nodes": (b"", "the object graph has no nodes"),
    "garbage": (b"\xff\xfe\xfd" * 20, "no protocol buffer"),
    "cut": (_graph(_node({"a": 1}), _node())[:-1] + b"\x0a", "no protocol buffer"),
    "length past the end": (b"\x0a\x7f", "no protocol buffer"),
    "name that is no text": (b"\x0a\x06\x0a\x04\x12\x02\xff\xfe", "no protocol buffer"),
    "child past the end": (_graph(_node({"a": 5})), "node 0 of the object graph refers to a node that does not exist"),
    "negative child": (_graph(_node({"a": -1})), "node 0 of the object graph refers"),
    "slot of nothing": (_graph(_node(), _node(slots=((9, "m", 0),))), "node 1 of the object graph refers"),
    "slot to nowhere": (_graph(_node(slots=((0, "m", 2_000_000_000),))), "node 0 of the object graph refers"),
    "negative slot": (_graph(_node(slots=((0, "m", -1),))), "node 0 of the object graph refers"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_graphs(tmp_path: Path, bad: str) -> None:
    """A graph that is garbage or refers to nodes that do not exist is an error that says so."""
    data, message = BAD[bad]
    bundle = read_bundle(write_bundle(tmp_path / "p", {GRAPH_KEY: strings(data), "w": array(1.0)}))
    with pytest.raises(UnreadableArtifact, match=message) as raised:
        read_object_graph(bundle)
    assert raised.value.path == str(tmp_path / "p")


def test_deep_nesting() -> None:
    """A message nested 10,000 deep in unknown fields ends in an error or is skipped, never in a crash."""
    data = b""
    for _ in range(10_000):
        data = b"\xa3\x06" + data + b"\xa4\x06"  # a group in a group
    try:
        parse_object_graph(b"\x0a\x00" + data, "p")
    except UnreadableArtifact as error:
        assert "no protocol buffer" in str(error)  # noqa: PT017 - how deep a parser goes is its own affair


@pytest.mark.parametrize("tensor", [strings(b"a", b"b"), strings(shape=(0,)), array(1.0)], ids=["two", "none", "float"])
def test_a_graph_that_is_no_string(tmp_path: Path, tensor: Tensor) -> None:
    """The graph's key must hold one string."""
    bundle = read_bundle(write_bundle(tmp_path / "p", {GRAPH_KEY: tensor}))
    with pytest.raises(UnreadableArtifact, match=r"should be (one|a) string"):
        read_object_graph(bundle)


def test_a_long_chain_of_objects() -> None:
    """The path of each is longer than that of the one before: together they would take gigabytes."""
    chain = _graph(*[_node({"child": number + 1}) for number in range(30_000)], _node())
    graph = parse_object_graph(chain, "p")
    with pytest.raises(LimitExceeded, match="nested deeper than its paths can be told"):
        graph.paths()


def test_many_objects_below_a_long_name() -> None:
    """Long names above many objects are no attack."""
    many = _node({f"{number}": number + 2 for number in range(30_000)})
    wide = _graph(_node({"a" * 100: 1}), many, *[_node()] * 30_000)
    assert len(parse_object_graph(wide, "p").paths()) == 30_002


def test_a_node_of_many_attributes() -> None:
    """What a node saves besides its value is listed, in order, in time that grows with it."""
    attributes = [
        pb.TrackableObject.SerializedTensor(name="OBJECT_CONFIG_JSON", checkpoint_key=f"{number}")
        for number in range(50_000)
    ]
    (node,) = parse_object_graph(_graph(pb.TrackableObject(attributes=attributes)), "p").nodes
    assert node.others == tuple(("OBJECT_CONFIG_JSON", f"{number}") for number in range(50_000))
