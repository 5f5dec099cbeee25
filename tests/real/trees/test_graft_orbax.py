"""Keras' Orbax checkpoints with grafted state: Keras and Orbax themselves go on from them as if nothing had stopped."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from support.frameworks import child

from ckptdoctor import graft, inspect
from ckptdoctor.state import Status

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(each) for each in ("tensorflow", "jax", "orbax")),
        reason="TensorFlow, JAX and orbax-checkpoint are not installed",
    ),
]

SCRIPT = "graft_orbax_child.py"
DECAY = ("ExponentialDecay", {"initial_learning_rate": 0.05, "decay_steps": 4, "decay_rate": 0.5})
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "adam": ("Adam", {"learning_rate": 0.02, "beta_1": 0.8}),
    "named": ("Adam", {"learning_rate": 0.02, "name": "mine"}),
    "amsgrad": ("Adam", {"learning_rate": 0.02, "amsgrad": True}),
    "adamw": ("AdamW", {"learning_rate": 0.02, "weight_decay": 0.01}),
    "nadam": ("Nadam", {"learning_rate": 0.02}),
    "momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "rmsprop_all": ("RMSprop", {"learning_rate": 0.01, "momentum": 0.5, "centered": True}),
    "adagrad": ("Adagrad", {"learning_rate": 0.1}),
    "ftrl": ("Ftrl", {"learning_rate": 0.1}),
    "muon": ("Muon", {"learning_rate": 0.02}),
    "schedule": ("Adam", {"schedule": DECAY}),
    "accumulation": ("Adam", {"learning_rate": 0.02, "gradient_accumulation_steps": 2}),
    "loss_scale": ("Adam", {"learning_rate": 0.02, "loss_scale": True}),
    "sequential": ("Adam", {"learning_rate": 0.02}),
}
DONORS = ("donor", "donor.keras", "donor.weights.h5", "donor.h5", "donor.npz")
TOLERANCE = 1e-6
VISIBLE = 1e-4
"""How far a run is away at least that lost its slots."""


@pytest.fixture(scope="module", params=["jax", "tensorflow"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A backend, and the folder with what Keras made on it."""
    folder = tmp_path_factory.mktemp(request.param)
    child(SCRIPT, "make", folder, given=CASES, settings={"KERAS_BACKEND": request.param})
    return request.param, folder


def resumed(backend: str, folder: Path, jobs: list[tuple[str, Path, str]]) -> list[float]:
    """How far runs that went on from these directories are from those that were not interrupted."""
    given = [(name, str(path), how, CASES[name]) for name, path, how in jobs]
    found: list[float] = child(SCRIPT, "resume", folder, given=given, settings={"KERAS_BACKEND": backend})
    return found


def test_training_goes_on(made: tuple[str, Path]) -> None:
    """Every class, from one of Keras' Orbax checkpoints into a new one: weights and state end as uninterrupted."""
    backend, folder = made
    jobs: list[tuple[str, Path, str]] = []
    for name in CASES:
        for target in ("target", "built", "weights"):
            output = folder / name / f"from-orbax-into-{target}"
            graft(folder / name / "donor", folder / name / target, output)
            assert inspect(output)[0].status is Status.COMPLETE, (name, target)
            by_program = target == "weights" or name == "sequential"
            jobs.append((name, output, "weights" if by_program else "model"))
    ends = resumed(backend, folder, jobs)
    off = {f"{job[1].parent.name}/{job[1].name}": end for job, end in zip(jobs, ends, strict=True) if end > TOLERANCE}
    assert not off


def test_every_donor(made: tuple[str, Path]) -> None:
    """From every format of Keras: load_model goes on exactly."""
    backend, folder = made
    jobs: list[tuple[str, Path, str]] = []
    donors = [*DONORS, *(["donor.index"] if backend == "tensorflow" else [])]
    for name in ("adam", "momentum", "schedule"):
        for donor in donors:
            output = folder / name / f"into-{donor.replace('.', '-')}"
            if (folder / name / donor).exists():
                options: dict[str, Any] = {"optimizer_class": "Adam"} if name == "adam" and donor == "donor.npz" else {}
                graft(folder / name / donor, folder / name / "target", output, **options)
                jobs.append((name, output, "model"))
    assert len(jobs) == 3 * len(donors)
    ends = resumed(backend, folder, jobs)
    off = {f"{job[0]}/{job[1].name}": end for job, end in zip(jobs, ends, strict=True) if end > TOLERANCE}
    assert not off


def test_shared_files(made: tuple[str, Path]) -> None:
    """With --link Orbax reads the new values beside the target's own files, which stay as they are."""
    backend, folder = made
    target = folder / "adam" / "built"
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    output = folder / "adam" / "linked"
    receipt = graft(folder / "adam" / "donor", target, output, link=True)
    assert receipt.written.bytes_linked
    assert resumed(backend, folder, [("adam", output, "model")])[0] <= TOLERANCE
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before


def test_judges(made: tuple[str, Path]) -> None:
    """What these tests rest on: without its slots a run ends elsewhere."""
    backend, folder = made
    jobs = [("adam", folder / "adam" / "built", "model"), ("momentum", folder / "momentum" / "donor", "unbuilt")]
    assert min(resumed(backend, folder, jobs)) > VISIBLE
