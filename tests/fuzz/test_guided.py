"""A few seconds of coverage-guided fuzzing for each reader; README.md tells of longer runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from fuzz.guided import fuzz
from fuzz.targets import TARGETS

SECONDS = 2


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed: the extra `fuzz`")
@pytest.mark.parametrize("target", TARGETS)
def test_a_few_seconds(target: str, tmp_path: Path, museum: Path) -> None:
    """Whatever the bytes are, the reader answers, or complains in a sentence."""
    outcome = fuzz(target, SECONDS, seed=1, crashes=tmp_path, museum=museum)
    inputs = {path.name: path.read_bytes().hex() for path in tmp_path.iterdir()}
    assert outcome.code == 0, f"{outcome.output[-3000:]}\n{inputs}"
    assert outcome.executions > 0
    assert outcome.after > 0
