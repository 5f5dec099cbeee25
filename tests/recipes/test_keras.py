"""Recipes for files of Keras and checkpoints of TensorFlow, run by the installed frameworks."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.frameworks import needs
from support.recipes import filled, make, run, run_each

from ckptdoctor.recipes.run import recipe, render

needs("tensorflow")
pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

PROGRAM = "__import__('with_keras').model(keras)"
BUILT = {"build_model": PROGRAM}
COSINE = {"learning_rate": "keras.optimizers.schedules.CosineDecay(0.1, 100)"}
KERAS3 = {
    "whole.keras": {},
    "whole.h5": {},
    "scheduled.keras": {},
    "adam.weights.h5": BUILT,
    "adam.npz": BUILT,
    "adam.pkl": BUILT,
    "scheduled.weights.h5": BUILT | COSINE,
    "run": BUILT,
}
TF_KERAS = {
    "whole.keras": {},
    "whole.h5": {},
    "scheduled.keras": {},
    "legacy.h5": {},
    "saved": {},
    "adam.weights.h5": BUILT | {"learning_rate": "0.01"},
    "adam.npz": BUILT | {"learning_rate": "0.01"},
    "adam.pkl": BUILT | {"learning_rate": "0.01"},
    "run": BUILT,
    "plain/weights": BUILT,
    "legacy/ckpt": BUILT,
}
Run = tuple[dict[str, str], dict[str, str]]


def _all(gaps: dict[str, dict[str, str]], folder: Path, backend: str) -> Run:
    texts = {name: filled(folder / name, each) for name, each in gaps.items()}
    return texts, run_each(texts, folder, backend=backend)


@pytest.fixture(scope="module")
def by_keras(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What Keras 3 saved, restored by Keras 3."""
    folder = tmp_path_factory.mktemp("keras")
    make("with_keras", folder, "keras")
    return _all(KERAS3, folder, "tensorflow")


@pytest.fixture(scope="module")
def by_tf_keras(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What tf_keras saved, restored by tf_keras."""
    needs("tf_keras")
    folder = tmp_path_factory.mktemp("tf_keras")
    make("with_keras", folder, "tf_keras")
    return _all(TF_KERAS, folder, "tensorflow")


@pytest.mark.parametrize("name", KERAS3)
def test_keras(by_keras: Run, name: str) -> None:
    """The count and a slot are in the optimizer that the script leaves."""
    texts, errors = by_keras
    assert errors[name] == "", texts[name]
    assert texts[name].count("assert ") >= 2


@pytest.mark.parametrize("name", TF_KERAS)
def test_tf_keras(by_tf_keras: Run, name: str) -> None:
    """The same of the optimizers up to 2.10 and of those since."""
    texts, errors = by_tf_keras
    assert errors[name] == "", texts[name]
    assert texts[name].count("assert ") >= 2


FIXTURES = {
    "keras3.keras": {},
    "whole-model.h5": {},
    "optimizer.pkl": {
        "build_model": "keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, name='hidden'), "
        "keras.layers.Dense(2, name='score')])",
        "learning_rate": "0.01",
    },
    "savedmodel": {},
    "run-a": {
        "build_model": "keras.Sequential([keras.Input((3,)), keras.layers.Dense(8, name='hidden'), "
        "keras.layers.Dense(2, name='score')])",
        "learning_rate": "0.01",
    },
}


@pytest.fixture(scope="module")
def of_fixtures(fixtures_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The examples that come with the tool, by Keras 3.15 and by TensorFlow 2.10 and 2.15."""
    texts = {name: filled(fixtures_dir / name, gaps) for name, gaps in FIXTURES.items()}
    return texts, run_each(texts, tmp_path_factory.mktemp("fixtures"))


@pytest.mark.parametrize("name", FIXTURES)
def test_fixtures(of_fixtures: Run, name: str) -> None:
    """Old files, by the newest release that loads their generation."""
    texts, errors = of_fixtures
    assert errors[name] == "", texts[name]
    assert texts[name].count("assert ") >= 2


def test_it_runs_as_it_is(fixtures_dir: Path, tmp_path: Path) -> None:
    """A file that holds the whole model leaves nothing to fill in: the script is a program."""
    text = render(recipe(str(fixtures_dir / "keras3.keras")))
    assert "NotImplementedError" not in text
    done = run(text, tmp_path)
    assert (done.code, done.out) == (0, "restored: Adam at iteration 7; momentum, velocity for 4 of 4 variables\n")


def test_a_proof_can_fail(fixtures_dir: Path, tmp_path: Path) -> None:
    """A model that was not trained as far is not what the script restores."""
    text = render(recipe(str(fixtures_dir / "keras3.keras"))).replace("found == 7", "found == 8")
    assert "AssertionError: iterations is 7" in run(text, tmp_path).err


def test_a_saver(fixtures_dir: Path, tmp_path: Path) -> None:
    """TensorFlow 1: the graph of the program, restored by its Saver."""
    graph = """
def _graph():
    x = tf.placeholder(tf.float32, [None, 3])
    with tf.variable_scope("net"):
        at = x
        for name, shape in (("d1", (3, 4)), ("d2", (4, 2))):
            with tf.variable_scope(name):
                at = at @ tf.get_variable("kernel", shape) + tf.get_variable("bias", shape[1:])
    step = tf.train.get_or_create_global_step()
    return tf.train.AdamOptimizer().minimize(tf.reduce_sum(at), global_step=step)


"""
    text = filled(fixtures_dir / "tf1" / "model.ckpt-7", {"build_model": "_graph()"})
    done = run(text.replace("\ndef restore():", f"{graph}def restore():"), tmp_path)
    assert done.code == 0, f"{done.err}\n{text}"
