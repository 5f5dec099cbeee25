"""Configurations of models that are compiled anew: what state does not tell stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.plans import planned, trained

import ckptdoctor
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.keras.writing.compiled import compiled
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Generation

SCALE = {"name": "mine", "initial_scale": 8.0, "dynamic_growth_steps": 3}


def document(optimizer: object) -> dict[str, Any]:
    """The configuration of a model."""
    return {"class_name": "Functional", "compile_config": {"optimizer": optimizer, "loss": "mse", "metrics": ["mae"]}}


def adam(**settings: Any) -> dict[str, Any]:
    """Adam, serialized."""
    config = {"name": "adam", "learning_rate": 0.5, **settings}
    return {"module": "keras.optimizers", "class_name": "Adam", "config": config, "registered_name": None}


@pytest.fixture
def optimizer(fixtures_dir: Path) -> PlannedOptimizer:
    """Adam of Keras 3, planned."""
    (found,) = ckptdoctor.inspect(fixtures_dir / "run-a")
    assert found.state is not None
    (own, *_) = found.state.optimizers
    return planned(own, trained(found.state), Generation.KERAS3)


def test_the_rest_stays(optimizer: PlannedOptimizer) -> None:
    """Loss and metrics are the target's."""
    changed, notes = compiled(optimizer, document(adam()), None, None)
    assert changed is not None
    assert not notes
    assert changed["class_name"] == "Functional"
    settings: Any = changed["compile_config"]
    assert (settings["loss"], settings["metrics"]) == ("mse", ["mae"])
    assert settings["optimizer"]["class_name"] == "Adam"


def test_how_a_scale_grows(optimizer: PlannedOptimizer) -> None:
    """A LossScaleOptimizer keeps its settings; only what it holds is exchanged."""
    there = {"class_name": "LossScaleOptimizer", "config": {**SCALE, "inner_optimizer": adam(beta_1=0.5)}}
    wrapped = optimizer._replace(wrapper=("LossScaleOptimizer", {"dynamic_scale": 64.0}))
    changed, _ = compiled(wrapped, document(there), None, None)
    assert changed is not None
    settings: Any = changed["compile_config"]
    written = settings["optimizer"]["config"]
    assert {name: written[name] for name in SCALE} == SCALE
    assert written["inner_optimizer"]["class_name"] == "Adam"
    assert written["inner_optimizer"]["config"].get("beta_1") != 0.5


def test_what_is_configured_stays(optimizer: PlannedOptimizer) -> None:
    """Nothing is written where the target's own configuration is that of the state; another class is refused."""
    own = optimizer._replace(configured=True)
    assert compiled(own, document(adam()), None, None) == (None, ())
    other = {**adam(), "class_name": "SGD"}
    with pytest.raises(GraftRefused, match="not that of Adam"):
        compiled(own, document(other), None, None)
