"""TensorFlow goes on from what was grafted as if training had never stopped: with every optimizer, in every layout.

The frameworks run in child processes: one trains and saves, one restores by the public calls and trains on. What is
compared are the weights, after the same batches, of the run that was never interrupted.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.frameworks import child

import ckptdoctor

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
]

NOT_RESUMED_BY_THE_FRAMEWORK = {
    "tf_keras": {"Nadam", "loss_scale_Nadam"},
}
"""tf_keras counts in Python how often it multiplied Nadam's `_u_product`, and begins at 1 in a new process
(tf_keras/src/optimizers/nadam.py, `_u_product_counter`): its own checkpoints do not resume exactly either."""

NOT_PLANNED_RIGHT: dict[str, set[str]] = {}
"""Cases that a plan gets wrong, by framework: none."""


FIRST, EVERY = {"tf_keras.legacy": 0, "tf_keras": 1, "keras": 2}, 6
"""The ordinary run has every sixth case, others by the next framework; `nightly` has all."""


def _shares(*frameworks: str) -> pytest.MarkDecorator:
    """Frameworks, with what makes a child leave out most cases, and without."""
    some = [pytest.param(name, [FIRST[name], EVERY], id=name) for name in frameworks]
    every = [pytest.param(name, [], id=f"{name}, every case", marks=pytest.mark.nightly) for name in frameworks]
    return pytest.mark.parametrize(("framework", "share"), [*some, *every])


def _graft(folder: Path, target: str, *, link: bool) -> None:
    """Grafts the state of `full` into another artifact beside it."""
    ckptdoctor.graft(folder / "full", folder / target, folder / f"out_{target}", link=link)


@_shares("tf_keras.legacy", "tf_keras", "keras")
def test_checkpoints(framework: str, share: list[int], tmp_path: Path) -> None:
    """tf.train.Checkpoint: into a model alone, and in place of an optimizer of another run; built before, or not."""
    child("graft_training.py", "train", framework, tmp_path, *share)
    cases = sorted(each.name for each in tmp_path.iterdir())
    for case in cases:
        _graft(tmp_path / case, "bare", link=False)
        _graft(tmp_path / case, "fresh", link=True)
    answers = child("graft_training.py", "resume", framework, tmp_path)
    assert len(answers) == len(cases) * 4
    wrong = {}
    for name, answer in answers.items():
        case = name.partition("/")[0]
        limit = 0.0
        if case in NOT_RESUMED_BY_THE_FRAMEWORK.get(framework, ()):
            limit = answers[f"{case}/full"]
            assert limit > 1e-3, f"{case}: the framework resumes it now"
        if not (isinstance(answer, float) and answer <= limit + 1e-6):
            wrong[name] = answer
    assert {name.partition("/")[0] for name in wrong} == NOT_PLANNED_RIGHT.get(framework, set()), wrong


@_shares("tf_keras.legacy", "tf_keras")
def test_saved_models(framework: str, share: list[int], tmp_path: Path) -> None:
    """SavedModels: not compiled, of another run, without Keras' metadata; by load_model and load_weights."""
    child("graft_saved_models.py", "save", framework, tmp_path, *share)
    cases = sorted(each.name for each in tmp_path.iterdir())
    for case in cases:
        for target in ("bare", "fresh", "plain"):
            _graft(tmp_path / case, target, link=target == "fresh")
    answers = child("graft_saved_models.py", "resume", framework, tmp_path)
    assert len(answers) == len(cases) * 3
    assert {name: answer for name, answer in answers.items() if answer[0] != 12 or answer[1] > 1e-6} == {}


def test_names(tmp_path: Path) -> None:
    """TensorFlow 1's optimizers through a Saver, from a V2 and a V1 checkpoint of the model."""
    child("graft_tf1.py", "train", tmp_path)
    cases = sorted(each.name for each in tmp_path.iterdir())
    for case in cases:
        folder = tmp_path / case
        for target in ("bare", "old"):
            ckptdoctor.graft(folder / "full", folder / target, folder / f"out_{target}")
    answers = child("graft_tf1.py", "resume", tmp_path)
    assert len(answers) == len(cases) * 2
    assert {name: answer for name, answer in answers.items() if answer[0] != 7 or answer[1] > 1e-6} == {}
