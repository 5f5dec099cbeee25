"""Schedules by hand-checked values, and what hostile configurations make of them: nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptdoctor.optimizers.keras.schedules import (
    bias_correction,
    decayed,
    evaluate,
    is_known,
    length,
    lost_count_factor,
    rate,
)
from ckptdoctor.state import Schedule

EXPONENTIAL = {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5}
COSINE = {"initial_learning_rate": 0.0, "decay_steps": 100, "alpha": 0.1, "warmup_target": 1.0, "warmup_steps": 10}
PIECEWISE = {"boundaries": [100, 200], "values": [1.0, 0.5, 0.1]}
POLYNOMIAL = {"initial_learning_rate": 1.0, "decay_steps": 10, "end_learning_rate": 0.0, "power": 2.0}
RESTARTS = {"initial_learning_rate": 1.0, "first_decay_steps": 10, "t_mul": 2.0, "m_mul": 0.5}

TABLE: list[tuple[str, dict[str, Any], int, float]] = [
    ("ExponentialDecay", EXPONENTIAL, 0, 0.1),
    ("ExponentialDecay", EXPONENTIAL, 5, 0.1 * math.sqrt(0.5)),
    ("ExponentialDecay", {**EXPONENTIAL, "staircase": True}, 19, 0.05),
    ("ExponentialDecay", {**EXPONENTIAL, "staircase": True}, 20, 0.025),
    ("Custom>ExponentialDecay", EXPONENTIAL, 10, 0.05),
    ("InverseTimeDecay", EXPONENTIAL, 20, 0.05),
    ("InverseTimeDecay", {**EXPONENTIAL, "staircase": True}, 19, 0.1 / 1.5),
    ("PiecewiseConstantDecay", PIECEWISE, 0, 1.0),
    ("PiecewiseConstantDecay", PIECEWISE, 100, 1.0),
    ("PiecewiseConstantDecay", PIECEWISE, 101, 0.5),
    ("PiecewiseConstantDecay", PIECEWISE, 200, 0.5),
    ("PiecewiseConstantDecay", PIECEWISE, 10**9, 0.1),
    ("PolynomialDecay", POLYNOMIAL, 5, 0.25),
    ("PolynomialDecay", POLYNOMIAL, 11, 0.0),
    ("PolynomialDecay", {**POLYNOMIAL, "cycle": True}, 0, 1.0),
    ("PolynomialDecay", {**POLYNOMIAL, "cycle": True}, 15, 0.0625),
    ("PolynomialDecay", {"initial_learning_rate": 0.01, "decay_steps": 10}, 10, 0.0001),
    ("CosineDecay", {"initial_learning_rate": 1.0, "decay_steps": 100}, 50, 0.5),
    ("CosineDecay", {"initial_learning_rate": 1.0, "decay_steps": 100, "warmup_target": None}, 1000, 0.0),
    ("CosineDecay", COSINE, 5, 0.5),
    ("CosineDecay", COSINE, 10, 1.0),
    ("CosineDecay", COSINE, 60, 0.55),
    ("CosineDecay", COSINE, 10_000, 0.1),
    ("CosineDecayRestarts", RESTARTS, 5, 0.5),
    ("CosineDecayRestarts", RESTARTS, 10, 0.5),
    ("CosineDecayRestarts", RESTARTS, 20, 0.25),
    ("CosineDecayRestarts", RESTARTS, 30, 0.25),
    ("CosineDecayRestarts", {**RESTARTS, "t_mul": 1.0, "m_mul": 1.0}, 25, 0.5),
    ("CosineDecayRestarts", {**RESTARTS, "t_mul": 3.0, "m_mul": 1.0}, 1210, 1.0),
    ("LinearCosineDecay", {"initial_learning_rate": 1.0, "decay_steps": 10}, 0, 1.001),
]


@pytest.mark.parametrize(("name", "config", "step", "wanted"), TABLE)
def test_rates_by_hand(name: str, config: dict[str, Any], step: int, wanted: float) -> None:
    """Each formula gives what it gives on paper, at its edges too."""
    got = rate(name, config, step)
    assert got is not None
    assert math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-12)


def test_schedule_in_a_schedule() -> None:
    """A rate that is a schedule itself is computed at the same step."""
    inner = {"class_name": "ExponentialDecay", "config": EXPONENTIAL, "module": "keras.optimizers.schedules"}
    got = rate("InverseTimeDecay", {**EXPONENTIAL, "initial_learning_rate": inner}, 10)
    assert got is not None
    assert math.isclose(got, 0.05 / 1.5)


def test_evaluate_tells_the_next_rate_and_the_one_after_a_lost_count() -> None:
    """The rate of the next update stands beside the one that a count of 0 would give."""
    schedule = evaluate(Schedule("ExponentialDecay", EXPONENTIAL), 20)
    assert (schedule.learning_rate, schedule.learning_rate_if_lost) == (0.025, 0.1)
    assert schedule.config == EXPONENTIAL


def test_evaluate_without_a_count() -> None:
    """A count that is not in the artifact leaves the rate unknown, and never counts as 0."""
    schedule = evaluate(Schedule("ExponentialDecay", EXPONENTIAL), None)
    assert (schedule.learning_rate, schedule.learning_rate_if_lost) == (None, 0.1)


def endless() -> dict[str, Any]:
    """A schedule whose initial rate is itself."""
    config: dict[str, Any] = dict(EXPONENTIAL)
    config["initial_learning_rate"] = {"class_name": "ExponentialDecay", "config": config}
    return config


HOSTILE: dict[str, tuple[str, dict[str, Any]]] = {
    "a class of the user's": ("WarmUp", EXPONENTIAL),
    "noise": ("NoisyLinearCosineDecay", EXPONENTIAL),
    "nothing": ("ExponentialDecay", {}),
    "no steps": ("ExponentialDecay", {**EXPONENTIAL, "decay_steps": 0}),
    "negative steps": ("CosineDecay", {**COSINE, "decay_steps": -5}),
    "text": ("ExponentialDecay", {**EXPONENTIAL, "decay_rate": "0.5"}),
    "a bool": ("ExponentialDecay", {**EXPONENTIAL, "initial_learning_rate": True}),
    "NaN": ("ExponentialDecay", {**EXPONENTIAL, "decay_rate": math.nan}),
    "infinity": ("ExponentialDecay", {**EXPONENTIAL, "initial_learning_rate": math.inf}),
    "overflow": ("ExponentialDecay", {**EXPONENTIAL, "decay_rate": 1e300, "decay_steps": 1e-3}),
    "a number beyond floats": ("ExponentialDecay", {**EXPONENTIAL, "decay_steps": 10**400}),
    "a root of a negative": ("ExponentialDecay", {**EXPONENTIAL, "decay_rate": -1.0, "decay_steps": 3}),
    "a pole": ("InverseTimeDecay", {**EXPONENTIAL, "decay_rate": -1.0, "decay_steps": 7}),
    "a list for a number": ("PolynomialDecay", {**POLYNOMIAL, "power": [2]}),
    "no boundaries": ("PiecewiseConstantDecay", {"boundaries": [], "values": [1.0]}),
    "too few values": ("PiecewiseConstantDecay", {"boundaries": [1, 2], "values": [1.0, 2.0]}),
    "unsorted boundaries": ("PiecewiseConstantDecay", {"boundaries": [2, 1], "values": [1.0, 2.0, 3.0]}),
    "boundaries of text": ("PiecewiseConstantDecay", {"boundaries": ["a"], "values": [1.0, 2.0]}),
    "shrinking periods": ("CosineDecayRestarts", {**RESTARTS, "t_mul": 0.5, "first_decay_steps": 2}),
    "no periods": ("CosineDecayRestarts", {**RESTARTS, "t_mul": 0.0}),
    "itself": ("ExponentialDecay", endless()),
}


@pytest.mark.parametrize(("name", "config"), HOSTILE.values(), ids=HOSTILE)
def test_what_makes_no_sense_is_unknown(name: str, config: dict[str, Any]) -> None:
    """A configuration that Keras would refuse, or that overflows, gives no rate and no exception."""
    assert rate(name, config, 7) is None


anything = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.floats(), max_size=3)
)
KEYS = (
    "initial_learning_rate", "decay_steps", "decay_rate", "staircase", "boundaries", "values", "end_learning_rate",
    "power", "cycle", "alpha", "warmup_target", "warmup_steps", "first_decay_steps", "t_mul", "m_mul",
)  # fmt: skip


@settings(deadline=None)
@given(
    name=st.sampled_from(sorted({name for name, *_ in TABLE})),
    config=st.dictionaries(st.sampled_from(KEYS), anything),
    step=st.integers(-5, 2**70) | st.none(),
)
def test_no_configuration_raises(name: str, config: dict[str, Any], step: int | None) -> None:
    """Whatever the configuration holds, the answer is a finite number or None."""
    schedule = evaluate(Schedule(name, config), step)
    for value in (schedule.learning_rate, schedule.learning_rate_if_lost):
        assert value is None or math.isfinite(value)


ENDS: list[tuple[str, dict[str, Any], int | None]] = [
    ("PolynomialDecay", POLYNOMIAL, 10),
    ("Custom>PolynomialDecay", POLYNOMIAL, 10),
    ("PolynomialDecay", {**POLYNOMIAL, "decay_steps": 9.5}, 10),
    ("PolynomialDecay", {**POLYNOMIAL, "cycle": True}, None),
    ("CosineDecay", {"initial_learning_rate": 1.0, "decay_steps": 100}, 100),
    ("CosineDecay", {**COSINE, "initial_learning_rate": 1.0, "warmup_target": None}, 100),
    ("CosineDecay", COSINE, 110),
    ("CosineDecay", {"initial_learning_rate": 1.0, "decay_steps": "many"}, None),
    ("LinearCosineDecay", {"initial_learning_rate": 1.0, "decay_steps": 10}, 10),
    ("ExponentialDecay", EXPONENTIAL, None),
    ("InverseTimeDecay", EXPONENTIAL, None),
    ("CosineDecayRestarts", RESTARTS, None),
    ("PiecewiseConstantDecay", PIECEWISE, None),
    ("WarmUp", EXPONENTIAL, None),
]


@pytest.mark.parametrize(("name", "config", "end"), ENDS)
def test_the_end_of_a_schedule(name: str, config: dict[str, Any], end: int | None) -> None:
    """From its end on the rate stays the same, and just before it does not."""
    assert length(name, config) == end
    if end is not None:
        before, at, late = (rate(name, config, step) for step in (end - 1, end, 1000 * end))
        assert before is not None
        assert at == late
        assert before != at


def test_custom_schedules_are_not_known() -> None:
    """A class of the user's, or noise, is none of Keras' own that can be computed."""
    assert all(is_known(name) for name, *_ in TABLE)
    assert not is_known("WarmUp")
    assert not is_known("NoisyLinearCosineDecay")


def test_decay_of_old_optimizers() -> None:
    """Keras 1 and OptimizerV2 divide the rate by 1 + decay * iterations; without decay there is nothing to say."""
    assert decayed(0.1, 0.5, 2) == 0.05
    assert decayed(0.1, 0.0, 2) is None
    assert decayed(0.1, 0.5, None) is None
    assert decayed("0.1", 0.5, 2) is None
    assert decayed(0.1, -0.5, 2) is None


def test_bias_correction() -> None:
    """Adam's first update is corrected by sqrt(1 - b2) / (1 - b1), a late one hardly at all."""
    first, late = bias_correction(0), bias_correction(100_000)
    assert first is not None
    assert late is not None
    assert math.isclose(first, math.sqrt(0.001) / 0.1)
    assert math.isclose(late, 1, rel_tol=1e-9)
    assert bias_correction(-1) is None
    assert bias_correction(5, beta_1=1.0) is None


def test_a_lost_count_scales_adams_next_update() -> None:
    """Settled moments under a first step's corrections make a third of the update; without any step, all of it."""
    factor = lost_count_factor(1_000_000)
    assert factor is not None
    assert math.isclose(factor, 0.316, rel_tol=1e-2)
    assert lost_count_factor(0) == 1
    assert lost_count_factor(10, beta_2=2.0) is None
