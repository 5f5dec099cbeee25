"""Models whose variables are hard to tell apart: what is matched resumes exactly, the rest is refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.frameworks import child

import ckptdoctor
from ckptdoctor.errors import GraftRefused

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
]
SCRIPT = "graft_matching_child.py"


def test_keras_3(tmp_path: Path) -> None:
    """Frozen layers of one shape, inner models with statistics, layers in another order than they are called."""
    child(SCRIPT, "keras", "make", tmp_path)
    frozen, nested, attributes = (tmp_path / name for name in ("frozen", "nested", "attributes"))
    # A list beside variables, which does not tell which layer is frozen: a target that does not either is refused.
    ckptdoctor.graft(frozen / "full.weights.h5", frozen / "bare.keras", frozen / "a.keras", optimizer_class="Adam")
    with pytest.raises(GraftRefused, match="their order cannot be told"):
        ckptdoctor.graft(frozen / "full.weights.h5", frozen / "bare", frozen / "b", optimizer_class="Adam")
    ckptdoctor.graft(nested / "full.pkl", nested / "bare", nested / "a", optimizer_class="Adam")
    ckptdoctor.graft(nested / "full.pkl", nested / "full.pkl", nested / "b.pkl", optimizer_class="Adam")
    ckptdoctor.graft(None, nested / "full.pkl", nested / "c.pkl", iterations=7)
    # The file lists attributes by name: the donor's list tells in which order the optimizer holds them.
    ckptdoctor.graft(attributes / "full", attributes / "bare.keras", attributes / "a.keras")
    jobs = ["frozen/a.keras", "nested/a", "nested/b.pkl", "nested/c.pkl", "attributes/a.keras"]
    answers = child(SCRIPT, "keras", "resume", tmp_path, given=jobs)
    assert {name: answer for name, answer in answers.items() if answer[0] != 7 or answer[1] > 1e-6} == {}
    assert set(answers) == set(jobs)


def test_saved_models_with_frozen_layers(tmp_path: Path) -> None:
    """A SavedModel's variables say that they are trainable, its layers' metadata that they are frozen."""
    child(SCRIPT, "tf_keras", "make", tmp_path)
    receipt = ckptdoctor.graft(tmp_path / "frozen/full", tmp_path / "frozen/bare", tmp_path / "frozen/out")
    assert not any(name.startswith("h2") for name in receipt.plan.optimizer.trained)
    answers = child(SCRIPT, "tf_keras", "resume", tmp_path, given=["frozen/out"])
    ((count, away),) = answers.values()
    assert count == 7
    assert away <= 1e-6
