"""Optimizer state across generations and formats, by the public function: the real frameworks resume exactly.

A model is trained in one framework and saved; its optimizer is grafted into another framework's file of the same
weights; that framework trains on. The weights equal those of the uninterrupted run.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from support.frameworks import CASES, child, some_or_every

import ckptdoctor
from ckptdoctor.containers.tensors.values import assembled
from ckptdoctor.state import Role

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
]

SCRIPT = "graft_keras_child.py"
TOLERANCE = 2e-6
"""The generations' kernels round differently; measured: at most 6e-7. A fresh optimizer is 1e-3 and more away."""
STEPS = 7


SOME = ("adam", "nesterov", "rmsprop_all", "ftrl")


class Runs(NamedTuple):
    """A folder a case, and the names of the cases."""

    folder: Path
    cases: tuple[str, ...]


@pytest.fixture(scope="module", params=some_or_every(SOME, tuple(CASES)))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Donors of legacy tf_keras optimizers, and targets of tf_keras and Keras 3 with the donors' weights."""
    folder, cases = tmp_path_factory.mktemp("across"), request.param
    child(SCRIPT, "tf_keras.legacy", "make", folder, given={name: CASES[name] for name in cases})
    for framework in ("tf_keras", "keras"):
        child(SCRIPT, framework, "retarget", folder, given=list(cases))
    return Runs(folder, cases)


def resumed(framework: str, made: Runs, name: str) -> dict[str, dict[str, Any]]:
    """What a framework makes of the grafted files `name` of every case."""
    jobs = [
        (case, str(made.folder / case / name), *CASES[case], str(made.folder / case / "expected.npz"))
        for case in made.cases
        if (made.folder / case / name).exists()
    ]
    found: dict[str, dict[str, Any]] = child(SCRIPT, framework, "resume", made.folder, given=jobs)
    return found


def hold(made: Runs, framework: str, name: str) -> None:
    """Every case resumed at the count, with its class, exactly."""
    found = resumed(framework, made, name)
    assert set(found) == set(made.cases)
    failing = {
        case: each
        for case, each in found.items()
        if each.get("error")
        or each["warnings"]
        or each["count"] != STEPS
        or each["class"] != CASES[case][0]
        or each["away"] > TOLERANCE
    }
    assert not failing


@pytest.mark.parametrize("donor", ["donor.h5", "donor.pkl"])
def test_legacy_into_keras_3(made: Runs, donor: str) -> None:
    """A legacy whole model's optimizer, and get_weights() pickled beside it, go on in a Keras 3 archive."""
    output = f"{donor}-into.keras"
    runs, cases = made
    for case in cases:
        class_name, options = CASES[case]
        target = runs / case / "keras.keras"
        if donor.endswith("pkl"):
            # A list of arrays knows no hyperparameters: the archive that names them is the target.
            configured = runs / case / "configured.keras"
            if not configured.exists():
                ckptdoctor.graft(runs / case / "donor.h5", target, configured)
            target = configured
        ckptdoctor.graft(runs / case / donor, target, runs / case / output, optimizer_class=class_name)
        assert options
    hold(made, "keras", output)


def test_legacy_into_keras_2(made: Runs) -> None:
    """The state that hundreds of people could not load into a v2.11+ optimizer goes on there."""
    runs, cases = made
    for case in cases:
        ckptdoctor.graft(
            runs / case / "donor.h5", runs / case / "tf_keras.keras", runs / case / "two.keras", generation="keras2"
        )
    hold(made, "tf_keras", "two.keras")


def test_around_and_back(made: Runs) -> None:
    """Legacy → Keras 2 → Keras 3 → legacy: the last resumes exactly, and its slots are the first's, bit by bit."""
    for case in made.cases:
        folder = made.folder / case
        ckptdoctor.graft(folder / "donor.h5", folder / "tf_keras.keras", folder / "r2.keras", generation="keras2")
        ckptdoctor.graft(folder / "r2.keras", folder / "keras.keras", folder / "r3.keras")
        ckptdoctor.graft(folder / "r3.keras", folder / "tf_keras.h5", folder / "back.h5", generation="optimizer-v2")
        first, last = slots(folder / "donor.h5"), slots(folder / "back.h5")
        assert first.keys() == last.keys(), case
        for key, value in first.items():
            assert np.array_equal(value, last[key]), (case, key)
    hold(made, "tf_keras.legacy", "back.h5")


def slots(path: Path) -> dict[tuple[str | None, Role], Any]:
    """Every slot's values, by variable and role."""
    (artifact,) = ckptdoctor.inspect(path)
    return {(slot.variable, slot.role): assembled(slot.tensor) for slot in artifact.optimizers[0].slots}


def test_the_receipt_names_every_file(made: Runs) -> None:
    """Inputs and output are told with their digests, and the inputs are what they were."""
    folder = made.folder / "adam"
    before = (folder / "keras.keras").read_bytes()
    receipt = ckptdoctor.graft(folder / "donor.h5", folder / "keras.keras", folder / "receipt.keras")
    assert [Path(each.path).name for each in receipt.inputs] == ["donor.h5", "keras.keras"]
    assert [Path(each.path).name for each in receipt.outputs] == ["receipt.keras"]
    assert all(each.sha256 for each in (*receipt.inputs, *receipt.outputs))
    assert (folder / "keras.keras").read_bytes() == before
