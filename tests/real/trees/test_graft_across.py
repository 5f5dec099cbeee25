"""Chains of optax in PyTorch and in Keras, and theirs in optax: they go on as the other would have, or are refused."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.frameworks import child

NEEDED = ("torch", "keras", "tensorflow", "jax", "flax", "optax")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        any(importlib.util.find_spec(each) is None for each in NEEDED), reason=f"needs {', '.join(NEEDED)}"
    ),
]


def test_every_class(tmp_path: Path) -> None:
    """AMSGrad and NAdam are other algorithms in optax; the rest agrees to 2e-6."""
    found = child("across/with_optax.py", tmp_path)
    refused = {row: each for row, each in found.items() if isinstance(each, str)}
    assert {row.partition(" ")[0] for row in refused} == {"amsgrad", "nadam"}, refused
    assert len(refused) == 8
    assert {row: each for row, each in found.items() if row not in refused and each > 2e-6} == {}
    assert len(found) == 36
