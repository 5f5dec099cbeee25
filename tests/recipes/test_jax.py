"""Recipes for trees of JAX programs and for Keras' OrbaxCheckpoint, run by Orbax, flax and Keras where installed."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version
from support.frameworks import needs
from support.recipes import filled, make, run

from ckptdoctor.recipes.run import recipe, render

needs("orbax", "optax", "flax")
pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

TREE = {"build_model": "__import__('with_jax').tree()"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a program of JAX saved."""
    folder = tmp_path_factory.mktemp("jax")
    make("with_jax", folder, backend="jax")
    return folder


@pytest.mark.parametrize("path", ["orbax/5", "alone", "state.msgpack"])
def test_a_tree(saved: Path, tmp_path: Path, path: str) -> None:
    """A manager's step, an item that stands alone, a document of flax: restored into the program's own target."""
    text = filled(saved / path, TREE)
    done = run(text, tmp_path, backend="jax")
    assert done.code == 0, f"{done.err}\n{text}"
    assert text.count("assert ") == 2
    steps = run(text.replace("assert found == 5", "assert found == 6"), tmp_path, backend="jax")
    assert "AssertionError: the count is 5" in steps.err


def test_keras_and_orbax(museum: Path, tmp_path: Path) -> None:
    """The directory holds the model's configuration: the script runs as it is."""
    needs("keras")
    if Version(version("keras")) < Version("3.15"):
        pytest.skip("Keras before 3.15 has no loader for it")
    text = render(recipe(str(museum / "orbax-keras3.15-jax" / "functional")))
    done = run(text, tmp_path, backend="jax")
    assert done.code == 0, f"{done.err}\n{text}"
    assert done.out.startswith("restored: AdamW at iteration")
