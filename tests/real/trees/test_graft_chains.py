"""Chains of optax in Orbax and flax checkpoints: restored by them, training goes on as if it had never stopped."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import NamedTuple

import pytest
from support.frameworks import child, some_or_every

from ckptdoctor import graft

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(each) for each in ("jax", "flax", "optax", "orbax")),
        reason="JAX, flax, optax and orbax-checkpoint are not installed",
    ),
]

SCRIPT = "graft_chains_child.py"
JAX = {"KERAS_BACKEND": "jax"}
"""An interpreter of its own, without TensorFlow."""
NAMES = ["adam", "amsgrad", "scheduled", "momentum", "injected", "accumulated", "labelled", "schedule_free"]
SOME = ["adam", "scheduled", "labelled", "schedule_free"]
LAYOUTS = ("-ocdbt", "-directories", "-zarr3", ".msgpack")
VISIBLE = 1e-3


class Made(NamedTuple):
    """What the programs saved: a folder a chain."""

    folder: Path
    names: list[str]


@pytest.fixture(scope="module", params=some_or_every(SOME, NAMES))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Of the chains of a run."""
    folder = tmp_path_factory.mktemp("chains")
    off: list[float] = child(SCRIPT, "make", folder, given=request.param, settings=JAX)
    assert min(off) > VISIBLE
    return Made(folder, request.param)


def resumed(folder: Path, jobs: list[tuple[str, Path]]) -> list[tuple[float, int, dict[str, int]]]:
    """How far runs that went on are from those that were not interrupted, their step, and their counts."""
    given = [(name, str(path)) for name, path in jobs]
    return [(off, step, counts) for off, step, counts in child(SCRIPT, "resume", folder, given=given, settings=JAX)]


def test_training_goes_on(made: Made) -> None:
    """From every layout into every layout, parameters alone before: exactly."""
    jobs: list[tuple[str, Path]] = []
    for name in made.names:
        for donor in (*LAYOUTS, ".pkl"):
            for target in LAYOUTS:
                if name not in {"scheduled", "accumulated"} and donor != target and ".pkl" not in {donor, target}:
                    continue  # every pair of layouts for two of the chains, and each with itself for the others
                output = made.folder / name / f"from{donor.replace('.', '-')}-into{target}"
                graft(made.folder / name / f"donor{donor}", made.folder / name / f"target{target}", output)
                jobs.append((name, output))
    found = resumed(made.folder, jobs)
    off = {f"{job[0]}/{job[1].name}": end[:2] for job, end in zip(jobs, found, strict=True) if end[:2] != (0.0, 7)}
    assert not off


def test_a_state_that_was_made_anew(made: Made) -> None:
    """A fresh state in the target gives way, and the program's step with it."""
    jobs = []
    for name in made.names:
        for layout in LAYOUTS:
            output = made.folder / name / f"renewed{layout}"
            graft(made.folder / name / f"donor{layout}", made.folder / name / f"fresh{layout}", output)
            jobs.append((name, output))
    assert all(end[:2] == (0.0, 7) for end in resumed(made.folder, jobs))


def test_all_counts_together(made: Made) -> None:
    """--iterations N: of the transformation, of the schedule, of what is around them, and the program's own."""
    jobs = []
    for name in sorted({"scheduled", "injected", "accumulated", "schedule_free"}.intersection(made.names)):
        for layout in LAYOUTS:
            output = made.folder / name / f"counted{layout}"
            graft(None, made.folder / name / f"donor{layout}", output, iterations=1000)
            jobs.append((name, output))
    for (name, path), (_, step, counts) in zip(jobs, resumed(made.folder, jobs), strict=True):
        set_by_hand = {value for key, value in counts.items() if "mini_step" not in key}
        assert set_by_hand <= ({1000, 1001} if name == "schedule_free" else {1000}), (path, counts)
        assert step == (2001 if name == "accumulated" else 1000), path  # two batches a step, and one of the next


def test_shared_files(made: Made) -> None:
    """With --link the target's data files are those of the result."""
    output = made.folder / "adam" / "linked"
    receipt = graft(made.folder / "adam" / "donor-ocdbt", made.folder / "adam" / "target-ocdbt", output, link=True)
    assert receipt.written.bytes_linked
    assert resumed(made.folder, [("adam", output)])[0][:2] == (0.0, 7)
