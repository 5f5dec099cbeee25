"""Optimizers around others, and classes that nobody knows: read as they are, in object graphs, lists and dumps.

The layouts are those of tensorflow_addons 0.23 with TensorFlow 2.15, and of a Lookahead for Keras 2.3.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bundles import write_bundle
from support.objects import Node, checkpoint, legacy, model, tracked, variable, variables

import ckptdoctor
from ckptdoctor.comparison.pairs import pair_slots
from ckptdoctor.diagnosis.evidence import Evidence
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.rules import judge
from ckptdoctor.diagnosis.status import optimizer_status, optimizer_verdict
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.tensorflow import checkpoint as tf_checkpoint
from ckptdoctor.optimizers.keras.config import OptimizerConfig, read_config
from ckptdoctor.optimizers.lists.state import StateVariable, read_state
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, Generation, ModelVariable, OptimizerState, Role, Status, TrainingState

SHAPES = {"hidden/kernel": (3, 4), "hidden/bias": (4,), "out/kernel": (4, 2), "out/bias": (2,)}
MODEL = tuple(ModelVariable(path, TensorRef(path, "float32", shape, None), True) for path, shape in SHAPES.items())


# ------------------------------------------------------------------------------------------------------- object graphs


def _around(inner: Node, attribute: str, name: str, kind: str, trained: list[Node], **more: Node) -> Node:
    """An optimizer that counts and links a slot of its own, and holds the other one under an attribute."""
    outer = legacy(trained, slots=(kind,), scalars={}, name=name)
    inner.children.pop("iter", None)
    outer.children |= {attribute: inner, **more}
    return outer


def _saved(folder: Path, build: Any) -> Path:
    net = model(SHAPES)
    root = tracked(model=net, optimizer=build(variables(net)))
    return Path(write_bundle(folder / "ckpt-7", checkpoint(root)))


def _read(tmp_path: Path, build: Any) -> OptimizerState:
    state = tf_checkpoint.read(str(_saved(tmp_path, build)))
    (found,) = state.optimizers
    return found


@pytest.mark.parametrize(
    ("attribute", "name", "kind", "role"),
    [
        ("lh_base_optimizer", "Lookahead", "slow", Role.OTHER),
        ("awg_optimizer", "SWA", "average", Role.MOVING_AVERAGE),
        ("awg_optimizer", "MovingAverage", "average", Role.MOVING_AVERAGE),
        ("my_own_optimizer", "Mine", "shadow", Role.OTHER),
    ],
)
def test_a_graph(tmp_path: Path, attribute: str, name: str, kind: str, role: Role) -> None:
    """The inner optimizer is one with its wrapper: its class and slots, the outer count, and no TensorFlow 1 Adam."""
    found = _read(tmp_path, lambda trained: _around(legacy(trained, name=name), attribute, name, kind, trained))
    assert (found.class_name, found.generation, found.iterations) == ("Adam", Generation.OPTIMIZER_V2, 7)
    assert found.wrapper is not None
    assert (found.wrapper.class_name, found.name) == (name, "optimizer")
    assert {(slot.name, slot.role) for slot in found.slots} == {
        ("m", Role.FIRST_MOMENT), ("v", Role.SECOND_MOMENT), (kind, role),
    }  # fmt: skip
    assert len(found.slots) == 3 * len(SHAPES)
    assert found.hyperparameters["learning_rate"] == pytest.approx(0.001)
    assert optimizer_status(found) is Status.COMPLETE


def test_an_inner_optimizer_without_slots(tmp_path: Path) -> None:
    """SGD inside a MovingAverage has nothing but its settings."""

    def build(trained: list[Node]) -> Node:
        scalars = {"learning_rate": 0.05, "decay": 0.0, "momentum": 0.0}
        inner = legacy(trained, slots=(), scalars=scalars, name="MovingAverage")
        return _around(inner, "awg_optimizer", "MovingAverage", "average", trained)

    found = _read(tmp_path, build)
    assert (found.class_name, found.iterations) == ("SGD", 7)
    assert {slot.name for slot in found.slots} == {"average"}


def test_two_around_one(tmp_path: Path) -> None:
    """Lookahead over SWA over Adam: one optimizer, with the slots of all three."""

    def build(trained: list[Node]) -> Node:
        inner = _around(legacy(trained, name="Lookahead"), "awg_optimizer", "Lookahead", "average", trained)
        return _around(inner, "lh_base_optimizer", "Lookahead", "slow", trained)

    found = _read(tmp_path, build)
    assert {slot.name for slot in found.slots} == {"m", "v", "average", "slow"}
    assert (found.class_name, found.iterations) == ("Adam", 7)


def test_a_count_alone_tells_no_class(tmp_path: Path) -> None:
    """tensorflow_addons' MultiOptimizer leaves its count in a checkpoint, and nothing of those in it."""
    found = _read(tmp_path, lambda trained: legacy(trained, slots=(), scalars={}))
    found_unnamed = _read(tmp_path, lambda _: tracked(iter=variable(7, "iter", "int64")))
    assert (found_unnamed.class_name, found_unnamed.class_candidates, found_unnamed.iterations) == (None, (), 7)
    assert found.class_name == "Adam"  # by the name that its count carries


@pytest.mark.parametrize("name", ["Yogi", "LAMB", "RectifiedAdam", "LazyAdam", "AdamW"])
def test_a_name_is_not_overruled_by_slots(tmp_path: Path, name: str) -> None:
    """Slots called m and v are no Adam's where the variables begin with another class's name."""
    found = _read(tmp_path, lambda trained: legacy(trained, name=name))
    assert (found.class_name, found.class_candidates) == (name, ())
    assert len(found.slots) == 2 * len(SHAPES)


def test_nothing_is_taken_apart(tmp_path: Path) -> None:
    """A graft refuses what a wrapper keeps slots in, on either side, and says why."""
    path = _saved(
        tmp_path,
        lambda trained: _around(legacy(trained, name="Lookahead"), "lh_base_optimizer", "Lookahead", "slow", trained),
    )
    for donor in (None, path):
        with pytest.raises(GraftRefused, match="in a Lookahead, which keeps slots of its own"):
            ckptdoctor.graft(donor, path, tmp_path / "out", iterations=9)


def test_an_estimators_count(tmp_path: Path) -> None:
    """Estimators (`model_to_estimator`) make the global step the count of a Keras optimizer."""
    net = model(SHAPES)
    root = Node({**net.children, "optimizer": legacy(variables(net), iterations=None)})
    root.children["estimator_global_step"] = variable(7, "global_step", "int64")
    path = write_bundle(tmp_path / "ckpt", checkpoint(root))
    (found,) = tf_checkpoint.read(path).optimizers
    assert (found.class_name, found.generation, found.iterations) == ("Adam", Generation.OPTIMIZER_V2, 7)
    assert optimizer_status(found) is Status.COMPLETE
    with pytest.raises(GraftRefused, match="goes by the global step"):
        ckptdoctor.graft(None, path, tmp_path / "out", iterations=9, optimizer_class="Adam")


def test_a_wrapped_tensorflow_1_optimizer(tmp_path: Path) -> None:
    """Keras keeps the count beside a tf.compat.v1 optimizer, and a graft writes it there."""
    from support.objects import tf1

    net = model(SHAPES)
    around = tracked(optimizer=tf1(variables(net)), global_step=variable(7, "TFOptimizer/iterations", "int64"))
    path = write_bundle(tmp_path / "ckpt", checkpoint(Node({**net.children, "optimizer": around})))
    (found,) = tf_checkpoint.read(path).optimizers
    assert (found.iterations, found.iterations_key) == (7, "optimizer/global_step/.ATTRIBUTES/VARIABLE_VALUE")
    assert not found.notes
    ckptdoctor.graft(None, path, tmp_path / "out", iterations=20, optimizer_class="Adam")
    (made,) = tf_checkpoint.read(str(tmp_path / "out")).optimizers
    assert made.iterations == 20
    assert {other.name: other.value for other in made.other} == pytest.approx(
        {"beta1_power": 0.9**21, "beta2_power": 0.999**21}, rel=1e-4
    )


# --------------------------------------------------------------------------------------------------------------- lists


def _config(class_name: str, inner: str, **settings: Any) -> OptimizerConfig:
    inside = {"class_name": inner, "config": {"name": inner, "learning_rate": 0.01, "decay": 0.0, **settings}}
    found = read_config({"class_name": f"Addons>{class_name}", "config": {"name": class_name, "optimizer": inside}})
    assert found is not None
    return found


def _list(names: list[str], shapes: list[tuple[int, ...]]) -> list[StateVariable]:
    count = StateVariable(TensorRef("0", "int64", (), None), 7, names[0])
    rest = zip(names[1:], shapes, strict=True)
    return [
        count,
        *(
            StateVariable(TensorRef(str(at), "float32", shape, None), None, name)
            for at, (name, shape) in enumerate(rest, 1)
        ),
    ]


def _named(wrapper: str, *kinds: str) -> list[StateVariable]:
    names = [f"{wrapper}/{path}/{kind}:0" for kind in kinds for path in SHAPES]
    return _list(["iter:0", *names], [shape for _ in kinds for shape in SHAPES.values()])


@pytest.mark.parametrize(
    ("wrapper", "inner", "settings", "kinds"),
    [
        ("Lookahead", "Adam", {}, ["slow", "m", "v"]),
        ("MovingAverage", "SGD", {"momentum": 0.9}, ["average", "momentum"]),
        ("MovingAverage", "SGD", {"momentum": 0.0}, ["average"]),
        ("SWA", "RMSprop", {"momentum": 0.0, "rho": 0.9}, ["average", "rms"]),
        ("Lookahead", "RectifiedAdam", {}, ["slow", "m", "v"]),
    ],
)
def test_a_list(wrapper: str, inner: str, settings: dict[str, Any], kinds: list[str]) -> None:
    """The class is read from inside the configuration, and a slot that another variable has is missed by name."""
    state = _named(wrapper, *kinds)
    found = read_state(state, MODEL, config=_config(wrapper, inner, **settings))
    assert (found.class_name, found.iterations, found.wrapper and found.wrapper.class_name) == (inner, 7, wrapper)
    assert {slot.variable for slot in found.slots} == set(SHAPES)
    assert optimizer_status(found) is Status.COMPLETE
    lacking = read_state(state[:1] + state[2:], MODEL, config=_config(wrapper, inner, **settings))
    assert [(each.name, each.variable) for each in lacking.missing] == [(kinds[0], "hidden/kernel")]


def test_numbers_in_names() -> None:
    """Keras 2.3's names tell kind and place; findings and verdict agree that all of it is there."""
    kinds = ("m", "v", "vhat", "sp")
    names = [f"training/Lookahead/{kind}_{at}_1:0" for kind in kinds for at in range(4)]
    shapes = [(1,) if kind == "vhat" else shape for kind in kinds for shape in SHAPES.values()]
    config = read_config(
        {
            "class_name": "Lookahead",
            "config": {"optimizer": {"class_name": "Adam", "config": {"learning_rate": 0.01, "decay": 0.0}}},
        }
    )
    found = read_state(_list(["Adam/iterations:0", *names], shapes), MODEL, config=config, generation=Generation.KERAS1)
    assert [(slot.name, slot.variable) for slot in found.slots] == [(kind, path) for kind in kinds for path in SHAPES]
    state = TrainingState("p", Format.KERAS_H5, variables=MODEL, optimizers=(found,))
    assert not [each for each in judge(Evidence("p", state)) if each.severity is Severity.ERROR]
    assert optimizer_verdict(found).startswith("resumes at iteration 7")


@pytest.mark.parametrize("interleaved", [False, True])
def test_a_class_that_nobody_knows(interleaved: bool) -> None:  # noqa: FBT001
    """Without names the shapes tell which slot is whose, kind by kind or variable by variable; no layout is assumed."""
    shapes = list(SHAPES.values())
    listed = [shape for shape in shapes for _ in range(3)] if interleaved else shapes * 3
    state = _list([""] * 13, listed)
    state = [each._replace(name=None) for each in state]
    config = OptimizerConfig("Sophia", Generation.KERAS3)
    found = read_state(state, MODEL, config=config, generation=Generation.KERAS3)
    assert (found.class_name, len(found.slots), found.missing) == ("Sophia", 12, ())
    assert {slot.name for slot in found.slots} == {"state_0", "state_1", "state_2"}
    assert all(slot.tensor.shape == SHAPES[slot.variable or ""] for slot in found.slots)
    assert "its state is given as it is" in found.notes[0]


def test_several_inside_one() -> None:
    """tensorflow_addons' MultiOptimizer saves its count: what the others kept is lost, and told."""
    inner = [{"optimizer": {"class_name": each, "config": {"name": each, "decay": 0.0}}} for each in ("Adam", "SGD")]
    config = read_config({"class_name": "Addons>MultiOptimizer", "config": {"name": "Multi", "optimizer_specs": inner}})
    found = read_state(_list(["iter:0"], []), MODEL, config=config)
    assert {each.name for each in found.missing} == {"slots of Adam"}
    assert {each.variable for each in found.missing} == set(SHAPES)
    assert optimizer_status(found) is Status.PARTIAL


# --------------------------------------------------------------------------------------------------------------- dumps


def _arrays(order: list[tuple[int, ...]], *, positive: bool) -> list[Any]:
    rng = np.random.default_rng(1)
    values = [rng.normal(size=shape).astype("float32") * 0.05 for shape in order]
    return [abs(each) if positive else each for each in values]


def _dumped(folder: Path, arrays: list[Any]) -> tuple[Path, OptimizerState]:
    path = folder / "optimizer.pkl"
    path.write_bytes(pickle.dumps([np.int64(7), *arrays]))
    (found,) = ckptdoctor.inspect(path)
    assert found.state is not None
    return path, found.state.optimizers[0]


def test_several_layouts_fit(tmp_path: Path) -> None:
    """Three slots each of four variables, or one of twelve: the class is not told, and what would fit is."""
    _, found = _dumped(tmp_path, _arrays(list(SHAPES.values()) * 3, positive=False))
    assert (found.class_name, found.iterations, len(found.slots)) == (None, 7, 12)
    assert "SGD" in found.class_candidates
    assert "does not prove its class" in found.notes[0]
    assert {slot.role for slot in found.slots} == {Role.OTHER}


def test_values_that_doubt_a_class(tmp_path: Path) -> None:
    """v, m of each variable in turn is laid out as Ftrl's, whose accumulators begin at 0.1; Yogi's do not."""
    shapes = [shape for shape in SHAPES.values() for _ in range(2)]
    magnitudes, moments = _arrays(shapes, positive=True), _arrays(shapes, positive=False)
    _, found = _dumped(tmp_path, [(moments if at % 2 else magnitudes)[at] for at in range(len(shapes))])
    assert (found.class_name, found.class_candidates) == (None, ("Ftrl",))


def test_a_dump_in_the_others_order(tmp_path: Path) -> None:
    """A dump of a class that nobody knows is compared in the order of a file of the same run."""
    _, found = _dumped(tmp_path, _arrays(list(SHAPES.values()) * 3, positive=False))
    other = read_state(_named("Lookahead", "slow", "m", "v"), MODEL, config=_config("Lookahead", "Adam"))
    dump = TrainingState("b", Format.OPTIMIZER_DUMP, optimizers=(found,))
    file = TrainingState("a", Format.KERAS_H5, variables=MODEL, optimizers=(other,))
    pair = pair_slots((file, other), (dump, found), {})
    assert all(
        each.a and each.b and (each.a.name, each.a.variable) == (each.b.name, each.b.variable) for each in pair.slots
    )
    assert len(pair.slots) == 12
    assert pair.b is not None
    assert (pair.b.class_name, pair.b.class_inferred) == ("Adam", True)
