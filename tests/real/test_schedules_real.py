"""Our schedules against Keras' own classes: Keras 3 and tf_keras, in a child process each."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from support.frameworks import run

from ckptdoctor.optimizers.keras.schedules import rate

pytestmark = pytest.mark.real

STEPS = (*range(24), *range(25, 420, 5), 59, 61, 99, 101, 199, 201, 299, 301, 700, 1000, 12_345)
"""Every early step, a lattice, and both sides of where the schedules below turn."""

CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 100, "decay_rate": 0.9}),
    ("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 100, "decay_rate": 0.9, "staircase": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 100, "decay_rate": 0.5}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 100, "decay_rate": 0.5, "staircase": True}),
    ("PiecewiseConstantDecay", {"boundaries": [100, 200], "values": [0.1, 0.05, 0.01]}),
    ("PiecewiseConstantDecay", {"boundaries": [10], "values": [0.1, 0.2]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 100}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 100, "power": 0.5, "end_learning_rate": 0.01}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 100, "cycle": True}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 100}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 100, "alpha": 0.2}),
    ("CosineDecay", {"initial_learning_rate": 0.0, "decay_steps": 100, "warmup_target": 0.3, "warmup_steps": 60}),
    ("CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 99, "warmup_target": 0.3, "warmup_steps": 0}),
    ("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 30, "cycle": True, "power": 2.0}),
    (
        "CosineDecay",
        {"initial_learning_rate": 0.01, "decay_steps": 300, "alpha": 0.1, "warmup_target": 0.2, "warmup_steps": 20},
    ),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 100}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 50, "t_mul": 1.0, "m_mul": 0.9}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 7, "t_mul": 1.5, "m_mul": 0.8}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 100, "t_mul": 3.0, "alpha": 0.1}),
]

CHILD = """
import json, sys
import {framework} as keras
cases, steps = json.load(sys.stdin)
answer = []
for name, config in cases:
    schedule = getattr(keras.optimizers.schedules, name)(**config)
    answer.append([keras.optimizers.schedules.serialize(schedule), [float(schedule(step)) for step in steps]])
json.dump(answer, sys.stdout)
"""


@pytest.fixture(scope="module", params=["keras", "tf_keras"])
def answers(request: pytest.FixtureRequest) -> list[tuple[dict[str, Any], list[float]]]:
    """Each schedule as the framework serializes it, and its rate at every step."""
    pytest.importorskip(request.param)
    (line,) = run("-c", CHILD.format(framework=request.param), given=json.dumps([CONFIGS, STEPS]))
    parsed: list[tuple[dict[str, Any], list[float]]] = json.loads(line)
    return parsed


def test_rates_are_keras_own(answers: list[tuple[dict[str, Any], list[float]]]) -> None:
    """From the serialized configuration, every schedule gives the framework's rate to float32's precision."""
    wrong = []
    for serialized, rates in answers:
        name, config = serialized["class_name"], serialized["config"]
        for step, wanted in zip(STEPS, rates, strict=True):
            got = rate(name, config, step)
            # Keras computes in float32: cosines near their zeros are known to 1e-7 of the initial rate only.
            if got is None or not math.isclose(got, wanted, rel_tol=2e-6, abs_tol=3e-8):
                wrong.append((name, config, step, got, wanted))
    assert not wrong
