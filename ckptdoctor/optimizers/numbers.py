"""Settings as numbers: what a file says may be anything."""

from __future__ import annotations

from math import isfinite


def finite(value: object) -> float | None:
    """A setting from a file as a number; None if it is none, or beyond what a float can be."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None
