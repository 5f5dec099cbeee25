"""Keras' Orbax checkpoints with grafted state: Keras and Orbax themselves go on from them as if nothing had stopped."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

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
COMMON = ("adam", "momentum", "schedule", "sequential")
"""Made on each backend."""
SHARE = 5
"""The ordinary run has every so many of the others, on JAX; `nightly` all, on all of them."""
BACKENDS = ("jax", "tensorflow", "torch")
TARGETS = ("target", "built", "weights")
DONORS = ("donor", "donor.keras", "donor.weights.h5", "donor.h5", "donor.npz")
TOLERANCE = 1e-6
VISIBLE = 1e-4
"""How far a run is away at least that lost its slots."""


class Made(NamedTuple):
    """What Keras made on a backend.

    Attributes:
        backend: Its name.
        folder: Where it lies, a folder a case.
        targets: Case → the targets that its state is grafted into.
    """

    backend: str
    folder: Path
    targets: dict[str, tuple[str, ...]]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            (backend, first, every),
            id=f"{backend}{', every case' * every}",
            marks=[pytest.mark.nightly] if every or backend != "jax" else [],
        )
        for every in (False, True)
        for first, backend in enumerate(BACKENDS)
    ],
)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A backend, and what Keras made on it."""
    backend, first, every = request.param
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    names = list(CASES) if every else [*COMMON, *[name for name in CASES if name not in COMMON][first::SHARE]]
    folder = tmp_path_factory.mktemp(backend)
    child(SCRIPT, "make", folder, given={name: CASES[name] for name in names}, settings={"KERAS_BACKEND": backend})
    targets: dict[str, tuple[str, ...]] = {
        name: TARGETS if every else (TARGETS[(number + first) % 3],) for number, name in enumerate(names)
    }
    return Made(backend, folder, targets)


def resumed(made: Made, jobs: list[tuple[str, Path, str]]) -> list[float]:
    """How far runs that went on from these directories are from those that were not interrupted."""
    given = [(name, str(path), how, CASES[name]) for name, path, how in jobs]
    settings = {"KERAS_BACKEND": made.backend}
    found: list[float] = child(SCRIPT, "resume", made.folder, given=given, settings=settings)
    return found


def test_training_goes_on(made: Made) -> None:
    """Every class, from one of Keras' Orbax checkpoints into a new one: weights and state end as uninterrupted."""
    jobs: list[tuple[str, Path, str]] = []
    for name, targets in made.targets.items():
        for target in targets:
            output = made.folder / name / f"from-orbax-into-{target}"
            graft(made.folder / name / "donor", made.folder / name / target, output)
            assert inspect(output)[0].status is Status.COMPLETE, (name, target)
            by_program = target == "weights" or name == "sequential"
            jobs.append((name, output, "weights" if by_program else "model"))
    ends = resumed(made, jobs)
    off = {f"{job[1].parent.name}/{job[1].name}": end for job, end in zip(jobs, ends, strict=True) if end > TOLERANCE}
    assert not off


def test_every_donor(made: Made) -> None:
    """From every format of Keras: load_model goes on exactly."""
    folder = made.folder
    jobs: list[tuple[str, Path, str]] = []
    donors = [*DONORS, *(["donor.index"] if made.backend == "tensorflow" else [])]
    for name in ("adam", "momentum", "schedule"):
        for donor in donors:
            output = folder / name / f"into-{donor.replace('.', '-')}"
            if (folder / name / donor).exists():
                options: dict[str, Any] = {"optimizer_class": "Adam"} if name == "adam" and donor == "donor.npz" else {}
                graft(folder / name / donor, folder / name / "target", output, **options)
                jobs.append((name, output, "model"))
    assert len(jobs) == 3 * len(donors)
    ends = resumed(made, jobs)
    off = {f"{job[0]}/{job[1].name}": end for job, end in zip(jobs, ends, strict=True) if end > TOLERANCE}
    assert not off


def test_shared_files(made: Made) -> None:
    """With --link Orbax reads the new values beside the target's own files, which stay as they are."""
    folder = made.folder
    target = folder / "adam" / "built"
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    output = folder / "adam" / "linked"
    receipt = graft(folder / "adam" / "donor", target, output, link=True)
    assert receipt.written.bytes_linked
    assert resumed(made, [("adam", output, "model")])[0] <= TOLERANCE
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before


def test_judges(made: Made) -> None:
    """What these tests rest on: without its slots a run ends elsewhere."""
    own = made.folder
    jobs = [("adam", own / "adam" / "built", "model"), ("momentum", own / "momentum" / "donor", "unbuilt")]
    assert min(resumed(made, jobs)) > VISIBLE
