"""The order of tests under pytest-xdist: what takes long begins first, in equal shares.

With `--dist worksteal` every worker begins with its share of the list, in order, and takes from the end of another's
once its own is done. A file that takes long so belongs to the beginning of a share: at the end nobody waits for it,
and its fixtures are made in one worker.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import pytest

ROOT = "tests/"
SECONDS: dict[str, int] = {}
"""What files take on one core: those of five seconds and more, and roughly. `pytest --durations=0` tells."""


def in_shares(items: Iterable[pytest.Item], workers: int) -> list[pytest.Item]:
    """The tests, in one list of a share for each worker.

    Args:
        items: By file, as pytest has them.
        workers: How many there are.
    """
    files = [(path, list(each)) for path, each in groupby(items, lambda item: item.nodeid.partition("::")[0])]
    slow = sorted((each for each in files if _seconds(each[0])), key=lambda each: -_seconds(each[0]))
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    taken = [0] * workers
    for path, tests in slow:
        least = taken.index(min(taken))
        taken[least] += _seconds(path)
        shares[least] += tests
    rest = [test for path, tests in files if not _seconds(path) for test in tests]
    total = len(rest) + sum(map(len, shares))
    for number in range(workers):  # as many tests each as xdist hands out
        size = total * (number + 1) // workers - total * number // workers
        missing = max(0, size - len(shares[number]))
        shares[number] += rest[:missing]
        del rest[:missing]
    return [test for share in shares for test in share] + rest


def _seconds(path: str) -> int:
    return SECONDS.get(path.removeprefix(ROOT), 0)
