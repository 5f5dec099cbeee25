"""What transformers' Trainer gives to LambdaLR: the functions that a scheduler's state_dict leaves out.

Source: transformers/optimization.py and `get_warmup_steps` of training_args.py, 4.28 to 5.24.
"""

from collections.abc import Mapping
from math import ceil, cos, isfinite, pi, sqrt
from typing import NamedTuple


class Warmup(NamedTuple):
    """A schedule that rises for some steps and then follows its kind.

    Attributes:
        kind: As `lr_scheduler_type` calls it.
        rise: Steps of the rise.
        total: Steps of the whole training.
        rate: The rate that it rises to.
        settings: What `lr_scheduler_kwargs` says.
    """

    kind: str
    rise: int
    total: int
    rate: float
    settings: Mapping[str, object] = {}

    def factor(self, step: int) -> float:
        """What the rate is multiplied by at a step.

        Raises:
            KeyError: The kind is not known.
            ArithmeticError, TypeError: The settings are nonsense.
        """
        follow = _KINDS[self.kind]
        if step < self.rise and self.kind != "constant":
            return step / self.rise
        return follow(self, step)

    def progress(self, step: int) -> float:
        """How much of what follows the rise is done."""
        return (step - self.rise) / max(1, self.total - self.rise)

    def number(self, name: str, default: float) -> float:
        """A setting."""
        value = self.settings.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            raise TypeError(name)
        return float(value)


def rise_of(steps: object, ratio: object, total: int) -> int:
    """Steps of the rise: so many, or that part of all; since 5.0 what is below 1 is a part, too.

    Raises:
        TypeError: Neither is a number.
    """
    for each in (steps, ratio):
        if isinstance(each, (int, float)) and isfinite(each) and each > 0:
            return int(each) if each >= 1 and each is steps else ceil(total * each)
    if not isinstance(steps, (int, float)):
        raise TypeError(steps)
    return 0


def _constant(_: Warmup, _step: int) -> float:
    return 1.0


def _linear(warmup: Warmup, step: int) -> float:
    return max(0.0, 1 - warmup.progress(step))


def _cosine(warmup: Warmup, step: int) -> float:
    return max(0.0, 0.5 * (1 + cos(pi * warmup.number("num_cycles", 0.5) * 2 * warmup.progress(step))))


def _restarts(warmup: Warmup, step: int) -> float:
    progress = warmup.progress(step)
    return 0.0 if progress >= 1 else max(0.0, 0.5 * (1 + cos(pi * (warmup.number("num_cycles", 1) * progress % 1.0))))


def _cosine_to_least(warmup: Warmup, step: int) -> float:
    least = warmup.number("min_lr_rate", warmup.number("min_lr", 0) / warmup.rate)
    return max(0.0, _cosine(warmup, step) * (1 - least) + least)


def _polynomial(warmup: Warmup, step: int) -> float:
    end = warmup.number("lr_end", 1e-7)
    left = max(0.0, 1 - warmup.progress(step))
    return float(((warmup.rate - end) * left ** warmup.number("power", 1.0) + end) / warmup.rate)


def _inverse_sqrt(warmup: Warmup, step: int) -> float:
    scale = warmup.rise or 10_000  # get_scheduler hands no timescale on
    return 1 / sqrt((step + scale - warmup.rise) / scale)


_KINDS = {
    "linear": _linear,
    "cosine": _cosine,
    "cosine_with_restarts": _restarts,
    "cosine_with_min_lr": _cosine_to_least,
    "polynomial": _polynomial,
    "constant": _constant,
    "constant_with_warmup": _constant,
    "inverse_sqrt": _inverse_sqrt,
}
