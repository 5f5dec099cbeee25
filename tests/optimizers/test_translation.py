"""What an optimizer's numbers become in another generation."""

from __future__ import annotations

from math import isclose, prod

import pytest

from ckptdoctor.optimizers.translation import (
    SINGLES,
    Numbers,
    Untranslatable,
    beta_power,
    nadam_product,
    obstacles,
    slot_rule,
    warnings,
)
from ckptdoctor.state import Generation, Role

KERAS = [Generation.KERAS1, Generation.OPTIMIZER_V2, Generation.KERAS2, Generation.KERAS3]


@pytest.mark.parametrize("keras", KERAS)
def test_momentum_is_the_step_in_keras_and_the_gradient_in_tensorflow_1(keras: Generation) -> None:
    """The accumulator is multiplied by minus the learning rate one way, divided by it the other."""
    there = slot_rule("SGD", Role.MOMENTUM, Generation.TF1, keras)
    back = slot_rule("SGD", Role.MOMENTUM, keras, Generation.TF1)
    assert there is not None
    assert back is not None
    numbers = Numbers(iterations=7, learning_rate=0.05)
    assert there.factor(numbers) == -0.05
    assert isclose(there.factor(numbers) * back.factor(numbers), 1.0)


def test_momentum_without_a_learning_rate_is_refused() -> None:
    """What it takes to translate is not guessed."""
    rule = slot_rule("SGD", Role.MOMENTUM, Generation.TF1, Generation.KERAS3)
    assert rule is not None
    with pytest.raises(Untranslatable, match="learning rate"):
        rule.factor(Numbers(iterations=7))


@pytest.mark.parametrize("role", [Role.FIRST_MOMENT, Role.SECOND_MOMENT, Role.MAX_SECOND_MOMENT])
def test_moments_are_the_same_everywhere(role: Role) -> None:
    """Adam's numbers are copied as they are between any two generations."""
    assert all(slot_rule("Adam", role, one, other) is None for one in Generation for other in Generation)


def test_nadams_products() -> None:
    """Keras 2.11 and later run through the schedule 250 times as fast as those before; figures of real runs."""
    numbers = Numbers(iterations=7)
    assert isclose(nadam_product(numbers, Generation.KERAS3), 0.00968, rel_tol=1e-3)
    assert isclose(nadam_product(numbers, Generation.OPTIMIZER_V2), 0.00375, rel_tol=1e-2)
    by_hand = prod(0.9 * (1 - 0.5 * 0.96**step) for step in range(1, 8))
    assert isclose(SINGLES["u_product"](numbers, Generation.KERAS2), by_hand)


def test_nadams_product_of_a_long_run_takes_no_time() -> None:
    """A count of a billion does not loop a billion times."""
    assert nadam_product(Numbers(iterations=10**9), Generation.KERAS3) < 1e-300


def test_beta_powers_are_one_step_ahead() -> None:
    """TF1 Adam keeps beta^(t+1) after t steps."""
    assert isclose(beta_power(0.9, Numbers(iterations=7)), 0.9**8)


@pytest.mark.parametrize("name", sorted(SINGLES))
def test_nothing_follows_from_an_unknown_count(name: str) -> None:
    """Without a count no product is made up."""
    with pytest.raises(Untranslatable):
        SINGLES[name](Numbers(), Generation.KERAS3)


def test_decay_has_no_place_in_keras_3() -> None:
    """A learning rate that decays by 1/t is refused where only a schedule can do that."""
    assert obstacles("Adam", Generation.KERAS3, {"decay": 0.01})
    assert not obstacles("Adam", Generation.KERAS3, {"decay": 0.0})
    assert not obstacles("Adam", Generation.OPTIMIZER_V2, {"decay": 0.01})
    assert not obstacles("Nadam", Generation.KERAS3, {"decay": 0.004})


def test_nadam_warns_where_its_updates_change() -> None:
    """The momentum schedule changed with Keras 2.11; within one side nothing is said."""
    assert warnings("Nadam", Generation.OPTIMIZER_V2, Generation.KERAS3)
    assert not warnings("Nadam", Generation.KERAS2, Generation.KERAS3)
    assert not warnings("Adam", Generation.OPTIMIZER_V2, Generation.KERAS3)


def test_rmsprop_warns_where_its_epsilon_moves() -> None:
    """Inside and outside of the square root: TensorFlow 1 and Keras 2.11 and later are on one side."""
    assert warnings("RMSprop", Generation.OPTIMIZER_V2, Generation.KERAS3)
    assert warnings("RMSprop", Generation.TF1, Generation.OPTIMIZER_V2)
    assert not warnings("RMSprop", Generation.TF1, Generation.KERAS3)
