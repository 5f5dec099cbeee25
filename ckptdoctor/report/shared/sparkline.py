"""A course of numbers in one line of a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from statistics import median

_BARS = "▁▂▃▄▅▆▇█"
_LONGEST = 40
"""Bars; of more numbers, every so many-th."""
_LOW = 0.1
"""Numbers that are below this share of their greatest most of the time are drawn by their logarithms."""


def sparkline(numbers: Sequence[float]) -> str:
    """Numbers, all finite, as bars from the least to the greatest."""
    step = max(1, -(-len(numbers) // _LONGEST))
    drawn = [*numbers[::step]]
    least = min((each for each in drawn if each > 0), default=0.0)
    if least > 0 and median(drawn) < _LOW * max(drawn):
        drawn = [log(max(each, least)) for each in drawn]
    low, high = min(drawn), max(drawn)
    span = high - low or 1.0
    return "".join(_BARS[round((each - low) / span * (len(_BARS) - 1))] for each in drawn)
