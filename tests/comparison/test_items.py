"""What is no tensor of a variable: class, generation, iterations, settings, schedules, scalars, wrappers."""

from __future__ import annotations

from typing import Any

import pytest

from ckptdoctor.comparison.items import compare_items
from ckptdoctor.comparison.results import Item, Layer, Outcome
from ckptdoctor.comparison.settings import same_number
from ckptdoctor.comparison.values import Tolerance
from ckptdoctor.optimizers.translation import Numbers, nadam_product
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, OptimizerState, OtherVariable, Recoverable, Schedule, Wrapper

TF1, V2, K2, K3 = Generation.TF1, Generation.OPTIMIZER_V2, Generation.KERAS2, Generation.KERAS3
CONFIGURED = {"learning_rate": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False}


def scalar(name: str, value: float) -> OtherVariable:
    """A scalar of an optimizer."""
    return OtherVariable(name, TensorRef(name, "float32", (), None), value)


def adam(generation: Generation = K3, **more: Any) -> OptimizerState:
    """An Adam at iteration 7."""
    given: dict[str, Any] = {"class_name": "Adam", "iterations": 7, **more}
    return OptimizerState(name="optimizer", generation=generation, **given)


def items(a: OptimizerState | None, b: OptimizerState | None, tolerance: Tolerance = Tolerance()) -> dict[str, Item]:  # noqa: B008 - frozen
    """Every item, by name."""
    return {each.name: each for each in compare_items(a, b, tolerance)}


def outcomes(a: OptimizerState | None, b: OptimizerState | None) -> dict[str, Outcome]:
    """Every item's outcome, by name."""
    return {name: each.outcome for name, each in items(a, b).items()}


# -------------------------------------------------------------------------------------------- class, generation, count


@pytest.mark.parametrize(
    ("a", "b", "outcome"),
    [
        ({"class_name": "Adam"}, {"class_name": "Adam"}, Outcome.EQUAL),
        ({"class_name": "Adam"}, {"class_name": "SGD"}, Outcome.DIFFERENT),
        ({"class_name": "Adam"}, {"class_name": None}, Outcome.NOT_COMPARED),
        (
            {"class_name": "Adam", "class_inferred": True, "class_candidates": ("AdamW",)},
            {"class_name": "AdamW"},
            Outcome.EQUAL,
        ),
        ({"class_name": "Adam", "class_inferred": True}, {"class_name": "Lamb"}, Outcome.UNDECIDED),
    ],
)
def test_the_class(a: dict[str, Any], b: dict[str, Any], outcome: Outcome) -> None:
    """Classes are equal where they are recorded so, or where what was inferred fits; a guess proves no difference."""
    assert outcomes(adam(**a), adam(**b))["class"] is outcome


def test_generations_are_no_difference() -> None:
    """One state is stored by two generations in two ways."""
    assert outcomes(adam(V2), adam(K3))["generation"] is Outcome.NOT_COMPARED
    assert outcomes(adam(V2), adam(V2))["generation"] is Outcome.EQUAL


@pytest.mark.parametrize(
    ("a", "b", "outcome"),
    [
        ({}, {}, Outcome.EQUAL),
        ({}, {"iterations": 8}, Outcome.DIFFERENT),
        ({}, {"iterations": 0}, Outcome.DIFFERENT),
        ({}, {"iterations": None}, Outcome.ONLY_A),
        ({"iterations": None}, {}, Outcome.ONLY_B),
        ({}, {"iterations": None, "recoverable": Recoverable(7, "beta2_power")}, Outcome.EQUAL),
        ({}, {"iterations": None, "recoverable": Recoverable(6, "beta2_power")}, Outcome.DIFFERENT),
    ],
)
def test_the_count(a: dict[str, Any], b: dict[str, Any], outcome: Outcome) -> None:
    """Counts are equal, different, or only on one side; one that follows from something else counts."""
    assert outcomes(adam(**a), adam(**b))["iterations"] is outcome


def test_a_count_that_neither_has() -> None:
    """Keras before 2.3 stores none for RMSprop: that is no difference, and is told."""
    old: dict[str, Any] = {"iterations": None, "other": (scalar("x", 1.0),)}
    found = items(adam(**old), adam(**old))["iterations"]
    assert (found.outcome, found.detail) == (Outcome.NOT_COMPARED, "neither stores a count")


def test_an_optimizer_of_one_side() -> None:
    """What only one artifact has is only there."""
    assert outcomes(adam(), None) == {"class": Outcome.ONLY_A, "iterations": Outcome.ONLY_A}
    assert outcomes(None, adam()) == {"class": Outcome.ONLY_B, "iterations": Outcome.ONLY_B}
    assert outcomes(None, adam(iterations=None)) == {}


# ----------------------------------------------------------------------------------------------------- hyperparameters


def test_hyperparameters_are_compared_in_float32() -> None:
    """0.9 in a configuration is 0.8999999761581421 in a variable."""
    found = outcomes(adam(hyperparameters={"beta_1": 0.9}), adam(hyperparameters={"beta_1": 0.8999999761581421}))
    assert found["beta_1"] is Outcome.EQUAL
    found = outcomes(adam(hyperparameters={"beta_1": 0.9}), adam(hyperparameters={"beta_1": 0.90001}))
    assert found["beta_1"] is Outcome.DIFFERENT


def test_tolerances_are_not_for_hyperparameters() -> None:
    """A tolerance is for values of tensors: beta 0.9 is not 0.99 under any."""
    a, b = adam(hyperparameters={"beta_1": 0.9}), adam(hyperparameters={"beta_1": 0.99})
    assert items(a, b, Tolerance(rtol=0.5))["beta_1"].outcome is Outcome.DIFFERENT


def test_what_one_side_does_not_record() -> None:
    """A checkpoint keeps few hyperparameters: the others are told, and are no difference."""
    found = items(adam(hyperparameters=CONFIGURED), adam(hyperparameters={"learning_rate": 0.01}))
    assert found["epsilon"].outcome is Outcome.NOT_COMPARED
    assert found["epsilon"].detail == "B does not record it"
    assert "amsgrad" not in found  # switched off: there is nothing to tell


def test_what_a_configuration_leaves_out() -> None:
    """OptimizerV2 writes clipnorm only if it is set: a configuration without it says that nothing is clipped."""
    clipped = adam(V2, hyperparameters={**CONFIGURED, "clipnorm": 1.0})
    assert outcomes(clipped, adam(V2, hyperparameters=CONFIGURED))["clipnorm"] is Outcome.DIFFERENT
    assert outcomes(clipped, adam(V2, hyperparameters={"beta_1": 0.9}))["clipnorm"] is Outcome.NOT_COMPARED


def test_what_a_generation_does_not_have() -> None:
    """Keras 3 has no decay: a legacy optimizer that decays is another one; one that does not decay is the same."""
    modern = adam(K3, hyperparameters=CONFIGURED)
    assert outcomes(adam(V2, hyperparameters={**CONFIGURED, "decay": 0.1}), modern)["decay"] is Outcome.DIFFERENT
    assert "decay" not in outcomes(adam(V2, hyperparameters={**CONFIGURED, "decay": 0.0}), modern)


def test_averaging_that_is_off() -> None:
    """The details of an average that nobody keeps are no difference."""
    a = {**CONFIGURED, "use_ema": False, "ema_momentum": 0.99, "ema_overwrite_frequency": 100}
    assert set(outcomes(adam(hyperparameters=a), adam(V2, hyperparameters=CONFIGURED))) & set(a) == set(CONFIGURED)


# ------------------------------------------------------------------------------------------------------------ the rate


def cosine(**config: object) -> dict[str, Any]:
    """A configuration with a cosine schedule."""
    given = {"initial_learning_rate": 0.01, "decay_steps": 1000, **config}
    return {"schedule": Schedule("CosineDecay", given), "hyperparameters": {"learning_rate": "CosineDecay"}}


@pytest.mark.parametrize(
    ("a", "b", "outcome"),
    [
        (cosine(), cosine(), Outcome.EQUAL),
        (cosine(name="a"), cosine(name="b", alpha=0.0, warmup_target=None), Outcome.EQUAL),
        (cosine(), cosine(decay_steps=2000), Outcome.DIFFERENT),
        (cosine(), {"schedule": Schedule("ExponentialDecay", {})}, Outcome.DIFFERENT),
        (cosine(), {"hyperparameters": {"learning_rate": 0.01}}, Outcome.DIFFERENT),
        (cosine(), {}, Outcome.NOT_COMPARED),
    ],
)
def test_schedules(a: dict[str, Any], b: dict[str, Any], outcome: Outcome) -> None:
    """Schedules are of one class and one configuration; a constant rate is none."""
    assert outcomes(adam(**a), adam(**b))["schedule"] is outcome
    assert outcomes(adam(**b), adam(**a))["schedule"] is outcome


def test_what_differs_in_a_schedule() -> None:
    """The settings that differ are named."""
    found = items(adam(**cosine()), adam(**cosine(decay_steps=2000)))["schedule"]
    assert found.detail == "decay_steps 1000 in A, 2000 in B"


def test_schedules_that_are_nested_deep() -> None:
    """A hostile configuration nests as deep as JSON is read; comparing it does not."""

    def deep(end: float) -> dict[str, Any]:
        config: object = end
        for _ in range(3000):
            config = {"initial_learning_rate": config}
        return cosine(initial_learning_rate=config)

    assert outcomes(adam(**deep(1.0)), adam(**deep(1.0)))["schedule"] is Outcome.EQUAL
    found = items(adam(**deep(1.0)), adam(**deep(2.0)))["schedule"]
    assert found.outcome is Outcome.DIFFERENT
    assert found.detail == "initial_learning_rate a configuration in A, a configuration in B"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (0.1, 0.10000000149011612, True),
        (1 << 2000, 1 << 2000, True),
        (1 << 2000, 1 << 2001, False),
        (float("nan"), float("nan"), True),
        (True, 1.0, False),
        (False, None, True),
        ([0.1, 2], (0.10000000149011612, 2), True),
        ([1], [1, 2], False),
        ({"a": 1}, 1, False),
        ("cosine", "cosine", True),
    ],
    ids=lambda value: str(value)[:20],
)
def test_settings(one: object, other: object, *, same: bool) -> None:
    """Settings of every kind."""
    assert same_number(one, other) is same


def test_rates() -> None:
    """Constant rates are compared; one that is not recorded is told."""
    one, other = (adam(hyperparameters={"learning_rate": rate}) for rate in (0.01, 0.001))
    assert outcomes(one, other)["learning_rate"] is Outcome.DIFFERENT
    assert outcomes(one, adam())["learning_rate"] is Outcome.NOT_COMPARED


# ------------------------------------------------------------------------------------------------------------- scalars


def nadam(generation: Generation, name: str, product: float | None = None, **more: Any) -> OptimizerState:
    """A Nadam whose product is the one of its count."""
    value = nadam_product(Numbers(iterations=7), generation) if product is None else product
    return adam(generation, class_name="Nadam", other=(scalar(name, value),), **more)


def test_nadams_product() -> None:
    """It has a name and a formula in each generation; where both follow from the count they are one."""
    old, new = nadam(V2, "momentum_cache"), nadam(K3, "_u_product")
    found = items(old, new)["momentum product"]
    assert found.a != found.b
    assert found.outcome is Outcome.EQUAL
    assert outcomes(old, nadam(K3, "u_product", 0.5))["momentum product"] is Outcome.DIFFERENT
    assert outcomes(new, nadam(K3, "u_product", 0.5))["momentum product"] is Outcome.DIFFERENT


def test_nadams_product_where_a_format_leaves_it_out() -> None:
    """HDF5 does not keep Keras 3's: it follows from the count, unless it does not."""
    bare = adam(class_name="Nadam")
    assert outcomes(bare, nadam(K3, "u_product"))["momentum product"] is Outcome.EQUAL
    assert outcomes(nadam(K3, "u_product", 0.5), bare)["momentum product"] is Outcome.ONLY_A


def powers(beta_1: float = 0.9, count: int = 7, **more: Any) -> OptimizerState:
    """A TF1 Adam with its beta powers."""
    other = (scalar("scope/beta1_power_1", beta_1 ** (count + 1)), scalar("beta2_power", 0.999 ** (count + 1)))
    return adam(TF1, other=other, iterations=count, **more)


def test_beta_powers() -> None:
    """They are a hyperparameter and the count, which other generations hold as such."""
    modern = adam(hyperparameters={"beta_1": 0.9, "beta_2": 0.999})
    assert outcomes(powers(), modern)["beta1_power"] is Outcome.EQUAL
    assert outcomes(modern, powers())["beta2_power"] is Outcome.EQUAL
    assert outcomes(powers(0.8), modern)["beta1_power"] is Outcome.DIFFERENT
    assert outcomes(powers(0.8), adam())["beta1_power"] is Outcome.NOT_COMPARED
    assert "beta_1 is 0.8, which B does not record" in items(powers(0.8), adam())["beta1_power"].detail


def test_beta_powers_that_have_vanished() -> None:
    """After a thousand steps beta1_power is 0 in float32, and says nothing."""
    old = adam(TF1, iterations=1000, other=(scalar("beta1_power", 0.0),))
    found = outcomes(old, adam(iterations=1000, hyperparameters={"beta_1": 0.9}))
    assert found["beta1_power"] is Outcome.NOT_COMPARED


@pytest.mark.parametrize("beta", [float("nan"), float("inf"), 1 << 2000, "0.9", True, None])
def test_settings_that_make_no_sense(beta: object) -> None:
    """Whatever a hostile file says a beta is: that nothing follows from it is the answer, not an error."""
    odd: dict[str, object] = {"beta_1": beta, "beta_2": beta, "learning_rate": beta, "schedule_decay": -1e300}
    assert outcomes(powers(), adam(hyperparameters=odd))["beta1_power"] is Outcome.NOT_COMPARED
    assert outcomes(powers(count=-1), adam(iterations=-1))["beta1_power"] is Outcome.NOT_COMPARED
    keras1 = nadam(Generation.KERAS1, "m_schedule", hyperparameters=odd)
    assert outcomes(keras1, nadam(K3, "u_product"))["momentum product"] is Outcome.DIFFERENT


def test_other_scalars() -> None:
    """Any other scalar is equal, within the tolerance, different, or only on one side."""
    a, b = adam(other=(scalar("x", 1.0),)), adam(other=(scalar("x", 1.01),))
    assert items(a, a)["x"].outcome is Outcome.EQUAL
    assert items(a, b)["x"].outcome is Outcome.DIFFERENT
    assert items(a, b, Tolerance(rtol=0.1))["x"].outcome is Outcome.EQUAL
    assert items(a, adam())["x"].outcome is Outcome.ONLY_A
    assert items(adam(), a)["x"].outcome is Outcome.ONLY_B


# ------------------------------------------------------------------------------------------------------------- wrapper


def wrapped(scale: float, **scalars: float) -> OptimizerState:
    """An Adam in a LossScaleOptimizer."""
    variables = tuple(scalar(name, value) for name, value in scalars.items())
    return adam(wrapper=Wrapper("LossScaleOptimizer", scale, variables))


def test_wrappers() -> None:
    """The loss scale and its steps are state, under whatever names; the wrapper's own idle count is not."""
    keras3 = wrapped(1024.0, dynamic_scale=1024.0, step_counter=5, iteration=0, learning_rate=0.0)
    keras2 = wrapped(1024.0, current_loss_scale=1024.0, good_steps=5)
    found = outcomes(keras3, keras2)
    assert {name: found[name] for name in ("wrapper", "loss scale", "good steps")} == dict.fromkeys(
        ("wrapper", "loss scale", "good steps"), Outcome.EQUAL
    )
    assert outcomes(keras3, wrapped(512.0, step_counter=5))["loss scale"] is Outcome.DIFFERENT
    assert outcomes(keras3, wrapped(1024.0, good_steps=6))["good steps"] is Outcome.DIFFERENT
    assert outcomes(keras3, wrapped(1024.0))["good steps"] is Outcome.NOT_COMPARED
    assert outcomes(keras3, adam())["wrapper"] is Outcome.ONLY_A
    assert outcomes(adam(), keras3)["wrapper"] is Outcome.ONLY_B


def test_layers_are_named() -> None:
    """Every item says which layer it belongs to."""
    found = items(adam(hyperparameters=CONFIGURED), adam(hyperparameters=CONFIGURED))
    assert {each.layer for each in found.values()} == {
        Layer.CLASS, Layer.GENERATION, Layer.ITERATIONS, Layer.HYPERPARAMETER,
    }  # fmt: skip
