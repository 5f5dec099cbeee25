"""A little coverage-guided fuzzing for each reader; README.md tells of longer runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from fuzz.guided import fuzz
from fuzz.targets import TARGETS


@pytest.mark.parametrize(
    ("every", "seconds", "runs"),
    [
        pytest.param(6, 1, 200, id="a sixth of the readers"),
        pytest.param(1, 10, -1, id="every reader", marks=pytest.mark.nightly),
    ],
)
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed: the extra `fuzz`")
def test_whatever_the_bytes_are(every: int, seconds: int, runs: int, tmp_path: Path, museum: Path) -> None:
    """Each reader answers, or complains in a sentence."""
    outcomes = fuzz(tuple(TARGETS)[::every], seconds, runs=runs, seed=1, crashes=tmp_path, museum=museum)
    inputs = {path.name: path.read_bytes().hex() for path in tmp_path.iterdir()}
    broken = [outcome.output[-3000:] for outcome in outcomes.values() if outcome.code]
    assert not broken, "\n".join([*broken, str(inputs)])
    idle = [target for target, outcome in outcomes.items() if not outcome.executions or not outcome.after]
    assert not idle, f"{idle} ran nothing"
