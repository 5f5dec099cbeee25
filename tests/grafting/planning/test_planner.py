"""Plans: what is taken from where, and what is refused. Pure data in, pure data out, but for the values of weights."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from ckptdoctor.errors import GraftRefused
from ckptdoctor.grafting.options import Options
from ckptdoctor.grafting.planning.planner import make_plan
from ckptdoctor.references import Inline, TensorRef
from ckptdoctor.state import (
    Format,
    Generation,
    ModelVariable,
    OptimizerState,
    OtherVariable,
    Producer,
    Recoverable,
    Role,
    Slot,
    TrainingState,
    Wrapper,
)

KERNEL, BIAS = (2, 3), (3,)
ROLES = {
    "m": Role.FIRST_MOMENT,
    "v": Role.SECOND_MOMENT,
    "momentum": Role.MOMENTUM,
    "vhat": Role.MAX_SECOND_MOMENT,
}


def tensor(key: str, shape: tuple[int, ...], start: float, dtype: str = "float32") -> TensorRef:
    """A tensor whose values begin at `start`."""
    size = 1
    for extent in shape:
        size *= extent
    return TensorRef(key, dtype, shape, Inline(struct.pack(f"<{size}f", *(start + i for i in range(size)))))


def variables(names: Sequence[str] = ("a/kernel", "a/bias"), start: float = 1.0) -> tuple[ModelVariable, ...]:
    """Model variables: kernels and biases, each with values of its own."""
    return tuple(
        ModelVariable(name, tensor(name, KERNEL if name.endswith("kernel") else BIAS, start + 10 * i), True)
        for i, name in enumerate(names)
    )


def optimizer(
    names: Sequence[str] = ("a/kernel", "a/bias"),
    kinds: Sequence[str] = ("m", "v"),
    class_name: str = "Adam",
    generation: Generation = Generation.OPTIMIZER_V2,
    **changes: object,
) -> OptimizerState:
    """An optimizer with these slots for these variables."""
    slots = tuple(
        Slot(
            kind, ROLES[kind], name, tensor(f"{name}/{kind}", KERNEL if name.endswith("kernel") else BIAS, 0.5), "name"
        )
        for name in names
        for kind in kinds
    )
    facts: dict[str, object] = {"iterations": 7, "hyperparameters": {"learning_rate": 0.01}, "slots": slots}
    return OptimizerState("optimizer", class_name, generation, **(facts | changes))  # type: ignore[arg-type]


def artifact(
    optimizers: Sequence[OptimizerState] = (),
    model: tuple[ModelVariable, ...] | None = None,
    kind: Format = Format.TF_CHECKPOINT,
    version: str | None = None,
    counters: dict[str, int] | None = None,
) -> TrainingState:
    """An artifact with this model and these optimizers."""
    return TrainingState(
        path="x",
        format=kind,
        producer=Producer("keras", version),
        variables=variables() if model is None else model,
        optimizers=tuple(optimizers),
        counters=counters or {},
    )


def test_weights_only_gets_the_donors_optimizer() -> None:
    """A target without an optimizer gets the donor's, in the donor's generation, slot by slot."""
    plan = make_plan(artifact([optimizer()]), artifact(), "out")
    made = plan.optimizer
    assert (made.class_name, made.generation, made.iterations) == ("Adam", Generation.OPTIMIZER_V2, 7)
    assert made.trained == ("a/kernel", "a/bias")
    assert [(slot.kind.name, slot.variable) for slot in made.slots] == [
        ("m", "a/kernel"),
        ("m", "a/bias"),
        ("v", "a/kernel"),
        ("v", "a/bias"),
    ]
    assert all(slot.source is not None and slot.factor == 1.0 for slot in made.slots)
    assert made.learning_rate == 0.01


def test_a_newer_generation_gets_its_own_order_and_names() -> None:
    """Grouped m, v becomes interleaved momentum, velocity for Keras 3."""
    target = artifact(kind=Format.KERAS_ARCHIVE, version="3.15.1")
    made = make_plan(artifact([optimizer()]), target, "out").optimizer
    assert made.generation is Generation.KERAS3
    assert [(slot.kind.name, slot.variable) for slot in made.slots] == [
        ("momentum", "a/kernel"),
        ("velocity", "a/kernel"),
        ("momentum", "a/bias"),
        ("velocity", "a/bias"),
    ]


def test_as_chooses_the_generation() -> None:
    """`--as` names the generation to write."""
    made = make_plan(artifact([optimizer()]), artifact(), "out", Options(generation=Generation.KERAS2)).optimizer
    assert made.generation is Generation.KERAS2


def test_tensorflow_1_momentum_changes_sign_and_scale() -> None:
    """The plan carries the factor and the formula."""
    donor = optimizer(kinds=["momentum"], class_name="SGD", generation=Generation.TF1, iterations=3)
    configured = optimizer(class_name="SGD", iterations=None, slots=(), hyperparameters={"momentum": 0.9})
    made = make_plan(artifact([donor]), artifact([configured]), "out").optimizer
    assert {slot.factor for slot in made.slots} == {-0.01}
    assert {slot.formula for slot in made.slots} == {"momentum = -learning_rate x accumulator"}


@pytest.mark.parametrize(
    ("donor", "target", "options", "says"),
    [
        (artifact(), artifact(), Options(), "the donor holds no optimizer state"),
        (
            artifact([optimizer()]),
            artifact([optimizer(class_name="SGD", kinds=["momentum"])]),
            Options(),
            "the donor's optimizer is Adam, the target's SGD",
        ),
        (
            artifact([optimizer(["b/kernel"])], variables(["b/kernel"])),
            artifact(),
            Options(),
            "have no counterpart in the donor.*--partial",
        ),
        (artifact([optimizer(iterations=None)]), artifact(), Options(), "no iteration count.*--iterations"),
        (
            artifact([optimizer(kinds=["m", "v", "vhat"])]),
            artifact([optimizer()]),
            Options(),
            "keeps state for amsgrad",
        ),
        (
            artifact([optimizer(), optimizer()]),
            artifact(),
            Options(),
            "has 2 optimizers.*--optimizer",
        ),
        (artifact([optimizer(kinds=["m"])]), artifact(), Options(), "lacks v of a/kernel, v of a/bias"),
        (
            artifact([optimizer(hyperparameters={"learning_rate": 0.1, "decay": 0.01})]),
            artifact(kind=Format.KERAS_ARCHIVE, version="3.15.1"),
            Options(),
            "InverseTimeDecay",
        ),
        (None, artifact([optimizer()]), Options(), "neither a donor nor a count"),
        (None, artifact(), Options(iterations=3), "has no optimizer, so there is no count"),
        (
            artifact([optimizer()]),
            artifact(),
            Options(only=frozenset({"iterations"})),
            "the target has no optimizer: take the slots as well",
        ),
    ],
)
def test_refusals(donor: TrainingState | None, target: TrainingState, options: Options, says: str) -> None:
    """What is incompatible, ambiguous or incomplete is refused, with the way out."""
    with pytest.raises(GraftRefused, match=says):
        make_plan(donor, target, "out", options)


def test_partial_leaves_zeros_and_names_them() -> None:
    """With --partial, variables without a counterpart start fresh and are listed."""
    plan = make_plan(
        artifact([optimizer(["a/kernel"])], variables(["a/kernel"])), artifact(), "out", Options(partial=True)
    )
    empty = [slot.variable for slot in plan.optimizer.slots if slot.source is None]
    assert set(empty) == {"a/bias"}
    assert plan.unmatched == (("a/bias", "no counterpart in the donor"),)


def test_only_iterations_keeps_the_targets_slots() -> None:
    """`--only iterations` takes the count and nothing else."""
    target = artifact([optimizer(iterations=1, hyperparameters={"learning_rate": 0.5})])
    made = make_plan(artifact([optimizer()]), target, "out", Options(only=frozenset({"iterations"}))).optimizer
    assert made.iterations == 7
    assert made.learning_rate == 0.5
    own = {slot.tensor for slot in target.optimizers[0].slots}
    assert {slot.source for slot in made.slots} == own
    assert {slot.matched for slot in made.slots} == {"own"}


def test_a_count_by_hand_needs_no_donor() -> None:
    """`--iterations N` alone sets the count of the target's own state."""
    plan = make_plan(None, artifact([optimizer(iterations=None)]), "out", Options(iterations=42))
    assert plan.donor is None
    assert plan.optimizer.iterations == 42
    assert all(slot.matched == "own" for slot in plan.optimizer.slots)


def test_a_recoverable_count_is_used_and_said() -> None:
    """A count that follows from beta powers is taken, with a warning."""
    donor = optimizer(iterations=None, recoverable=Recoverable(9, "beta2_power"))
    plan = make_plan(artifact([donor]), artifact(), "out")
    assert plan.optimizer.iterations == 9
    assert any("beta2_power" in warning for warning in plan.warnings)


def test_equal_weights_confirm_an_order() -> None:
    """Two kernels of one shape and other names: equal weights turn a guess into a match."""
    names, others = ("a/kernel", "b/kernel"), ("x/kernel", "y/kernel")
    donor = artifact([optimizer(others)], variables(others))
    plan = make_plan(donor, artifact(model=variables(names)), "out")
    assert {slot.matched for slot in plan.optimizer.slots} == {"weights"}
    assert plan.warnings == ()


def test_a_permutation_is_exposed() -> None:
    """By order the state would go to the wrong kernel; the weights say so, and the line that settles it is given."""
    first, second = variables(("x/kernel", "y/kernel"))
    swapped = (first._replace(tensor=second.tensor), second._replace(tensor=first.tensor))
    donor = artifact([optimizer(("x/kernel", "y/kernel"))], swapped)
    with pytest.raises(GraftRefused, match="--map y/kernel=a/kernel"):
        make_plan(donor, artifact(model=variables(("a/kernel", "b/kernel"))), "out")


def test_names_against_the_weights_are_refused_with_all_lines() -> None:
    """The same names, and the weights of the other: every line that settles it is given, and followed it works."""
    names = ("a/kernel", "b/kernel")
    first, second = variables(names)
    swapped = (first._replace(tensor=second.tensor), second._replace(tensor=first.tensor))
    donor, target = artifact([optimizer(names)], swapped), artifact(model=variables(names))
    with pytest.raises(GraftRefused, match=r"by name a/kernel .*--map b/kernel=a/kernel --map a/kernel=b/"):
        make_plan(donor, target, "out")
    mapped = {"a/kernel": "b/kernel", "b/kernel": "a/kernel"}
    assert make_plan(donor, target, "out", Options(mapping=mapped)).warnings == ()


def test_a_map_against_the_weights_is_done_and_said() -> None:
    """What the user maps is believed, with a warning."""
    names = ("a/kernel", "b/kernel")
    donor, target = artifact([optimizer(names)], variables(names)), artifact(model=variables(names))
    plan = make_plan(donor, target, "out", Options(mapping={"a/kernel": "b/kernel", "b/kernel": "a/kernel"}))
    assert any("its weights are those of b/kernel" in warning for warning in plan.warnings)


def test_equal_weights_match_what_nothing_else_does() -> None:
    """Other names and another number of variables of one shape: weights that are unique on both sides tell."""
    donor = artifact([optimizer(("p/kernel", "q/kernel", "r/kernel"))], variables(("p/kernel", "q/kernel", "r/kernel")))
    target = artifact(model=variables(("a/kernel", "b/kernel")))
    plan = make_plan(donor, target, "out")
    assert {slot.variable: (slot.donor_variable, slot.matched) for slot in plan.optimizer.slots} == {
        "a/kernel": ("p/kernel", "equal"),
        "b/kernel": ("q/kernel", "equal"),
    }
    assert [(each.variable, each.slots) for each in plan.unused] == [("r/kernel", ("m", "v"))]


def test_one_line_does_not_drop_the_others() -> None:
    """A target that does not say what is trained keeps every variable that the donor may have state for."""
    unsure = tuple(each._replace(trainable=None) for each in variables(("a/kernel", "b/kernel", "c/kernel"), 900.0))
    donor = artifact([optimizer(("p/kernel", "q/kernel"))], ())
    with pytest.raises(GraftRefused, match=r"2 of 3 target variables .*--map q/kernel=b/kernel"):
        make_plan(donor, artifact(model=unsure), "out", Options(mapping={"p/kernel": "a/kernel"}))
    both = {"p/kernel": "a/kernel", "q/kernel": "b/kernel"}
    plan = make_plan(donor, artifact(model=unsure), "out", Options(mapping=both))
    assert plan.optimizer.trained == ("a/kernel", "b/kernel")
    assert any("c/kernel" in warning for warning in plan.warnings)


def test_a_list_does_not_shift() -> None:
    """A target that may lack some of its model's variables gets no list without them: later places would be others'."""
    donor = artifact([optimizer(("a/kernel", "b/kernel", "c/bias"))], ())
    unsure = tuple(each._replace(trainable=None) for each in variables(("a/kernel", "c/bias")))
    with pytest.raises(GraftRefused, match=r"\(b/kernel\).*would shift.*--partial"):
        make_plan(donor, artifact(model=unsure), "out", Options(generation=Generation.KERAS3))
    plan = make_plan(donor, artifact(model=unsure), "out", Options(generation=Generation.KERAS3, partial=True))
    assert [each.variable for each in plan.unused] == ["b/kernel"]


def test_a_result_with_fewer_slots_is_refused() -> None:
    """The target's own state is not thinned out, by a conversion either."""
    target = artifact([optimizer(kinds=["m", "v", "vhat"])])
    with pytest.raises(GraftRefused, match=r"would be lost|the result would hold"):
        make_plan(None, target, "out", Options(iterations=3, generation=Generation.TF1))


def test_weights_of_another_run_are_a_warning() -> None:
    """The same names with quite other weights: the moments belong to them."""
    donor = artifact([optimizer()], variables(start=1000.0))
    plan = make_plan(donor, artifact(), "out")
    assert any("another run" in warning for warning in plan.warnings)


def test_an_order_that_nothing_proves_is_said() -> None:
    """Without the donor's weights, order among equal shapes is a warning."""
    donor = artifact([optimizer(("x/kernel", "y/kernel"))], ())
    plan = make_plan(donor, artifact(model=variables(("a/kernel", "b/kernel"))), "out")
    assert {slot.matched for slot in plan.optimizer.slots} == {"order"}
    assert any("order among equal shapes" in warning for warning in plan.warnings)


def test_nadams_product_is_computed_for_the_target() -> None:
    """The scalar of the written generation follows from the count."""
    donor = optimizer(class_name="Nadam")
    target = artifact(kind=Format.KERAS_ARCHIVE, version="3.15.1")
    made = make_plan(artifact([donor]), target, "out").optimizer
    assert made.singles["u_product"] == pytest.approx(0.00968, rel=1e-3)


def test_the_targets_wrapper_stays_and_a_donors_is_taken_off() -> None:
    """A plain target gets a plain optimizer, a wrapped one keeps its LossScaleOptimizer."""
    wrapped = optimizer(
        wrapper=Wrapper("LossScaleOptimizer", 512.0, (OtherVariable("good_steps", tensor("g", (), 0.0), 3),))
    )
    bare = make_plan(artifact([wrapped]), artifact([optimizer()]), "out").optimizer
    assert bare.wrapper is None
    kept = make_plan(artifact([optimizer()]), artifact([wrapped]), "out").optimizer
    assert kept.wrapper == ("LossScaleOptimizer", {"good_steps": 3})
