"""What `strip` leaves of Orbax and flax checkpoints is restored by Keras, Orbax and flax."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.commands import ckptdoctor
from support.frameworks import child

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(each) for each in ("jax", "flax", "optax", "orbax", "keras")),
        reason="JAX, flax, optax, orbax-checkpoint and Keras are not installed",
    ),
]
CHILD = str(Path(__file__).with_name("strip_trees_child.py"))
JAX = {"KERAS_BACKEND": "jax"}


def test_what_is_left_is_restored(tmp_path: Path) -> None:
    """Into targets without an optimizer: exactly."""
    child(CHILD, "make", tmp_path, settings=JAX)
    names = {
        "keras": "keras-stripped",
        "database": "database-stripped",
        "directories": "directories-stripped",
        "state.msgpack": "state-stripped.msgpack",
    }
    for name, out in names.items():
        result = ckptdoctor("strip", tmp_path / name, "--output", tmp_path / out)
        assert result.code == 0, result.err
    found = child(CHILD, "load", tmp_path, settings=JAX)
    assert len(found) == 5
    assert set(found.values()) == {0.0}
