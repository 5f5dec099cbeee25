"""Optimizer configurations in every dialect."""

from __future__ import annotations

from typing import Any

import pytest

from ckptdoctor.optimizers.keras.config import read_config
from ckptdoctor.optimizers.keras.defaults import DEFAULTS
from ckptdoctor.state import Generation


def node(class_name: str = "Adam", **config: Any) -> dict[str, Any]:
    """A serialized optimizer."""
    return {"class_name": class_name, "config": config}


@pytest.mark.parametrize(
    ("serialized", "version", "generation"),
    [
        (node(lr=0.01, decay=0.0), "2.0.8", Generation.KERAS1),
        (node(learning_rate=0.01, decay=0.0, amsgrad=False), "2.3.1", Generation.KERAS1),
        (node(name="Adam", learning_rate=0.01, decay=0.0), "2.10.0", Generation.OPTIMIZER_V2),
        (node(name="Adam", learning_rate=0.01, decay=0.0), "2.15.0", Generation.OPTIMIZER_V2),
        (node("Custom>Adam", name="Adam", jit_compile=False, is_legacy_optimizer=False), "2.12.0", Generation.KERAS2),
        (node(name="adam", learning_rate=0.01, loss_scale_factor=None), None, Generation.KERAS3),
        (node(name="adam", learning_rate=0.01), "3.15.0", Generation.KERAS3),
    ],
)
def test_tells_the_generation(serialized: object, version: str | None, generation: Generation) -> None:
    """The keys, not the class name, tell which implementation wrote a configuration."""
    found = read_config(serialized, version)
    assert found is not None
    assert (found.class_name, found.generation) == ("Adam", generation)


def test_takes_the_wrapper_off() -> None:
    """A LossScaleOptimizer is kept as the wrapper of the optimizer that it scales for."""
    inner = node(name="adam", learning_rate=0.5, loss_scale_factor=None, amsgrad=True)
    found = read_config(node("LossScaleOptimizerV3", inner_optimizer=inner, initial_scale=8.0))
    assert found is not None
    assert (found.class_name, found.wrapper) == ("Adam", "LossScaleOptimizerV3")
    assert found.settings.flags == {"amsgrad"}
    assert found.wrapper_config == {"initial_scale": 8.0}


def test_reads_what_decides_the_state() -> None:
    """Momentum, averages, accumulation and schedules are read as the flags that create state variables."""
    schedule = {"class_name": "ExponentialDecay", "config": {"decay_steps": 5}}
    found = read_config(
        node("SGD", momentum=0.9, use_ema=True, gradient_accumulation_steps=4, learning_rate=schedule, nesterov=True)
    )
    assert found is not None
    assert found.settings.flags == {"momentum", "use_ema", "gradient_accumulation", "schedule"}
    assert found.gradient_accumulation_steps == 4
    assert found.schedule is not None
    assert found.schedule.class_name == "ExponentialDecay"
    assert found.hyperparameters["learning_rate"] == "ExponentialDecay"


@pytest.mark.parametrize(
    "serialized", [None, 1, "Adam", [], {}, {"class_name": 3, "config": {}}, {"class_name": "Adam", "config": []}]
)
def test_answers_none_for_what_is_no_configuration(serialized: object) -> None:
    """Anything that is not a class name and a configuration is none, without an error."""
    assert read_config(serialized) is None


@pytest.mark.parametrize(
    ("name", "class_name"),
    [("rmsprop", "RMSprop"), ("RMSProp", "RMSprop"), ("sgd", "SGD"), ("Nadam", "Nadam"), ("mine>Own", "Own")],
)
@pytest.mark.parametrize("generation", [each for each in DEFAULTS if each is not Generation.TF1])
def test_a_bare_name_is_the_class_with_its_defaults(generation: Generation, name: str, class_name: str) -> None:
    """As `optimizers.get` takes it: whatever its case; its dialect is that of the generation."""
    found = read_config(name, None, generation)
    assert found is not None
    assert found.class_name == class_name
    if class_name != "Own":
        assert found.generation is generation
        assert found.hyperparameters["learning_rate"] == DEFAULTS[generation][class_name]["learning_rate"]
    assert read_config(name) is None
