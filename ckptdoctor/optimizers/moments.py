"""How large a first moment can be beside its second moment: a bound that follows from the update rules.

With m = (1 - b1) * sum(b1^k * g[t-k]) and v = (1 - b2) * sum(b2^k * g[t-k]^2) over k = 0, 1, …, the inequality of
Cauchy and Schwarz gives

    m^2 <= (1 - b1)^2 * sum((b1^2 / b2)^k) * sum(b2^k * g[t-k]^2) <= (1 - b1)^2 / ((1 - b2) * (1 - b1^2 / b2)) * v

whatever the gradients were: |m| <= 7.27 * sqrt(v) for betas of 0.9 and 0.999. Clipping, weight decay and accumulation
change the gradients, not the bound; it holds as long as the betas were the same all the time.
"""

from __future__ import annotations

from math import sqrt

from ckptdoctor.state import OptimizerState, Role

AVERAGING = frozenset({"Adam", "AdamW", "Nadam", "Lamb", "AdamWeightDecay"})
"""Classes whose slots m and v are plain moving averages of gradients and of their squares."""
PAIR = (Role.FIRST_MOMENT, Role.SECOND_MOMENT)
TOLERANCE = 1.01
"""Rounding in float32 moves each average by far less than a hundredth."""
_UNKNOWN_BETAS = 100.0
"""Above what any betas in use allow (0 and 0.999: 31.6)."""


def bound(optimizer: OptimizerState) -> float | None:
    """The most that |m| / sqrt(v) can be; None where nothing bounds it or the class has no such slots."""
    if optimizer.class_name not in AVERAGING:
        return None
    betas = _betas(optimizer)
    if betas is None:
        return _UNKNOWN_BETAS
    first, second = betas
    if not (0 <= first < 1 and 0 < second < 1) or first * first >= second:
        return None
    return TOLERANCE * (1 - first) / sqrt((1 - second) * (1 - first * first / second))


def _betas(optimizer: OptimizerState) -> tuple[float, float] | None:
    known = optimizer.hyperparameters
    found = known.get("beta_1"), known.get("beta_2")
    if all(isinstance(each, float) for each in found):
        return found  # type: ignore[return-value]
    return None
