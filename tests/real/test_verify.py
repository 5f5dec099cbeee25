"""`ckptdoctor verify` with the frameworks of today, against what their loaders were measured to do.

Each case is one run of the child process, so they are a selection: every kind of artifact, and every way in which a
loader loses state.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from support.frameworks import run, warm_python

import ckptdoctor
from ckptdoctor.diagnosis.loader_table import rows
from ckptdoctor.diagnosis.loaders import parse_loader
from ckptdoctor.verification import Outcome

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        importlib.util.find_spec("tf_keras") is None, reason="TensorFlow and tf_keras are not installed"
    ),
]

RESTORED, DROPPED, CHANGED = Outcome.RESTORED, Outcome.DROPPED, Outcome.CHANGED


class Case(NamedTuple):
    """An artifact and what its loader does.

    Attributes:
        path: In the museum, or among the fixtures.
        framework: Which framework is asked.
        iterations: What becomes of the count by the usual call; None if the call fails.
        slots: What becomes of the slots.
        restoring: The key of the call that restores everything; "" if there is none.
    """

    path: str
    framework: str
    iterations: Outcome | None
    slots: set[Outcome]
    restoring: str


EXAMPLES = (
    Case("keras3.keras", "keras", RESTORED, {RESTORED}, "archive-load-model"),
    Case("whole-model.h5", "tf_keras", RESTORED, {RESTORED}, "h5-load-model"),
    Case("savedmodel", "tf_keras", DROPPED, {DROPPED}, "saved-model-load-weights"),
    Case("run-a", "tf_keras", RESTORED, {RESTORED}, "checkpoint"),
    Case("tf1", "tensorflow", RESTORED, {RESTORED}, "saver"),
    Case("optimizer.pkl", "tf_keras", RESTORED, {RESTORED}, "dump"),
)

MUSEUM = (
    # Keras 3 keeps the count of an .h5 and drops the slots; where the loss is a string, it refuses even its own files.
    Case("keras/k3.15lo-adam-h5.h5", "keras", RESTORED, {DROPPED}, "h5-assign"),
    Case("keras/k3.15tf-adam-h5.h5", "keras", None, set(), "h5-assign"),
    Case("keras/k3.15tf-reversed_sameshape-h5.h5", "keras", RESTORED, {DROPPED}, "h5-assign"),
    Case("keras/k3.15jax-mixed_f16-h5.h5", "keras", DROPPED, {DROPPED}, "h5-assign"),
    Case("keras/k3.15lo-nadam-h5.h5", "keras", RESTORED, {DROPPED}, "h5-assign"),
    Case("keras/k3.15jax-h5_then_keras-keras.keras", "keras", DROPPED, {DROPPED}, "archive-load-weights"),
    Case("keras/k3.15jax-mixed_f16-keras.keras", "keras", DROPPED, {DROPPED}, "archive-load-weights"),
    Case("keras/k3.15tf-freeze_after-keras.keras", "keras", DROPPED, {DROPPED}, ""),
    Case("keras/k3.15tf-muon-keras.keras", "keras", RESTORED, {RESTORED}, "archive-load-model"),
    Case("keras/k3.15jax-lossscale_adam-keras.keras", "keras", RESTORED, {RESTORED}, "archive-load-model"),
    Case("keras/k3.15tf-containers-keras.keras", "keras", None, set(), ""),
    Case("keras/k3.15tf-adam-wh5.weights.h5", "keras", DROPPED, {DROPPED}, "weights-load-built"),
    Case("keras/k3.15tf-adam-wjson.weights.json", "keras", DROPPED, {DROPPED}, "weights-load-built"),
    Case("keras/k3.15tf-adafactor-vars.pkl", "keras", RESTORED, {RESTORED}, "dump"),
    # tf_keras: slots by position land on other variables of the same shape, and nothing says so.
    Case("tf2.21-tf_keras/reversed_sameshape-h5.h5", "tf_keras", RESTORED, {RESTORED, CHANGED}, "h5-assign"),
    Case("keras/tf2.15lo-lossscale_adam-h5.h5", "tf_keras", DROPPED, {DROPPED}, "h5-assign"),
    Case("keras/tfk2.21-freeze_after-h5.h5", "tf_keras", RESTORED, {DROPPED}, ""),
    Case("keras/tfk2.21-adam-keras.keras", "tf_keras", RESTORED, {RESTORED}, "archive-load-model"),
    Case("keras/tfk2.21-adam-wh5.weights.h5", "tf_keras", DROPPED, {DROPPED}, "weights-load-built"),
    Case("tf/v2.21-tfk_pkg-sm-adam/sm", "tf_keras", DROPPED, {DROPPED}, "saved-model-load-weights"),
    Case("tf/v2.10-tfk-sm-adam_lr_schedule/sm", "tf_keras", DROPPED, {DROPPED}, "saved-model-load-weights"),
    Case("tf/v2.21-tfk_pkg-ckpt-adam/ckpt", "tf_keras", RESTORED, {RESTORED}, "checkpoint"),
    Case("tf/v2.21-tfk_pkg-ckpt-legacy_adam_amsgrad/ckpt", "tf_keras", RESTORED, {RESTORED}, "checkpoint"),
    Case("tf/v2.21-k3-ckpt-gan/ckpt-1", "keras", RESTORED, {RESTORED}, "checkpoint"),
    Case("tf/v2.21-k3-ckpt-loss_scale/ckpt", "keras", RESTORED, {RESTORED}, "checkpoint"),
    Case("tf/v2.21-tf1-adam_partitioned/model.ckpt-7", "tensorflow", RESTORED, {RESTORED}, "saver"),
    Case("tf/v2.21-tf1-adam_v1/model.ckpt-7", "tensorflow", RESTORED, {RESTORED}, "saver"),
)


def hold(case: Case, folder: Path, python: str | None = None) -> ckptdoctor.verification.Verification:
    """Verifies one artifact and holds the result against the case."""
    found = ckptdoctor.verify(folder / case.path, python=python)
    assert found.framework == case.framework
    if "2.21" in case.path and found.framework == "tf_keras" and "['optional']" in (found.error or ""):
        pytest.skip(f"tf_keras {found.version} does not know the input layers of 2.21")
    if case.iterations is None:
        assert found.error is not None
    else:
        assert found.iterations.outcome is case.iterations
        assert {slot.outcome for slot in found.slots} == case.slots
    assert (found.restoring.key if found.restoring else "") == case.restoring
    assert found.ok == (found.restoring is found.usual)
    assert bool(found.advice) != found.ok
    if found.error is None:
        hold_against_the_table(found, folder / case.path)
    return found


def hold_against_the_table(found: ckptdoctor.verification.Verification, path: Path) -> None:
    """What the framework did is what the table of losses says of it; where it says nothing, all was restored."""
    state = ckptdoctor.inspect(path)[0].state
    assert state is not None
    assert found.usual is not None
    losses = rows(state, parse_loader(f"{found.framework}=={found.version}"))
    row = next((each.row for each in losses if each.row.usual == found.usual.key), None)
    assert (row is None) == found.ok
    if row is None:
        return
    assert found.iterations.outcome is (DROPPED if row.iterations == "lost" else RESTORED), row.id
    outcomes = {slot.outcome for slot in found.slots}
    assert RESTORED not in outcomes if row.slots == "lost" else outcomes - {RESTORED}, row.id
    # The warning is told by the framework that gives it, where it can be heard: without a message nothing may be.
    assert row.signal != "silent" or not any("optimizer" in warning for warning in found.usual.warnings), row.id


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: str(case.path))
def test_examples(case: Case, fixtures_dir: Path) -> None:
    """The examples of each kind."""
    hold(case, fixtures_dir, warm_python())


STARTED = ("keras3.keras", "run-a")
"""Of Keras 3 and of TensorFlow; `nightly` has the others."""


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(each, id=each.path, marks=[] if each.path in STARTED else [pytest.mark.nightly])
        for each in EXAMPLES
    ],
)
def test_by_an_interpreter_of_its_own(case: Case, fixtures_dir: Path) -> None:
    """The same by an interpreter that is started for it, as `verify` does."""
    hold(case, fixtures_dir)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(each, id=each.path, marks=[pytest.mark.nightly] if number % 2 else [])
        for number, each in enumerate(MUSEUM)
    ],
)
def test_museum(case: Case, museum: Path) -> None:
    """Each way in which loaders restore, drop and exchange state."""
    hold(case, museum, warm_python())


def test_weights_into_a_model(museum: Path) -> None:
    """With --model the weights are loaded into the real model: not before its optimizer is built, but then."""
    found = ckptdoctor.verify(
        museum / "keras/k3.15tf-adam-wh5.weights.h5",
        model=museum / "keras/k3.15tf-sgd-keras.keras",
        python=warm_python(),
    )
    assert found.call == "model.compile(optimizer), model.load_weights(path)"
    assert found.iterations.outcome is DROPPED
    assert found.restoring is not None
    assert found.restoring.key == "weights-load-built"
    assert any("Skipping variable loading" in warning for warning in found.attempts[0].warnings)


def test_the_command_line(fixtures_dir: Path) -> None:
    """The verdict first, every line within 80 columns, exit code 1, and JSON alone on stdout."""
    command = [sys.executable, "-m", "ckptdoctor", "verify", "savedmodel"]
    environment = dict(os.environ, COLUMNS="80")
    done = subprocess.run(command, cwd=fixtures_dir, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("savedmodel: tf_keras ")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "/variables/variables" in done.stdout
    command += ["--python", warm_python(), "--format", "json"]
    done = subprocess.run(command, cwd=fixtures_dir, capture_output=True, text=True, check=False)
    document = json.loads(done.stdout)
    assert document["schema"] == "ckptdoctor.verify/1"
    artifact = document["artifacts"][0]
    assert (artifact["ok"], artifact["restorable"]) == (False, True)
    assert artifact["attempts"][0]["optimizers"][0]["iterations"] == {"expected": 7, "found": 0, "outcome": "dropped"}
    assert [each["ok"] for each in artifact["attempts"]] == [False, True]


@pytest.mark.parametrize(
    ("package", "name"), [("keras", "m.keras"), ("keras", "m.h5"), ("tf_keras", "m.h5"), ("tf_keras", "m")]
)
def test_code_in_a_model_is_not_run(tmp_path: Path, package: str, name: str) -> None:
    """Lambda layers are not run, though load_model runs those of .h5 files and SavedModels without asking."""
    witness = tmp_path / "witness"
    script = (
        f"import {package} as keras, sys, numpy as np\n"
        f"effect = lambda x: (open({str(witness)!r}, 'w'), x)[1]\n"
        "model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.Lambda(effect)])\n"
        "model.compile('adam', 'mse')\n"
        "model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)\n"
        "model.save(sys.argv[1])\n"
    )
    path = tmp_path / name
    run("-c", script, path)
    witness.unlink()
    found = ckptdoctor.verify(path, python=warm_python())
    assert not found.ok
    assert found.error is not None
    assert "Lambda" in found.error
    assert not witness.exists()


def test_the_child_refuses_code_too(tmp_path: Path) -> None:
    """Even if our reader overlooked it, the child loads in safe mode."""
    witness = tmp_path / "witness"
    script = (
        "import tf_keras as keras, sys, os, numpy as np\n"
        f"effect = lambda x: (open({str(witness)!r}, 'w'), x)[1]\n"
        "model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(effect)])\n"
        "model.save(sys.argv[1])\n"
        f"os.unlink({str(witness)!r})\n"
        "from ckptdoctor.verification.child import frameworks, models\n"
        "try:\n"
        "    models.load(frameworks.load('tf_keras'), sys.argv[1])\n"
        "except ValueError as error:\n"
        "    sys.exit(0 if 'lambda' in str(error) else 4)\n"
        "sys.exit(3)\n"
    )
    path = tmp_path / "m.h5"
    run("-c", script, path)
    assert not witness.exists()


def test_a_custom_loss_is_not_needed(tmp_path: Path) -> None:
    """Where only the loss is the user's own, the model is loaded with compile=False, and that is said."""
    script = (
        "import keras, sys, numpy as np\n"
        "def own_loss(true, predicted): return keras.ops.mean(abs(true - predicted))\n"
        "model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])\n"
        "model.compile('adam', own_loss)\n"
        "model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)\n"
        "model.save(sys.argv[1])\n"
    )
    path = tmp_path / "own.keras"
    run("-c", script, path)
    found = ckptdoctor.verify(path, python=warm_python())
    assert found.ok
    assert found.call is not None
    assert "compile=False" in found.call
    assert "own_loss" in found.notes[0]


def test_a_change_in_the_file_is_seen(tmp_path: Path, fixtures_dir: Path) -> None:
    """What the artifact holds is read by us and not by the framework: both must agree on every element."""
    import h5py

    path = tmp_path / "model.h5"
    path.write_bytes((fixtures_dir / "whole-model.h5").read_bytes())
    with h5py.File(str(path), "r+") as file:
        name = next(each for each in file["optimizer_weights"].attrs["weight_names"] if "kernel" in str(each))
        dataset = file["optimizer_weights"][name]
        dataset[...] = np.arange(dataset.size, dtype=np.float32).reshape(dataset.shape)
    assert ckptdoctor.verify(path, python=warm_python()).ok
