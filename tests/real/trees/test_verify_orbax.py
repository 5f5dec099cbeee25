"""`verify` of Orbax and flax checkpoints: what Keras, Orbax and flax restore of them is what they hold."""

from __future__ import annotations

import importlib.util
import textwrap
from functools import partial
from pathlib import Path

import pytest
from support.frameworks import child, verified

from ckptdoctor import graft
from ckptdoctor.errors import UsageProblem
from ckptdoctor.verification import verify

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(each) for each in ("tensorflow", "jax", "flax", "optax", "orbax")),
        reason="TensorFlow, JAX, flax, optax and orbax-checkpoint are not installed",
    ),
]

PROGRAM = """
    import keras


    def build():
        layers = [
            keras.layers.Dense(4, name="hidden"),
            keras.layers.BatchNormalization(name="normal"),
            keras.layers.Dense(4, name="second"),
            keras.layers.Dense(2, name="out"),
        ]
        model = keras.Sequential([keras.layers.Input((4,), name="x"), *layers], name="m")
        model.compile(keras.optimizers.Adam(0.02), "mse")
        return model
"""
TREE = """
    import jax.numpy as jnp
    import optax


    def build():
        shapes = {"Dense_0": (4, 4), "Dense_1": (4, 4), "Dense_2": (4, 2)}
        params = {
            name: {"kernel": jnp.zeros(shape), "bias": jnp.zeros(shape[1:])} for name, shape in shapes.items()
        }
        schedule = optax.warmup_cosine_decay_schedule(0.0, 0.05, 3, 30)
        some = CHAIN
        return {"params": params, "opt_state": some.init(params), "step": jnp.asarray(0, jnp.int32)}
"""
CHAIN = "optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule))"


by_keras = partial(verified, backend="tensorflow")
by_jax = partial(verified, backend="jax")


def script(path: Path, text: str) -> str:
    """A script of the user's."""
    path.write_text(textwrap.dedent(text))
    return f"{path}:build"


@pytest.fixture(scope="module")
def of_keras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Keras saved on TensorFlow."""
    folder = tmp_path_factory.mktemp("keras")
    cases = {name: ("Adam", {"learning_rate": 0.02}) for name in ("functional", "sequential")}
    child("graft_orbax_child.py", "make", folder, given=cases)
    return folder


@pytest.fixture(scope="module")
def of_jax(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What programs of JAX saved."""
    folder = tmp_path_factory.mktemp("jax")
    child("graft_chains_child.py", "make", folder, given=["scheduled"], settings={"KERAS_BACKEND": "jax"})
    return folder / "scheduled"


def test_a_functional_model(of_keras: Path, tmp_path: Path) -> None:
    """load_model restores all of it, of a graft too; the interpreter is started for it."""
    assert verify(of_keras / "functional" / "donor").ok
    graft(of_keras / "functional" / "donor.keras", of_keras / "functional" / "target", tmp_path / "out")
    assert by_keras(tmp_path / "out").ok


def test_a_sequential_model(of_keras: Path, tmp_path: Path) -> None:
    """load_model loses it silently; the program's own model, which a script makes, gets everything."""
    donor = of_keras / "sequential" / "donor"
    assert not by_keras(donor).ok
    assert by_keras(donor, script=script(tmp_path / "program.py", PROGRAM)).ok


def test_weights_alone_beside_a_state(of_keras: Path, tmp_path: Path) -> None:
    """Without a configuration verify needs a model."""
    graft(of_keras / "sequential" / "donor", of_keras / "sequential" / "weights", tmp_path / "out")
    refused = by_keras(tmp_path / "out")
    assert not refused.ok
    assert "--model-script" in str(refused.attempts[0].error)
    assert by_keras(tmp_path / "out", script=script(tmp_path / "program.py", PROGRAM)).ok


@pytest.mark.parametrize("layout", ["-ocdbt", "-directories", "-zarr3", ".msgpack"])
def test_chains(of_jax: Path, tmp_path: Path, layout: str) -> None:
    """Restored as they are, and into the program's own tree; a tree of another chain is refused by the library."""
    donor, output = of_jax / f"donor{layout}", tmp_path / f"out{layout}"
    graft(donor, of_jax / f"target{layout}", output)
    found = by_jax(output)
    assert found.ok
    assert any("without a target" in note for note in found.notes)
    assert by_jax(output, script=script(tmp_path / "tree.py", TREE.replace("CHAIN", CHAIN))).ok
    assert not by_jax(output, script=script(tmp_path / "other.py", TREE.replace("CHAIN", "optax.adam(0.1)"))).ok


def test_a_script_that_is_none(of_jax: Path, tmp_path: Path) -> None:
    """A file that is not there is wrong use; a function that is not there fails the verification."""
    donor = of_jax / "donor.msgpack"
    with pytest.raises(UsageProblem, match=r"FILE\.py:FUNCTION"):
        by_jax(donor, script=str(tmp_path / "absent.py:build"))
    (tmp_path / "empty.py").write_text("")
    found = by_jax(donor, script=f"{tmp_path / 'empty.py'}:build")
    assert not found.ok
    assert "has no function 'build'" in str(found.attempts[0].error)
