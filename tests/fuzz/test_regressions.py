"""Inputs that once broke a reader: `regressions/TARGET/NAME`, as its fuzz target takes them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.targets import TARGETS

CASES = sorted(path for path in (Path(__file__).parent / "regressions").glob("*/*") if path.is_file())


@pytest.mark.parametrize("case", CASES, ids=[f"{case.parent.name}/{case.name}" for case in CASES])
def test_regression(case: Path, tmp_path: Path) -> None:
    """It is answered, or refused in a sentence."""
    TARGETS[case.parent.name].prepare(tmp_path)(case.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_seeds(target: str, tmp_path: Path, museum: Path) -> None:
    """Every target has seeds, and takes them as it takes any bytes."""
    run = TARGETS[target].prepare(tmp_path)
    seeds = list(TARGETS[target].seeds(museum))
    assert seeds
    for data in seeds[:3]:
        run(data)
