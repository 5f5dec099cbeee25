"""Grafts for frameworks of years ago, by those frameworks: Keras 2.3, TensorFlow 1.15, 2.10 and 2.15 resume exactly.

A run of its own, which makes the environments first; README.md beside this file says how. The old framework trains and
saves, with its optimizer's state and without; `ckptdoctor.graft` runs here, in today's interpreter; the old framework
loads the result by its public calls and trains on with the same batches.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from support import frozen
from support.frameworks import CASES, child, made_environment

import ckptdoctor
from ckptdoctor.state import Generation

pytestmark = pytest.mark.oldframeworks

Python: TypeAlias = Callable[[str], str]
"""Name of an environment → its interpreter."""

KERAS = "graft_keras_child.py"
OLD = (("tf2.10", "tf.legacy"), ("tf2.15", "tf.legacy"), ("tf2.15", "tf"))
"""Environments, and the optimizers in them; before TensorFlow 2.11 there are only the legacy ones."""
BEFORE_2_0 = (("keras2.3", "keras.legacy"), ("tf1.15", "tf.legacy"))
"""With h5py 2, which reads text that says it is UTF-8 as another type than Keras expects."""
NOT_OF_KERAS1 = {"rmsprop_all", "ftrl"}
NOT_RESUMED_BY_THE_FRAMEWORK = {("tf2.15", "tf"): {"Nadam", "loss_scale_Nadam"}}
"""Their own checkpoints do not resume exactly either: `_u_product_counter` of test_graft_tf.py."""
STEPS = 7
TOLERANCE = 1e-6
VISIBLE = 1e-4
"""How far a run with a fresh optimizer is away at least."""


@pytest.fixture(scope="session")
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Python:
    """Makes an environment when it is first asked for; CKPTDOCTOR_TEST_ENVS names a folder that keeps them."""
    if "oldframeworks" not in request.config.option.markexpr:  # as by -m "not real", which replaces our own -m
        pytest.skip("downloads gigabytes; asked for by -m oldframeworks")
    kept = os.environ.get("CKPTDOCTOR_TEST_ENVS")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("environments")

    @cache
    def make(name: str) -> str:
        return made_environment(folder, name)

    return make


@pytest.fixture(scope="module")
def made(python: Python, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Has an old framework train and save every case with state, and without, once."""

    @cache
    def make(environment: str, framework: str) -> Path:
        folder = tmp_path_factory.mktemp(f"{environment}-{framework}")
        child(KERAS, framework, "make", folder, given=CASES, python=python(environment))
        return folder

    return make


def wrong(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The cases that did not resume at the count, with the class, to the weights."""
    assert found
    return {
        key: each
        for key, each in found.items()
        if each.get("error")
        or each["warnings"]
        or each["count"] != STEPS
        or each["class"] != CASES[key.split()[0]][0]
        or each["away"] > TOLERANCE
    }


@pytest.mark.parametrize(("environment", "framework"), OLD)
def test_files(python: Python, made: Callable[[str, str], Path], environment: str, framework: str) -> None:
    """Whole models in HDF5, and Keras archives since there are any; a fresh optimizer ends elsewhere."""
    folder = made(environment, framework)
    kinds = ("h5",) if framework == "tf.legacy" else ("h5", "keras")
    generation = Generation.OPTIMIZER_V2 if framework == "tf.legacy" else Generation.KERAS2
    jobs, controls = [], []
    for case, (class_name, options) in CASES.items():
        here = folder / case
        expected = str(here / "expected.npz")
        controls.append([case, str(here / "fresh"), class_name, options, expected])
        for kind in kinds:
            output = here / f"out.{kind}"
            ckptdoctor.graft(here / f"donor.{kind}", here / f"target.{kind}", output, generation=generation)
            jobs.append([f"{case} {kind}", str(output), class_name, options, expected])
    found = child(KERAS, framework, "resume", folder, given=[*jobs, *controls], python=python(environment))
    fresh = {case: found.pop(case)["away"] for case in CASES}
    assert len(found) == len(CASES) * len(kinds)
    assert wrong(found) == {}
    assert {case: away for case, away in fresh.items() if away < VISIBLE} == {}


@pytest.mark.parametrize(("environment", "framework"), BEFORE_2_0)
def test_files_of_h5py_2(python: Python, tmp_path: Path, environment: str, framework: str) -> None:
    """Whole models that were never compiled, of Keras 2.3 and TensorFlow 1.15, with a state of the same framework.

    The framework holds every slot bit for bit. How training goes on tells for TensorFlow only: the graphs of Keras 2.3
    read the count while they add to it, so that no two runs of its Adam are alike, those from its own files neither.
    """
    cases = {name: case for name, case in CASES.items() if framework == "tf.legacy" or name not in NOT_OF_KERAS1}
    child(KERAS, framework, "make", tmp_path, given=cases, python=python(environment))
    jobs = []
    for case, (class_name, options) in cases.items():
        here = tmp_path / case
        ckptdoctor.graft(here / "donor.h5", here / "target.h5", here / "out.h5")
        found = ckptdoctor.verify(here / "out.h5", python=python(environment))
        assert found.ok, (case, found)
        jobs.append([case, str(here / "out.h5"), class_name, options, str(here / "expected.npz")])
    resumed = child(KERAS, framework, "resume", tmp_path, given=jobs, python=python(environment))
    assert {each["count"] for each in resumed.values()} == {STEPS}
    assert framework != "tf.legacy" or wrong(resumed) == {}


@pytest.mark.parametrize(("environment", "framework"), BEFORE_2_0)
def test_verify_asks_the_package_that_wrote_it(
    python: Python, tmp_path: Path, environment: str, framework: str
) -> None:
    """Standalone Keras is asked about its own files, and tf.keras of TensorFlow 1, both in graphs, about its own."""
    cases = {name: case for name, case in CASES.items() if framework == "tf.legacy" or name not in NOT_OF_KERAS1}
    child(KERAS, framework, "make", tmp_path, given=cases, python=python(environment))
    for case in cases:
        found = ckptdoctor.verify(tmp_path / case / "donor.h5", python=python(environment))
        assert found.ok, (case, found)
        assert found.framework == {"keras.legacy": "keras", "tf.legacy": "tf.keras"}[framework]


@pytest.mark.parametrize(("environment", "framework"), [*BEFORE_2_0, ("tf2.10", "tf"), ("tf2.15", "tf")])
def test_frozen_and_thawed(python: Python, tmp_path: Path, environment: str, framework: str) -> None:
    """What a framework of its time does not resume, we do not call resumable, and the other way round."""
    loaded = child("frozen_child.py", framework, tmp_path, python=python(environment))
    assert len(loaded) >= frozen.CASES
    assert any(not each["slots"] for each in loaded.values())
    assert frozen.wrong(tmp_path, loaded) == {}


def test_across(python: Python, made: Callable[[str, str], Path]) -> None:
    """HDF5 of TensorFlow 2.10 into the archives of 2.15, whose optimizers are new, and of today's Keras 3."""
    folder = made("tf2.10", "tf.legacy")
    goals = {"tf": (python("tf2.15"), Generation.KERAS2)}
    if importlib.util.find_spec("keras") is not None:
        goals["keras"] = (sys.executable, Generation.KERAS3)
    for framework, (interpreter, generation) in goals.items():
        child(KERAS, framework, "retarget", folder, given=list(CASES), python=interpreter)
        jobs = []
        for case, (class_name, options) in CASES.items():
            here = folder / case
            output = here / f"out-{framework}.keras"
            ckptdoctor.graft(here / "donor.h5", here / f"{framework}.keras", output, generation=generation)
            jobs.append([case, str(output), class_name, options, str(here / "expected.npz")])
        found = child(KERAS, framework, "resume", folder, given=jobs, python=interpreter)
        assert wrong(found) == {}


@pytest.mark.parametrize(("environment", "framework"), OLD)
def test_checkpoints(python: Python, environment: str, framework: str, tmp_path: Path) -> None:
    """tf.train.Checkpoint: into a model alone, and in place of an optimizer of another run."""
    child("graft_training.py", "train", framework, tmp_path, python=python(environment))
    cases = sorted(each.name for each in tmp_path.iterdir())
    for case in cases:
        for target in ("bare", "fresh"):
            ckptdoctor.graft(tmp_path / case / "full", tmp_path / case / target, tmp_path / case / f"out_{target}")
    answers = child("graft_training.py", "resume", framework, tmp_path, python=python(environment))
    assert len(answers) == len(cases) * 4
    assert len(cases) > 15
    failing = {}
    for name, answer in answers.items():
        case = name.partition("/")[0]
        limit = 0.0
        if case in NOT_RESUMED_BY_THE_FRAMEWORK.get((environment, framework), ()):
            limit = answers[f"{case}/full"]
            assert limit > 1e-3, f"{case}: the framework resumes it now"
        if not (isinstance(answer, float) and answer <= limit + TOLERANCE):
            failing[name] = answer
    assert failing == {}


@pytest.mark.parametrize("environment", ["orbax0.4", "orbax0.5"])
def test_orbax(python: Python, environment: str, tmp_path: Path) -> None:
    """Orbax before 0.5.23, whose trees are told by the file `checkpoint`: into parameters alone and a fresh chain."""
    child("graft_orbax_old.py", "train", tmp_path, python=python(environment))
    for each in tmp_path.iterdir():
        for target in ("target", "fresh"):
            ckptdoctor.graft(each / "donor", each / target, each / f"into-{target}")
    answers = child("graft_orbax_old.py", "resume", tmp_path, python=python(environment))
    fresh = {name: answers.pop(name) for name in list(answers) if name.endswith("/fresh")}
    assert len(answers) == 2 * len(fresh) == 6
    assert min(fresh.values()) > VISIBLE
    assert max(answers.values()) <= TOLERANCE


@pytest.fixture(scope="module")
def saver(python: Python, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TensorFlow 1.15's checkpoints, by a Saver."""
    folder = tmp_path_factory.mktemp("tf1.15")
    child("graft_tf1.py", "train", folder, python=python("tf1.15"))
    return folder


def test_saver(python: Python, saver: Path) -> None:
    """TensorFlow 1.15 restores by a Saver what went into a V2 and a V1 checkpoint of the model."""
    folders = sorted(saver.iterdir())
    for folder in folders:
        for target in ("bare", "old"):
            ckptdoctor.graft(folder / "full", folder / target, folder / f"out_{target}")
    answers = child("graft_tf1.py", "resume", saver, python=python("tf1.15"))
    assert len(answers) == len(folders) * 2
    assert {name: answer for name, answer in answers.items() if answer[0] != STEPS or answer[1] > TOLERANCE} == {}


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="Keras is not installed")
def test_saver_into_keras_3(saver: Path) -> None:
    """The state of a TensorFlow 1.15 run goes on in Keras 3; without it, training ends elsewhere."""
    child("graft_tf1_keras.py", "target", saver)
    targets = sorted(saver.glob("*/target.keras"))
    for target in targets:
        folder = target.parent
        ckptdoctor.graft(folder / "full", target, folder / "out.keras", generation=Generation.KERAS3)
    answers = child("graft_tf1_keras.py", "resume", saver)
    fresh = [answers.pop(f"{target.parent.name}/target") for target in targets]
    assert min(away for _, away in fresh) > 10 * TOLERANCE  # Adadelta moves little at this rate
    assert len(answers) == len(targets)
    assert {name: answer for name, answer in answers.items() if answer[0] != STEPS or answer[1] > TOLERANCE} == {}
