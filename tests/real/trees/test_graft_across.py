"""Chains of optax in PyTorch and in Keras, and theirs in optax: they go on as the other would have, or are refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.frameworks import child, some_or_every

NEEDED = ("torch", "keras", "tensorflow", "jax", "flax", "optax")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        any(importlib.util.find_spec(each) is None for each in NEEDED), reason=f"needs {', '.join(NEEDED)}"
    ),
]


SOME = ("adam", "momentum", "nadam")
OTHERS = ("amsgrad", "nadam")
"""Other algorithms in optax."""
EVERY = ("adam", "adamw", "momentum", "rmsprop", "adagrad", "adadelta", "adamax", *OTHERS)


@pytest.mark.parametrize("names", some_or_every(SOME, EVERY))
def test_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    """What is the same algorithm in both agrees to 2e-6."""
    found = child("across/with_optax.py", tmp_path, *names)
    refused = {row: each for row, each in found.items() if isinstance(each, str)}
    assert {row.partition(" ")[0] for row in refused} == set(OTHERS) & set(names), refused
    assert len(refused) == 4 * len(set(OTHERS) & set(names))
    assert {row: each for row, each in found.items() if row not in refused and each > 2e-6} == {}
    assert len(found) == 4 * len(names)
