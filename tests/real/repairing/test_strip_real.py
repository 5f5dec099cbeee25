"""What `strip` leaves is loaded by Keras and TensorFlow: the same weights, and no optimizer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.commands import ckptdoctor
from support.frameworks import child

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        importlib.util.find_spec("tf_keras") is None, reason="TensorFlow and tf_keras are not installed"
    ),
]
CHILD = str(Path(__file__).with_name("strip_child.py"))
FILES = (
    "model.keras", "whole.h5", "new.weights.h5", "keras3", "legacy", "legacy.h5", "legacy.keras", "scaled.keras", "old",
)  # fmt: skip


def test_what_is_left_is_loaded(tmp_path: Path) -> None:
    """By load_model, load_weights, Checkpoint.read and Saver.restore."""
    made = child(CHILD, "make", tmp_path)
    for name in FILES:
        stem, dot, ending = name.partition(".")
        out = tmp_path / f"{stem}-stripped{dot}{ending}"
        result = ckptdoctor("strip", tmp_path / name, "--output", out)
        if name == "legacy.keras":  # tf_keras keeps no state of legacy optimizers in archives
            assert result.code == 4, result.out
            (tmp_path / name).rename(out)
            continue
        assert result.code == 0, result.err
    found = child(CHILD, "load", tmp_path)
    assert found.pop("old") == made["old"]
    assert found.pop("legacy-stripped.keras")[0] == 0
    assert len(found) == 7
    assert all(each == [0.0, True] for each in found.values()), found
