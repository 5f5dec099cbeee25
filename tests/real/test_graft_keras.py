"""Keras' own files with grafted state: the real frameworks resume from them as if training had never stopped."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from support.plans import planned, trained

from ckptdoctor.artifacts import locate
from ckptdoctor.artifacts.keras_write import write_dump, write_h5, write_keras_archive, write_keras_weights
from ckptdoctor.artifacts.written import Written
from ckptdoctor.state import Generation, TrainingState

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
]

Case: TypeAlias = "tuple[str, dict[str, Any]]"

DECAY = ("ExponentialDecay", {"initial_learning_rate": 0.05, "decay_steps": 4, "decay_rate": 0.5})
COMMON: dict[str, Case] = {
    "adam": ("Adam", {"learning_rate": 0.02, "beta_1": 0.8}),
    "amsgrad": ("Adam", {"learning_rate": 0.02, "amsgrad": True}),
    "sgd": ("SGD", {"learning_rate": 0.05}),
    "momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "nesterov": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {"learning_rate": 0.01}),
    "rmsprop_all": ("RMSprop", {"learning_rate": 0.01, "momentum": 0.5, "centered": True}),
    "adagrad": ("Adagrad", {"learning_rate": 0.1}),
    "adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "adamax": ("Adamax", {"learning_rate": 0.02}),
    "nadam": ("Nadam", {"learning_rate": 0.02}),
    "ftrl": ("Ftrl", {"learning_rate": 0.1}),
    "schedule": ("Adam", {"schedule": DECAY}),
    "clipped": ("Adam", {"learning_rate": 0.02, "clipnorm": 0.1}),
    "loss_scale": ("Adam", {"learning_rate": 0.02, "loss_scale": True}),
}
NEW: dict[str, Case] = {
    "adamw": ("AdamW", {"learning_rate": 0.02, "weight_decay": 0.01}),
    "lion": ("Lion", {"learning_rate": 0.01}),
    "adafactor": ("Adafactor", {"learning_rate": 0.02}),
    "ema": ("Adam", {"learning_rate": 0.02, "use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 5}),
}
KERAS3_ONLY: dict[str, Case] = {
    "accumulation": ("Adam", {"learning_rate": 0.02, "gradient_accumulation_steps": 2}),
    "lamb": ("Lamb", {"learning_rate": 0.02}),
    "muon": ("Muon", {"learning_rate": 0.02}),
}
CASES: Mapping[str, dict[str, Case]] = {
    "keras": {**COMMON, **NEW, **KERAS3_ONLY},
    "tf_keras": {**COMMON, **NEW},
    "tf_keras.legacy": COMMON,
}
GENERATIONS = {
    "keras": Generation.KERAS3,
    "tf_keras": Generation.KERAS2,
    "tf_keras.legacy": Generation.OPTIMIZER_V2,
}
NOT_RESUMED = {
    ("tf_keras", "loss_scale", "h5"): "tf_keras loses the state of a LossScaleOptimizerV3 in HDF5 files",
    ("tf_keras.legacy", "loss_scale", "pkl"): "get_weights of a wrapper is the inner optimizer's list",
}
NOT_SAVED = {
    ("tf_keras", "nadam"): "TensorFlow 2.11 to 2.15 and tf_keras never save Nadam's product (u_product)",
}
STATELESS = frozenset({"sgd"})
"""Cases that go on the same without any state."""
STEPS = 7
TOLERANCE = 1e-6
VISIBLE = 1e-4
"""How far a run with a fresh optimizer is away at least; measured: 1e-3 and more."""


def child(framework: str, mode: str, folder: Path, given: object) -> Any:
    """Runs the framework in a process of its own."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    script = Path(__file__).with_name("graft_keras_child.py")
    done = subprocess.run(
        [sys.executable, str(script), framework, mode, str(folder)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def read(path: Path) -> TrainingState:
    """An artifact by our own reader."""
    from ckptdoctor import inspect

    state = inspect(path)[0].state
    assert state is not None, path
    return state


@pytest.fixture(scope="module", params=CASES)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A framework, and its donors, targets and expected weights."""
    framework: str = request.param
    folder = tmp_path_factory.mktemp(framework)
    child(framework, "make", folder, CASES[framework])
    return framework, folder


def graft(
    folder: Path, kind: str, generation: Generation, donor: TrainingState, **changes: Any
) -> tuple[Path, Written]:
    """Writes a donor's optimizer into the target of a kind."""
    target, output = folder / f"target.{kind}", folder / f"grafted.{kind}"
    state = read(target)
    variables = trained(state if state.variables else donor)
    optimizer = planned(donor.optimizers[0], variables, generation, **changes)
    if kind == "h5":
        return output, write_h5(optimizer, str(target), str(output), loss_from=str(folder / "donor.h5"))
    if kind in {"keras", "dir"}:
        return output, write_keras_archive(optimizer, str(target), str(output))
    if kind in {"pkl", "npz"}:
        return output, write_dump(optimizer, str(target), str(output))
    return output, write_keras_weights(optimizer, str(target), str(output))


def kinds(framework: str, name: str) -> list[str]:
    """The targets that a framework restores state from."""
    if framework == "tf_keras.legacy":
        return ["h5", "pkl"]
    extra = ["dir", "weights.json", "npz"] if (framework, name) == ("keras", "adam") else []
    return ["keras", "weights.h5", "pkl", *(["h5"] if framework == "tf_keras" else []), *extra]


def test_resumes(made: tuple[str, Path]) -> None:
    """Every class, into every kind of target of its own generation: the weights are those of the uninterrupted run."""
    framework, folder = made
    jobs = []
    for name, (class_name, options) in CASES[framework].items():
        here = folder / name
        donor = read(here / ("donor.keras" if framework != "tf_keras.legacy" else "donor.h5"))
        for kind in kinds(framework, name):
            output, _ = graft(here, kind, GENERATIONS[framework], donor)
            jobs.append([f"{name} {kind}", str(output), class_name, options, str(here / "expected.npz")])
    found = child(framework, "resume", folder, jobs)
    wrong = []
    for key, each in found.items():
        name, kind = key.split()
        if (framework, name) in NOT_SAVED or (framework, name, kind) in NOT_RESUMED:
            continue
        steps = STEPS // (CASES[framework][name][1].get("gradient_accumulation_steps") or 1)
        if "error" in each or each["count"] != steps or each["away"] > TOLERANCE or each["warnings"]:
            wrong.append(f"{framework} {key}: {each}")
    assert not wrong, "\n".join(wrong)
    assert len(found) >= 2 * len(CASES[framework])


def test_without_the_state(made: tuple[str, Path]) -> None:
    """The control: the same weights with a fresh optimizer end elsewhere, so that equal weights prove something."""
    framework, folder = made
    jobs = []
    for name, (class_name, options) in CASES[framework].items():
        here = folder / name
        jobs.append([name, str(here / "fresh"), class_name, options, str(here / "expected.npz")])
    found = child(framework, "resume", folder, jobs)
    near = {name: each for name, each in found.items() if name not in STATELESS and each["away"] < VISIBLE}
    assert not near
    assert all(found[name]["away"] < TOLERANCE for name in STATELESS & set(found))
