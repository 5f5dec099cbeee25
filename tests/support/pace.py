"""How slow the machine is just now, so that a limit of processor time means the same on a busy one."""

from __future__ import annotations

from time import process_time

_REFERENCE = 0.05
"""Seconds of processor time that the loop takes on a quiet machine of 2023."""


def slowness() -> float:
    """How many times as long as on the reference machine Python takes now; at least 1."""
    taken = []
    for _ in range(3):
        start = process_time()
        sum(number * number for number in range(1_000_000))
        taken.append(process_time() - start)
    return max(1.0, max(taken) / _REFERENCE)
