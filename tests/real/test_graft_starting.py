"""A layer that the donor does not have begins with what its framework gives it, which is not always zero."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from support.frameworks import child

import ckptdoctor
from ckptdoctor.state import Generation

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("tf_keras") is None, reason="TensorFlow is not installed"),
]
SCRIPT = "graft_starting_child.py"
BOTH: dict[str, tuple[str, dict[str, Any]]] = {
    "adagrad": ("Adagrad", {"learning_rate": 0.1}),
    "adagrad_set": ("Adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.25}),
    "ftrl": ("Ftrl", {"learning_rate": 0.1}),
    "adam": ("Adam", {"learning_rate": 0.01}),
}
AVERAGED: dict[str, tuple[str, dict[str, Any]]] = {"average": ("Adam", {"learning_rate": 0.01, "use_ema": True})}
FREE: dict[str, tuple[str, dict[str, Any]]] = {"free": ("ScheduleFreeAdamW", {"learning_rate": 0.01})}


@pytest.mark.parametrize(
    ("framework", "cases", "generation", "ending"),
    [
        ("keras", {**BOTH, **AVERAGED, **FREE}, Generation.KERAS3, "keras"),
        ("tf_keras", {**BOTH, **AVERAGED}, Generation.KERAS2, "keras"),
        ("tf_keras.legacy", BOTH, Generation.OPTIMIZER_V2, "h5"),
    ],
)
def test_an_added_layer(
    tmp_path: Path, framework: str, cases: dict[str, Any], generation: Generation, ending: str
) -> None:
    """Its slots are those of a new optimizer, in a model file and in a checkpoint."""
    child(SCRIPT, framework, "make", tmp_path, given=cases)
    for name in cases:
        folder = tmp_path / name
        donor = folder / f"donor.{ending}"
        for target, output in ((f"target.{ending}", f"out.{ending}"), ("target", "out")):
            receipt = ckptdoctor.graft(donor, folder / target, folder / output, generation=generation, partial=True)
            assert any(slot.source is None for slot in receipt.plan.optimizer.slots)
    answers = child(SCRIPT, framework, "compare", tmp_path, given=list(cases))
    for name, answer in answers.items():
        assert answer["steps"] == 3, (name, answer)
        assert (answer["largest"] > 0) == (name != "adam"), (name, answer)
        assert {answer[ending], answer["checkpoint"]} == {0.0}, (name, answer)
