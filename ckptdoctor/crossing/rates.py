"""What a translation has to know of a learning rate, and what it says of epsilon."""

from __future__ import annotations

from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers.numbers import finite

_LARGE = 1e-6
"""At 1e-7 five steps differ by 2e-6; at 1e-3 by 0.013 (Adam) and 0.029 (RMSprop)."""


def constant(rate: object, *, scheduled: bool, name: str) -> float:
    """The learning rate that Keras has multiplied into a momentum.

    Raises:
        GraftRefused: A schedule sets it, or it is not known: no translation exists.
    """
    found = finite(rate)
    if scheduled:
        raise GraftRefused(
            f"{name}'s momentum has the learning rate in it in Keras and not in PyTorch, and a schedule changes the "
            "rate: the two are different algorithms then, and no translation exists (0.099 off after 5 steps)"
        )
    if not found:
        raise GraftRefused(
            f"{name}'s momentum has the learning rate in it in Keras and not in PyTorch, and nothing tells the rate: "
            "give it with --learning-rate"
        )
    return found


def told_of_epsilon(name: str, epsilon: object) -> list[str]:
    """A warning where epsilon is large enough to be seen."""
    value = finite(epsilon)
    if value is None or value <= _LARGE or name not in {"Adam", "AdamW", "RMSprop"}:
        return []
    place = "inside the root" if name == "RMSprop" else "before the second moment is corrected"
    said = f"epsilon {value:g} stands {place} in Keras and not in PyTorch"
    return [f"{said}: the runs differ visibly (at 0.001 by 0.01 to 0.03 after 5 steps)"]
