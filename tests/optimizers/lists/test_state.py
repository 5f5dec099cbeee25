"""From a list of state variables to an optimizer, without any file."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ckptdoctor.optimizers.keras.config import OptimizerConfig, read_config
from ckptdoctor.optimizers.lists.state import StateVariable, default_orders, read_state
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, ModelVariable, OptimizerState, Role, Scalar

V2, K3 = Generation.OPTIMIZER_V2, Generation.KERAS3
SHAPES = {"h/kernel": (3, 4), "h/bias": (4,), "o/kernel": (4, 2), "o/bias": (2,)}
MODEL = tuple(ModelVariable(path, TensorRef(path, "float32", shape, None), True) for path, shape in SHAPES.items())
M, B, W, C = (3, 4), (4,), (4, 2), (2,)


def state(*elements: Scalar | tuple[int, ...], names: Sequence[str] = ()) -> list[StateVariable]:
    """A list: numbers are scalars, tuples are shapes."""
    found = []
    for index, each in enumerate(elements):
        name = names[index] if names else None
        if isinstance(each, tuple):
            found.append(StateVariable(TensorRef(str(index), "float32", each, None), None, name))
        else:
            dtype = "int64" if isinstance(each, int) else "float32"
            found.append(StateVariable(TensorRef(str(index), dtype, (), None), each, name))
    return found


def config(class_name: str = "Adam", **settings: object) -> OptimizerConfig:
    """A Keras 3 configuration."""
    found = read_config({"class_name": class_name, "config": {"loss_scale_factor": None, **settings}})
    assert found is not None
    return found


def slots(found: OptimizerState) -> list[tuple[str, str | None]]:
    """Name and variable of each slot."""
    return [(slot.name, slot.variable) for slot in found.slots]


ADAM = (M, M, B, B, W, W, C, C)


def test_reads_by_position() -> None:
    """A list without names is read by the class's layout over the variables that are trained."""
    found = read_state(state(7, 0.01, *ADAM), MODEL, config=config(learning_rate=0.5))
    assert (found.class_name, found.iterations, found.iterations_key) == ("Adam", 7, "0")
    assert slots(found)[:3] == [("momentum", "h/kernel"), ("velocity", "h/kernel"), ("momentum", "h/bias")]
    assert {slot.mapping for slot in found.slots} == {"order"}
    assert [(each.name, each.value) for each in found.other] == [("learning_rate", 0.01)]
    assert found.hyperparameters["learning_rate"] == 0.5
    assert not found.missing


def test_names_beat_positions() -> None:
    """Names hold where gradients were applied in another order, although every shape fits the model's order too."""
    twins = tuple(ModelVariable(path, TensorRef(path, "float32", M, None), True) for path in ("a/k", "b/k"))
    names = ["Adam/iter:0", "Adam/b/k/m:0", "Adam/a/k/m:0", "Adam/b/k/v:0", "Adam/a/k/v:0"]
    found = read_state(state(7, M, M, M, M, names=names), twins, generation=V2)
    assert slots(found) == [("m", "b/k"), ("m", "a/k"), ("v", "b/k"), ("v", "a/k")]
    assert {slot.mapping for slot in found.slots} == {"name"}
    assert [slot.role for slot in found.slots][::2] == [Role.FIRST_MOMENT, Role.SECOND_MOMENT]


def test_infers_the_class_and_says_so() -> None:
    """Without a configuration the most common class that fits is named, the others are candidates."""
    found = read_state(state(7, 0.01, *ADAM), MODEL, generation=K3)
    assert (found.class_name, found.class_inferred) == ("Adam", True)
    assert "AdamW" in found.class_candidates
    assert "SGD" not in found.class_candidates
    assert found.hyperparameters == {"learning_rate": 0.01}


def test_never_claims_a_class_for_a_bare_count() -> None:
    """A count and a learning rate are every optimizer's: no class is named, and nothing is missing."""
    found = read_state(state(0, 0.01), MODEL, generation=K3)
    assert (found.class_name, found.iterations, found.missing) == (None, 0, ())
    assert found.has_state


def test_slots_of_variables_frozen_since() -> None:
    """State from before a layer was frozen is given to its variables, not dropped."""
    frozen = tuple(each._replace(trainable=not each.path.startswith("h")) for each in MODEL)
    assert [len(order) for order in default_orders(frozen)] == [2, 4]
    found = read_state(state(7, 0.01, *ADAM), frozen, config=config())
    assert slots(found)[0] == ("momentum", "h/kernel")
    assert not found.missing


def test_slots_of_some_variables_only() -> None:
    """Where nothing says what is frozen, the shapes say which variables have state."""
    unknown = tuple(each._replace(trainable=None) for each in MODEL)
    found = read_state(state(7, 0.01, W, W, C, C), unknown, generation=K3)
    assert {slot.variable for slot in found.slots} == {"o/kernel", "o/bias"}
    assert not found.missing


def test_names_what_is_missing() -> None:
    """A started optimizer that lacks slots of trained variables lacks each of them by name."""
    names = ["Adam/iter:0", "Adam/h/kernel/m:0", "Adam/h/kernel/v:0", "Adam/h/bias/m:0"]
    found = read_state(state(7, M, M, B, names=names), MODEL[:2], generation=V2)
    assert [(each.name, each.variable) for each in found.missing] == [("v", "h/bias")]


def test_lost_elements_leave_the_others_in_place() -> None:
    """An interrupted save: what is there is read by its place in the list, the rest is missing."""
    whole = state(7, 0.01, *ADAM)
    whole[5] = StateVariable(None)
    found = read_state(whole, MODEL, config=config())
    assert len(found.slots) == 7
    assert [(each.name, each.variable) for each in found.missing] == [("velocity", "h/bias")]


@pytest.mark.parametrize("recorded", [True, False])
def test_a_loss_scale_around_it(*, recorded: bool) -> None:
    """The inner optimizer's count is reported; the wrapper's own count never moves. mixed_float16 records none."""
    wrapped = {"class_name": "Adam", "config": {"loss_scale_factor": None}}
    about = config("LossScaleOptimizer", inner_optimizer=wrapped) if recorded else config()
    found = read_state(state(0, 0.0, 3, 4096.0, 7, 0.01, *ADAM), MODEL, config=about)
    assert (found.class_name, found.iterations) == ("Adam", 7)
    assert found.wrapper is not None
    assert (found.wrapper.class_name, found.wrapper.loss_scale) == ("LossScaleOptimizer", 4096.0)
    assert [each.name for each in found.wrapper.variables] == [
        "iteration", "learning_rate", "step_counter", "dynamic_scale",
    ]  # fmt: skip
    assert len(found.slots) == 8


def test_several_optimizers_in_one() -> None:
    """A MultiOptimizer is one optimizer; its parts' slots go to the variables that are left for each."""
    found = read_state(
        state(7, 0.0, 7, 0.01, M, M, B, B, 7, 0.05, W, C), MODEL, config=config("MultiOptimizer"), generation=K3
    )
    assert (found.class_name, found.iterations) == ("MultiOptimizer", 7)
    assert slots(found) == [
        ("optimizer_0/momentum", "h/kernel"), ("optimizer_0/velocity", "h/kernel"),
        ("optimizer_0/momentum", "h/bias"), ("optimizer_0/velocity", "h/bias"),
        ("optimizer_1/momentum", "o/kernel"), ("optimizer_1/momentum", "o/bias"),
    ]  # fmt: skip


@pytest.mark.parametrize(("version", "reported"), [("3.3.0", None), ("3.6.0", 3), (None, 3)])
def test_gradient_accumulation(version: str | None, reported: int | None) -> None:
    """The raw count of calls is the count; since 3.6 Keras reports it divided."""
    accumulated = state(7, 0.01, M, B, W, C, *ADAM)
    found = read_state(accumulated, MODEL, config=config(gradient_accumulation_steps=2), version=version)
    assert (found.iterations, found.iterations_reported) == (7, reported)
    assert [slot.name for slot in found.slots[:4]] == ["gradient_accumulator"] * 4


@pytest.mark.parametrize(
    ("value", "count"), [(7.0, 7), (7.5, None), (float("nan"), None), (float("inf"), None), (-5, -5), (2**62, 2**62)]
)
def test_counts_as_they_are_stored(value: float, count: int | None) -> None:
    """A whole number in any type is a count, as stored; anything else is none and is told, never 0."""
    about = read_config({"class_name": "SGD", "config": {"lr": 0.1}}, "1.2.2")
    found = read_state(state(value, M, B, W, C), MODEL, config=about)
    assert found.iterations == count
    assert bool(found.notes) == (count is None)


def test_an_unknown_class_keeps_its_state() -> None:
    """State of a class that no catalogue has is reported, by its names, under its own class."""
    about = read_config({"class_name": "Addons>Yogi", "config": {"name": "Yogi", "learning_rate": 0.1}})
    names = ["Yogi/iter:0", "Yogi/h/kernel/weird:0"]
    found = read_state(state(7, M, names=names), MODEL[:1], config=about)
    assert found.class_name == "Yogi"
    assert slots(found) == [("weird", "h/kernel")]


def test_what_fits_nothing_is_still_reported() -> None:
    """A list that no layout explains keeps its count and its tensors; none is given to a variable."""
    found = read_state(state(7, 0.01, (9,), (8, 8), M), MODEL, config=config())
    assert found.iterations == 7
    assert len(found.slots) + len(found.other) == 4


def test_an_empty_list_is_a_configuration() -> None:
    """No state at all: the optimizer is recorded with its configuration, and has none."""
    found = read_state([], MODEL, config=config(learning_rate=0.1))
    assert (found.class_name, found.has_state, found.recorded) == ("Adam", False, True)
