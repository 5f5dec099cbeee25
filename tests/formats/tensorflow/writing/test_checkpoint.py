"""TensorFlow artifacts with another's optimizer state: the state is as planned, and everything else as it was."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import bundles, objects, planned
from support.objects import Node

import ckptdoctor
from ckptdoctor.containers.bundles.object_graph import GRAPH_KEY, read_object_graph
from ckptdoctor.containers.bundles.reading import read_bundle, read_strings
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.tensors.values import assembled
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.tensorflow.writing import checkpoint as tf_write
from ckptdoctor.formats.tensorflow.writing import saved_model as saved_model_write
from ckptdoctor.formats.tensorflow.writing.graph_editor import GraphEditor
from ckptdoctor.grafting.building.compare import hold_against_plan
from ckptdoctor.grafting.options import Options
from ckptdoctor.grafting.planning.planner import make_plan
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Generation, TrainingState

GENERATIONS: dict[Generation, Callable[..., Node]] = {
    Generation.OPTIMIZER_V2: objects.legacy,
    Generation.KERAS2: objects.keras2,
    Generation.KERAS3: objects.keras3,
}
KEY = "/.ATTRIBUTES/VARIABLE_VALUE"


def _state(path: str) -> TrainingState:
    (found,) = ckptdoctor.inspect(path)
    assert found.state is not None, found.error
    return found.state


def _planned(donor: str, target: str, **options: Any) -> PlannedOptimizer:
    return make_plan(_state(donor), _state(target), "out", Options(**options)).optimizer


def _bytes(prefix: str) -> dict[str, bytes]:
    """Every tensor of numbers."""
    tensors = read_bundle(prefix).tensors
    return {name: assembled(ref).tobytes() for name, ref in tensors.items() if ref.dtype != "string"}


def _graph(prefix: str) -> pb.TrackableObjectGraph:
    (data,) = read_strings(read_bundle(prefix).tensors[GRAPH_KEY])
    return pb.TrackableObjectGraph.FromString(data)


def _donor(folder: Path, generation: Generation, **options: Any) -> str:
    net = objects.model()
    made = GENERATIONS[generation](objects.variables(net), **options)
    return objects.write_objects(folder / "donor", objects.tracked(model=net, optimizer=made))


def _target(folder: Path, *optimizers: tuple[str, Node], net: Node | None = None, **more: Node) -> str:
    net = net or objects.model()
    root = objects.tracked(model=net, step=objects.variable(70, "step", "int64"), **dict(optimizers), **more)
    return objects.write_objects(folder / "target", root)


def _write(optimizer: PlannedOptimizer, target: str, folder: Path, *, link: bool = False) -> tuple[str, TrainingState]:
    out = str(folder / "out")
    tf_write.write(optimizer, target, out, link=link)
    state = _state(out)
    hold_against_plan(state, _state(target), optimizer)
    return out, state


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_bare_target(generation: Generation, tmp_path: Path, *, link: bool) -> None:
    """A model without an optimizer gets one: every tensor of before is the same, the count and the slots are new."""
    donor, target = _donor(tmp_path, generation), _target(tmp_path)
    optimizer = _planned(donor, target)
    assert optimizer.generation is generation
    out, state = _write(optimizer, target, tmp_path, link=link)
    before, after = _bytes(target), _bytes(out)
    assert {name: after[name] for name in before} == before
    (found,) = state.optimizers
    assert (found.name, found.iterations, found.class_name) == ("optimizer", 7, "Adam")
    assert len(found.slots) == 8
    assert found.missing == ()
    assert state.counters == {"save_counter": 1, "step": 70}
    # The nodes of before keep their numbers: the new ones come after them.
    old, new = _graph(target), _graph(out)
    assert [node.attributes for node in new.nodes[: len(old.nodes)]] == [node.attributes for node in old.nodes]


@pytest.mark.parametrize("donated", GENERATIONS)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_target_with_an_optimizer(donated: Generation, generation: Generation, tmp_path: Path) -> None:
    """The target's own optimizer, of whatever generation, is replaced in its own layout; nothing of it is left."""
    net = objects.model()
    own = GENERATIONS[generation](objects.variables(net), iterations=1)
    target = _target(tmp_path, ("optimizer", own), net=net)
    optimizer = _planned(_donor(tmp_path, donated), target)
    assert optimizer.generation is generation
    out, state = _write(optimizer, target, tmp_path)
    assert [each.iterations for each in state.optimizers] == [7]
    assert state.others == ()
    assert _bytes(out).keys() == _bytes(target).keys()
    assert len(_graph(out).nodes) == len(_graph(target).nodes)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_other_optimizers_stay(generation: Generation, tmp_path: Path) -> None:
    """Of two optimizers only the one that is meant changes."""
    net = objects.model()
    trained = objects.variables(net)
    target = _target(
        tmp_path,
        ("opt_a", GENERATIONS[generation](trained[:2], iterations=3)),
        ("opt_b", GENERATIONS[generation](trained[2:], iterations=4)),
        net=net,
    )
    donor_net = objects.model()
    donor = objects.write_objects(
        tmp_path / "donor",
        objects.tracked(model=donor_net, opt_b=GENERATIONS[generation](objects.variables(donor_net)[2:])),
    )
    optimizer = _planned(donor, target, optimizer="opt_b")
    out, state = _write(optimizer, target, tmp_path)
    assert {each.name: each.iterations for each in state.optimizers} == {"opt_a": 3, "opt_b": 7}
    before, after = _bytes(target), _bytes(out)
    assert {name for name in before if before[name] != after.get(name)} <= {name for name in before if "opt_b" in name}


def test_two_paths(tmp_path: Path) -> None:
    """An optimizer that hangs on the model and on the root is replaced under both names."""
    net = objects.model()
    own = objects.keras2(objects.variables(net), iterations=0)
    net.children["optimizer"] = own
    target = _target(tmp_path, ("optimizer", own), net=net)
    out, state = _write(_planned(_donor(tmp_path, Generation.KERAS2), target), target, tmp_path)
    (found,) = state.optimizers
    graph = read_object_graph(read_bundle(out))
    assert graph is not None
    root = graph.nodes[0].children
    assert graph.nodes[root["model"]].children["optimizer"] == root["optimizer"]
    assert found.iterations == 7


def test_nested_place(tmp_path: Path) -> None:
    """An optimizer goes where its name says, below an object that exists."""
    target = _target(tmp_path)
    optimizer = _planned(_donor(tmp_path, Generation.OPTIMIZER_V2), target)._replace(name="model/optimizer")
    out, state = _write(optimizer, target, tmp_path)
    assert state.optimizers[0].name == "model/optimizer"
    assert "model/optimizer/iter" + KEY in _bytes(out)
    assert f"model/hidden/kernel/.OPTIMIZER_SLOT/model/optimizer/m{KEY}" in _bytes(out)


def test_place_is_taken(tmp_path: Path) -> None:
    """An object that is no optimizer is not overwritten."""
    target = _target(tmp_path)
    optimizer = _planned(_donor(tmp_path, Generation.OPTIMIZER_V2), target)._replace(name="model")
    with pytest.raises(GraftRefused, match="no optimizer"):
        tf_write.write(optimizer, target, str(tmp_path / "out"))


def test_weights_below_the_optimizer(tmp_path: Path) -> None:
    """Keras 3 keeps the weights under the optimizer's keys: they stay there when the optimizer becomes another."""
    net = objects.model()
    # Deeper than `optimizer/_trainable_variables/0`, as in Keras 3's `model/_operations/1/_kernel`.
    deep = objects.tracked(a=objects.tracked(b=net))
    own = objects.keras3(objects.variables(net), iterations=1)
    target = _target(tmp_path, ("optimizer", own), net=deep)
    assert f"optimizer/_trainable_variables/0{KEY}" in _bytes(target)
    optimizer = _planned(_donor(tmp_path, Generation.OPTIMIZER_V2), target, generation=Generation.OPTIMIZER_V2)
    assert optimizer.generation is Generation.OPTIMIZER_V2
    out, _ = _write(optimizer, target, tmp_path)
    assert (
        _bytes(out)[f"optimizer/_trainable_variables/0{KEY}"]
        == _bytes(target)[f"optimizer/_trainable_variables/0{KEY}"]
    )
    assert f"optimizer/_variables/2{KEY}" not in _bytes(out)


def test_weights_only_in_the_optimizer(tmp_path: Path) -> None:
    """A checkpoint of a Keras 3 optimizer alone holds the weights: no other generation can take its place."""
    net = objects.model()
    own = objects.keras3(objects.variables(net), iterations=1)
    target = objects.write_objects(tmp_path / "target", objects.tracked(optimizer=own))
    optimizer = _planned(_donor(tmp_path, Generation.KERAS2), target, generation=Generation.KERAS2)
    with pytest.raises(GraftRefused, match="only through its optimizer"):
        tf_write.write(optimizer, target, str(tmp_path / "out"))
    assert not list(tmp_path.glob("out*"))


def _edited(prefix: str, change: Any) -> None:
    """Writes a checkpoint again with another object graph."""
    graph = _graph(prefix)
    change(graph)
    tensors = {
        name: bundles.Tensor(ref.dtype, ref.shape, assembled(ref).tobytes())
        for name, ref in read_bundle(prefix).tensors.items()
        if ref.dtype != "string"
    }
    bundles.write_bundle(prefix, {**tensors, GRAPH_KEY: bundles.strings(graph.SerializeToString())})


def test_unknown_fields(tmp_path: Path) -> None:
    """What this version does not know of nodes and of the graph survives."""
    marked = b"\xf8\x07\x2a"
    target = _target(tmp_path)

    def change(graph: pb.TrackableObjectGraph) -> None:
        graph.MergeFromString(marked)
        graph.nodes[1].MergeFromString(marked)

    _edited(target, change)
    out, _ = _write(_planned(_donor(tmp_path, Generation.KERAS3), target), target, tmp_path)
    assert marked in _graph(out).nodes[1].SerializeToString()
    assert _graph(out).SerializeToString().endswith(marked)


def test_values_are_stated(tmp_path: Path) -> None:
    """Where nodes say whether they hold values, the new ones and those above them say so, or nothing is restored."""
    net = objects.model()
    target = _target(tmp_path, ("optimizer", Node()), net=net)

    def change(graph: pb.TrackableObjectGraph) -> None:
        for node in graph.nodes:
            node.has_checkpoint_values.value = bool(node.attributes)

    _edited(target, change)
    out, _ = _write(_planned(_donor(tmp_path, Generation.OPTIMIZER_V2), target), target, tmp_path)
    graph = _graph(out)
    place = {child.local_name: child.node_id for child in graph.nodes[0].children}["optimizer"]
    below = [child.node_id for child in graph.nodes[place].children]
    below += [link.slot_variable_node_id for link in graph.nodes[place].slot_variables]
    assert all(graph.nodes[index].has_checkpoint_values.value for index in (0, place, *below))


def test_nothing_is_stated_in_old_graphs(tmp_path: Path) -> None:
    """Graphs of TensorFlow up to 2.6 lack that field in every node, and so do the new nodes."""
    out, _ = _write(
        _planned(_donor(tmp_path, Generation.KERAS2), _target(tmp_path)), str(tmp_path / "target"), tmp_path
    )
    assert not any(node.HasField("has_checkpoint_values") for node in _graph(out).nodes)


def test_keys_of_others(tmp_path: Path) -> None:
    """A tensor that has a key which the optimizer would take keeps it."""
    target = _target(tmp_path)
    tensors = {
        name: bundles.Tensor(ref.dtype, ref.shape, assembled(ref).tobytes())
        for name, ref in read_bundle(target).tensors.items()
        if ref.dtype != "string"
    }
    stray = f"optimizer/_iterations{KEY}"
    graph = bundles.strings(_graph(target).SerializeToString())
    bundles.write_bundle(target, {**tensors, stray: bundles.array([1.0, 2.0]), GRAPH_KEY: graph})
    out, state = _write(_planned(_donor(tmp_path, Generation.KERAS2), target), target, tmp_path)
    assert _bytes(out)[stray] == _bytes(target)[stray]
    assert state.optimizers[0].iterations_key == f"optimizer/_iterations_1{KEY}"


@pytest.mark.parametrize(
    ("generation", "keys"),
    [
        (Generation.OPTIMIZER_V2, ("optimizer/loss_scale/current_loss_scale", "optimizer/loss_scale/good_steps")),
        (Generation.KERAS2, ("optimizer/loss_scale/current_loss_scale", "optimizer/loss_scale/good_steps")),
        (
            Generation.KERAS3,
            ("optimizer/dynamic_scale", "optimizer/step_counter", "optimizer/inner_optimizer/_iterations"),
        ),
    ],
)
def test_wrapper(generation: Generation, keys: Sequence[str], tmp_path: Path) -> None:
    """A LossScaleOptimizer is written around the optimizer, in the way of its generation."""
    target = _target(tmp_path)
    optimizer = _planned(_donor(tmp_path, generation), target)
    values = {"current_loss_scale": 1024.0, "good_steps": 7}
    _, state = _write(optimizer._replace(wrapper=("LossScaleOptimizer", values)), target, tmp_path)
    (found,) = state.optimizers
    assert found.wrapper is not None
    assert (found.wrapper.loss_scale, found.iterations) == (1024.0, 7)
    assert {key + KEY for key in keys} <= _bytes(str(tmp_path / "out")).keys()


def test_unknown_learning_rate(tmp_path: Path) -> None:
    """A rate that nobody knows is not made up: it is left out, and the notes say so."""
    target = _target(tmp_path)
    optimizer = _planned(_donor(tmp_path, Generation.OPTIMIZER_V2), target)
    bare = optimizer._replace(hyperparameters={})
    written = tf_write.write(bare, target, str(tmp_path / "out"))
    assert "learning_rate" in " ".join(written.notes)
    assert f"optimizer/learning_rate{KEY}" not in _bytes(str(tmp_path / "out"))
    assert f"optimizer/decay{KEY}" in _bytes(str(tmp_path / "out"))


def test_compaction() -> None:
    """Nodes that nothing reaches are removed, and every reference is renumbered."""
    graph = pb.TrackableObjectGraph()
    for _ in range(6):
        graph.nodes.add()
    for parent, child, name in ((0, 1, "optimizer"), (1, 2, "a"), (0, 4, "model"), (4, 5, "x")):
        graph.nodes[parent].children.add(node_id=child, local_name=name)
    graph.nodes[1].slot_variables.add(original_variable_node_id=5, slot_name="m", slot_variable_node_id=3)
    graph.nodes[5].attributes.add(name="VARIABLE_VALUE", full_name="x", checkpoint_key="x")
    editor = GraphEditor(graph.SerializeToString(), "p", ())
    node = editor.open(1, ("optimizer",), {5})
    assert editor.leftover == {2, 3}
    editor.clear(node)
    data, _ = editor.finish(node, {5}, compact=True)
    found = pb.TrackableObjectGraph.FromString(data)
    assert [[(c.local_name, c.node_id) for c in each.children] for each in found.nodes] == [
        [("optimizer", 1), ("model", 2)], [], [("x", 3)], [],
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------------ names, folders


@pytest.mark.parametrize("v1", [False, True])
@pytest.mark.parametrize(("scope", "op"), [("", "Adam"), ("train/", "Adam"), ("", "my_opt")])
def test_names(scope: str, op: str, tmp_path: Path, *, v1: bool) -> None:
    """Slots, beta powers and the step get the names that the donor's graph gives them; a V1 target becomes V2."""
    weights = {"net/w": bundles.array([[1.0, 2.0]]), "net/b": bundles.array([3.0])}
    slots = {
        f"{scope}{name}/{op}{suffix}": bundles.array([[0.5, 0.25]] if name == "net/w" else [0.125])
        for name in weights
        for suffix in ("", "_1")
    }
    powers = {f"{scope}beta1_power": bundles.array(0.9**8), f"{scope}beta2_power": bundles.array(0.999**8)}
    donor = bundles.write_bundle(
        tmp_path / "donor", {**weights, **slots, **powers, "global_step": bundles.array(7, "int64")}
    )
    make = bundles.write_v1 if v1 else bundles.write_bundle
    target = make(tmp_path / "target", weights)
    optimizer = planned.tf1(_state(donor), op)
    written = tf_write.write(optimizer, target, str(tmp_path / "out"))
    assert _bytes(str(tmp_path / "out")) == _bytes(donor)
    assert any("V2" in note for note in written.notes) is v1


def test_names_need_tf1(tmp_path: Path) -> None:
    """A name-based target has no place for a Keras optimizer."""
    target = bundles.write_bundle(tmp_path / "named", {"hidden/kernel": bundles.array([[1.0]])})
    optimizer = _planned(_donor(tmp_path, Generation.KERAS2), _target(tmp_path))
    with pytest.raises(GraftRefused, match="--as tf1"):
        tf_write.write(optimizer, target, str(tmp_path / "out"))


@pytest.mark.parametrize(
    "name", ["v2.3-tfk-sm-adam", "v2.6-tfk-sm-adam", "v2.11-tfk-sm-adam", "v2.15-tfk-sm-rmsprop_cm"]
)
def test_saved_model(name: str, museum: Path, tmp_path: Path) -> None:
    """A SavedModel whose own state is written into it again: same nodes, same tensors, all files are there."""
    (marker,) = glob.glob(str(museum / "**" / name / "**" / "saved_model.pb"), recursive=True)
    source = os.path.dirname(marker)
    optimizer = _planned(source, source)
    out = str(tmp_path / "out")
    written = saved_model_write.write(optimizer, source, out)
    assert 'load_weights("OUT/variables/variables")' in written.notes[-1]
    hold_against_plan(_state(out), _state(source), optimizer)
    prefix = os.path.join("variables", "variables")
    assert _bytes(os.path.join(out, prefix)) == _bytes(os.path.join(source, prefix))

    def files(folder: str) -> set[str]:
        found = {os.path.relpath(os.path.join(at, each), folder) for at, _, names in os.walk(folder) for each in names}
        return {each for each in found if ".data-" not in each}

    assert files(out) == files(source)


def test_saved_model_without_an_optimizer(museum: Path, tmp_path: Path) -> None:
    """A model that was not compiled gets the optimizer and its configuration, in both object graphs."""
    source = str(museum / "tf" / "v2.15-tfk-sm-uncompiled" / "sm")
    donor = str(museum / "tf" / "v2.15-tfk-sm-sgd_momentum" / "sm")
    optimizer = _planned(donor, source)
    out = str(tmp_path / "out")
    written = saved_model_write.write(optimizer, source, out)
    state = _state(out)
    (found,) = state.optimizers
    assert (found.class_name, found.class_inferred, found.iterations) == ("SGD", False, 7)
    assert found.hyperparameters["momentum"] == pytest.approx(0.9)
    assert any("no loss is known" in note for note in written.notes)
