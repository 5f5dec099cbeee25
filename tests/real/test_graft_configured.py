"""Grafts whose configuration decides what is restored: the real frameworks resume, or the graft is refused."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.frameworks import child

import ckptdoctor
from ckptdoctor.errors import GraftRefused

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
]

SCRIPT = "graft_programs.py"
STEPS = 7
TOLERANCE = 2e-6
"""The generations' kernels round differently; a fresh optimizer, or swapped moments, are 1e-3 and more away."""
DECAY = ("ExponentialDecay", {"initial_learning_rate": 0.05, "decay_steps": 4, "decay_rate": 0.5})
SCHEDULED: dict[str, Any] = {"schedule": ("Adam", {"schedule": DECAY})}
CASES: dict[str, Any] = {
    "amsgrad": ("Adam", {"learning_rate": 0.02, "amsgrad": True}),
    "averages": ("Adam", {"learning_rate": 0.02, "use_ema": True}),
    "centered": ("RMSprop", {"learning_rate": 0.01, "centered": True}),
    "momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "accumulation": ("Adam", {"learning_rate": 0.02, "gradient_accumulation_steps": 2}),
    **SCHEDULED,
    "lion": ("Lion", {"learning_rate": 0.01}),
    "adamax": ("Adamax", {"learning_rate": 0.02}),
    "rmsprop": ("RMSprop", {"learning_rate": 0.01}),
}
TOLD = ("amsgrad", "averages", "centered", "lion", "adamax", "rmsprop")
"""Cases that a checkpoint tells enough of, the usual values of its class being used."""


def hold(folder: Path, outputs: list[tuple[Path, str]]) -> None:
    """Every output resumes at the count in Keras 3, exactly."""
    jobs = [(str(path), *CASES[case]) for path, case in outputs]
    found = child(SCRIPT, "keras", "resume", folder, given=jobs)
    assert len(found) == len(outputs)
    steps = {str(path): STEPS // (CASES[case][1].get("gradient_accumulation_steps") or 1) for path, case in outputs}
    wrong = {
        path: each
        for path, each in found.items()
        if each["count"] != steps[path] or each["away"] > TOLERANCE or each["skipped"]
    }
    assert not wrong


@pytest.mark.parametrize("framework", ["tf_keras.legacy", "tf_keras"])
def test_a_schedule_into_keras_3(framework: str, tmp_path: Path) -> None:
    """A schedule that only the program knows: nothing stands in the list where Keras 3 has none for the rate."""
    child(SCRIPT, framework, "donors", tmp_path, given=SCHEDULED)
    child(SCRIPT, "keras", "targets", tmp_path, given=SCHEDULED)
    folder = tmp_path / "schedule"
    outputs = []
    for target in ("bare", "bare.weights.h5", "unbuilt.weights.h5"):
        output = folder / f"out-{target}"
        ckptdoctor.graft(folder / "donor", folder / target, output, generation="keras3")
        outputs.append((output, "schedule"))
    hold(tmp_path, outputs)
    with pytest.raises(GraftRefused, match="learning-rate schedule"):
        ckptdoctor.graft(folder / "donor", folder / "bare.keras", folder / "out.keras")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keras 3's donors and targets of every case."""
    folder = tmp_path_factory.mktemp("configured")
    child(SCRIPT, "keras", "donors", folder, given=CASES)
    child(SCRIPT, "keras", "targets", folder, given=CASES)
    return folder


def test_a_checkpoint_into_a_model_that_was_never_compiled(runs: Path) -> None:
    """What its slots prove is configured; what they prove without telling it is refused."""
    outputs = []
    for case in CASES:
        folder = runs / case
        if case in TOLD:
            ckptdoctor.graft(folder / "donor", folder / "bare.keras", folder / "out.keras")
            outputs.append((folder / "out.keras", case))
            continue
        with pytest.raises(GraftRefused, match="that nothing tells"):
            ckptdoctor.graft(folder / "donor", folder / "bare.keras", folder / "out.keras")
    hold(runs, outputs)


@pytest.mark.parametrize("target", ["bare.weights.h5", "unbuilt.weights.h5"])
def test_every_class_into_weights_alone(runs: Path, target: str) -> None:
    """Weights without an optimizer, and of one that was compiled and never built, take every class and setting."""
    outputs = []
    for case in CASES:
        folder = runs / case
        output = folder / f"all-{target}"
        ckptdoctor.graft(folder / "donor.keras", folder / target, output)
        outputs.append((output, case))
    hold(runs, outputs)


def test_the_class_of_weights(runs: Path) -> None:
    """Of weights alone nothing tells the class: with --optimizer-class, an uncompiled model resumes from them."""
    outputs = []
    for case in ("lion", "adamax", "rmsprop"):
        folder = runs / case
        ckptdoctor.graft(folder / "donor.keras", folder / "bare.weights.h5", folder / "donor.weights.h5")
        target, output = folder / "bare.keras", folder / "from-weights.keras"
        with pytest.raises(GraftRefused, match="--optimizer-class"):
            ckptdoctor.graft(folder / "donor.weights.h5", target, output)
        ckptdoctor.graft(folder / "donor.weights.h5", target, output, optimizer_class=CASES[case][0])
        outputs.append((output, case))
    hold(runs, outputs)


@pytest.mark.parametrize("framework", ["tf_keras.legacy", "tf_keras", "keras"])
def test_one_optimizer_after_the_other(framework: str, tmp_path: Path) -> None:
    """Each optimizer of a checkpoint keeps its name, and the second is put beside the first."""
    child(SCRIPT, framework, "two-donors", tmp_path)
    graft: Callable[..., Any] = ckptdoctor.graft
    graft(tmp_path / "full", tmp_path / "bare", tmp_path / "one", optimizer="first_opt")
    graft(tmp_path / "full", tmp_path / "one", tmp_path / "two", optimizer="second_opt")
    (made,) = ckptdoctor.inspect(tmp_path / "two")
    assert {each.name: each.iterations for each in made.optimizers} == {"first_opt": 7, "second_opt": 4}
    graft(tmp_path / "full", tmp_path / "bare", tmp_path / "other", optimizer="second_opt=mine")
    (made,) = ckptdoctor.inspect(tmp_path / "other")
    assert [each.name for each in made.optimizers] == ["mine"]
    found = child(SCRIPT, framework, "two-resume", tmp_path, given=[str(tmp_path / "two")])
    assert found[str(tmp_path / "two")] <= TOLERANCE
