"""Guards in programs of Keras: the known losses end `fit` before a step, and what was restored trains on."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from support.commands import ROOT
from support.frameworks import needs, run

CHILD = os.path.join(os.path.dirname(__file__), "keras_child.py")
KERAS = (
    "keras",
    "tf_keras",
    *(pytest.param(f"keras on {each}", marks=pytest.mark.nightly) for each in ("jax", "torch")),
)

pytestmark = pytest.mark.real


@pytest.fixture(scope="module", params=KERAS)
def said(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the guards of one Keras said, by scenario."""
    name, _, backend = request.param.partition(" on ")
    needs(name, backend or "tensorflow")
    settings = {"KERAS_BACKEND": backend or "tensorflow", "PYTHONPATH": str(ROOT)}
    found: dict[str, Any] = json.loads(run(CHILD, name, tmp_path_factory.mktemp(name), settings=settings)[-1])
    return found


def passed(said: dict[str, Any], what: str) -> int:
    """How many slots were compared of what passed, and trained on."""
    told = said[what]
    assert set(told["asserted"]) == {"path", "iterations", "slots"}, told["asserted"]
    assert told["fit"] is None, told["fit"]
    assert told["stepped"]
    return int(told["asserted"]["slots"])


def refused(said: dict[str, Any], what: str) -> dict[str, Any]:
    """What function and callback said of what did not pass, before a step."""
    told = said[what]
    assert told["asserted"]["lost"] == told["fit"]["lost"]
    assert not told["stepped"]
    assert "ckptdoctor recipe " in told["asserted"]["text"]
    found: dict[str, Any] = told["asserted"]
    return found


@pytest.mark.parametrize("what", ["load_weights after build", "whole model", "another rate, allowed", "schedule"])
def test_what_was_restored(said: dict[str, Any], what: str) -> None:
    """It passes, with values compared, and trains on."""
    assert passed(said, what) == 2


def test_load_weights_before_build(said: dict[str, Any]) -> None:
    """The optimizer is new, which load_weights says in a warning at most; L002 tells how to mend it."""
    found = refused(said, "load_weights before build")
    assert found["lost"][0] == "Adam has taken no step here, and 7 there"
    assert found["codes"][0] == "L002"
    assert "model.optimizer.build(model.trainable_variables) before" in found["text"]


def test_compiled_anew(said: dict[str, Any]) -> None:
    """A compile() after the loading makes a new optimizer: nothing is wrong with the file."""
    found = refused(said, "compiled anew")
    assert found["lost"][0] == "Adam has taken no step here, and 7 there"
    assert found["codes"] == []
    assert "compile() after the loading" in found["text"]


def test_another_rate(said: dict[str, Any]) -> None:
    """A rate that was set after the loading is told, with what allows it."""
    found = refused(said, "another rate")
    assert found["lost"] == ["the learning rate is 0.5 here, and 0.01 there"]
    assert "learning_rate=False" in found["text"]


def test_weights_only(said: dict[str, Any]) -> None:
    """A file without state is told to be one; allow_fresh lets it pass."""
    found = refused(said, "weights only")
    assert found["codes"] == ["S001"]
    assert "allow_fresh=True" in found["text"]
    assert passed(said, "weights only, allowed") == 0


def test_whole_h5(said: dict[str, Any]) -> None:
    """Keras 3 drops the slots of a whole-model HDF5 file silently; tf_keras restores them."""
    if "accumulated" not in said:
        assert passed(said, "whole h5") == 2
        return
    found = refused(said, "whole h5")
    assert found["codes"] == ["L002"]
    assert "4 slots there" in found["lost"][0]


def test_order(said: dict[str, Any]) -> None:
    """Moments of equal shape that went to each other's variables: an error by the function, a warning in `fit`.

    tf_keras names layers otherwise in .weights.h5, so that no name tells.
    """
    told = said["reversed"]
    if "accumulated" not in said:
        assert told["asserted"]["slots"] == 2
        return
    assert "which has its place here" in told["asserted"]["lost"][0]
    assert told["asserted"]["codes"] == ["S010"]
    assert told["fit"] is None
    assert "ResumeWarning" in told["warned"]


def test_of_one_kind_of_keras(said: dict[str, Any]) -> None:
    """Accumulated gradients in Keras 3; in tf_keras, what TensorFlow restores only when variables are made."""
    if "accumulated" in said:
        assert passed(said, "accumulated") == 2
        return
    assert passed(said, "restored later") == 2
    assert refused(said, "not restored")["lost"][0] == "Adam has taken no step here, and 7 there"


def test_every_class(said: dict[str, Any]) -> None:
    """A .weights.h5 names no class, and the slots of several fit: by their numbers they are compared all the same."""
    if "classes" not in said:
        pytest.skip("made by TensorFlow's arithmetic")
    found = said["classes"]
    assert len(found) > 12
    assert [(name, each["lost"]) for name, each in found.items() if "lost" in each] == []
    assert {name for name, each in found.items() if not each["slots"]} <= {"SGD"}
    assert found["Adam ema"]["slots"] == 6


def test_two_optimizers(said: dict[str, Any]) -> None:
    """Those of a GAN in one checkpoint, by name and in order."""
    if "two" not in said:
        pytest.skip("tf.train.Checkpoint is of TensorFlow")
    assert said["two"]["iterations"] == [7, 14]
    assert said["two"]["slots"] == 4
    assert said["two, in order"] == said["two"]
    assert said["two, not restored"]["lost"][0] == "Adam has taken no step here, and 7 there"
    assert said["two, exchanged"]["lost"][0] == "Adam has taken 14 steps here, and 7 there"


def test_what_is_no_optimizer(said: dict[str, Any]) -> None:
    """One sentence for what cannot be compared."""
    assert said["uncompiled"] == "the model has no optimizer: compile it first, or hand over the optimizer"
    assert said["a number"].startswith("int is no optimizer")
