"""Frozen and thawed models by today's Keras 3 and tf_keras: we call resumable what they resume, and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.frameworks import child
from support.frozen import CASES, SAMPLE, wrong

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        importlib.util.find_spec("tf_keras") is None, reason="TensorFlow and tf_keras are not installed"
    ),
]


@pytest.mark.parametrize("step", [SAMPLE, pytest.param(1, marks=pytest.mark.nightly)], ids=["sample", "every"])
@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_frozen_and_thawed(framework: str, step: int, tmp_path: Path) -> None:
    """Containers and layers, with normalizations and layers of one's own, frozen before, after and in between."""
    loaded = child("frozen_child.py", framework, tmp_path, step)
    assert len(loaded) == 2 * len(range(0, CASES, step))
    assert any(not each["slots"] for each in loaded.values())
    assert wrong(tmp_path, loaded) == {}
