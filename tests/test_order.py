"""Under pytest-xdist every worker begins with what takes long."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from order import SECONDS, in_shares


class Case(NamedTuple):
    """As much of a test as its order depends on."""

    nodeid: str


def _tests(**files: int) -> list[Case]:
    return [Case(f"tests/{name}.py::test_{number}") for name, count in files.items() for number in range(count)]


def test_shares() -> None:
    """As many tests each; the slow files first, to whoever has the least to do, and none twice or lost."""
    given = _tests(fast=6, slow=2, slower=1, slowest=3, fast_too=5)
    found = in_shares(given, 2, {"slow.py": 5, "slower.py": 8, "slowest.py": 10})
    assert sorted(found) == sorted(given)
    first, second = found[:8], found[8:]
    assert first[:3] == _tests(slowest=3)
    assert second[:3] == [*_tests(slower=1), *_tests(slow=2)]


def test_a_share_that_is_too_large() -> None:
    """Slow files of more tests than a share has: nothing is lost."""
    given = _tests(slow=9, fast=2)
    assert sorted(in_shares(given, 3, {"slow.py": 5})) == sorted(given)


def test_the_files_are_there() -> None:
    """What is said to take long exists."""
    assert [name for name in SECONDS if not (Path(__file__).parent / name).exists()] == []
