"""Learning-rate schedules, computed: which rate the next step uses, and which one it would use if the count were lost.

Pure arithmetic in float64 after keras.src.optimizers.schedules.learning_rate_schedule (Keras 3) and
tf_keras.src.optimizers.schedules (Keras 2), which agree wherever both have a class. The configuration comes from a
file: whatever is not a finite number where one is needed makes the rate unknown, never an error.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from ckptdoctor.errors import UsageProblem
from ckptdoctor.state import Schedule

_MAX_NESTING = 8


class _Unknown(Exception):
    """A value that a schedule needs is missing or no number."""


def evaluate(schedule: Schedule, iterations: int | None) -> Schedule:
    """Computes a schedule at the step that comes next, and at step 0.

    Args:
        schedule: As configured.
        iterations: The optimizer's count, which is the step that its next update passes to the schedule; None if the
            artifact lacks it.

    Returns:
        The schedule with its rates; a rate that cannot be computed is None.
    """
    return schedule._replace(
        learning_rate=None if iterations is None else rate(schedule.class_name, schedule.config, iterations),
        learning_rate_if_lost=rate(schedule.class_name, schedule.config, 0),
    )


def rate(class_name: str, config: Mapping[str, object], step: int) -> float | None:
    """The rate of a schedule at a step; None if the class is not one of Keras' or its configuration makes no sense."""
    try:
        return _rate(class_name, config, float(step), 0)
    except (_Unknown, ArithmeticError, ValueError):
        return None


def at(schedule: Schedule, step: int) -> float | None:
    """The rate of a schedule at a step; None where it cannot be computed.

    Raises:
        UsageProblem: The step is negative.
    """
    if step < 0:
        raise UsageProblem(f"a schedule has no step {step}: steps are counted from 0")
    return rate(schedule.class_name, schedule.config, step)


def is_known(class_name: str) -> bool:
    """Whether a class is one of Keras' own; a custom schedule cannot be computed, since its code is not here."""
    return class_name.rpartition(">")[2] in _SCHEDULES


def length(class_name: str, config: Mapping[str, object]) -> int | None:
    """The step at which a schedule ends; None for those that have no end, or make no sense."""
    name = class_name.rpartition(">")[2]
    if name not in _ENDING or config.get("cycle"):
        return None
    try:
        reader = _Config(config, 0, 0)
        steps = reader.positive("decay_steps")
        if name == "CosineDecay" and reader.optional("warmup_target") is not None:
            steps += reader.number("warmup_steps", default=0.0)
        return math.ceil(_finite(steps))
    except (_Unknown, ArithmeticError):
        return None


def decayed(learning_rate: object, decay: object, iterations: int | None) -> float | None:
    """The rate under the `decay` argument of Keras 1 and OptimizerV2: `lr / (1 + decay * iterations)`.

    Returns:
        The rate at the next step; None where there is no decay, or one of the three is no number.
    """
    if iterations is None:
        return None
    try:
        start, slope = _number(learning_rate), _number(decay)
        if not slope:
            return None
        return _finite(start / (1 + slope * iterations))
    except (_Unknown, ArithmeticError):
        return None


class Decay(NamedTuple):
    """What the `decay` argument makes of the learning rate: at the next step, and if the count restarted at 0."""

    learning_rate: float | None
    learning_rate_if_lost: float


def legacy_decay(class_name: str | None, hyperparameters: Mapping[str, object], iterations: int | None) -> Decay | None:
    """The rates under an optimizer's `decay`; None where there is none, as for Nadam, which calls its momentum's so."""
    start, decay = hyperparameters.get("learning_rate"), hyperparameters.get("decay")
    # Whether there is any, the first step tells.
    if class_name == "Nadam" or decayed(start, decay, 1) is None:
        return None
    return Decay(decayed(start, decay, iterations), _number(start))


def bias_correction(iterations: int, beta_1: float = 0.9, beta_2: float = 0.999) -> float | None:
    """Adam's effective step size relative to its learning rate at the next update: `sqrt(1 - b2^t) / (1 - b1^t)`.

    Adam corrects its moments for having started at zero. With t the count plus one, this is what the correction makes
    of the rate; it goes from about 0.3 at t = 1 to 1.
    """
    step = iterations + 1
    if step < 1 or not (0 <= beta_1 < 1 and 0 <= beta_2 < 1):
        return None
    try:
        return math.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    except ArithmeticError:
        return None


def lost_count_factor(iterations: int, beta_1: float = 0.9, beta_2: float = 0.999) -> float | None:
    """By which factor Adam's next update would differ if its moments were kept and its count were lost.

    Moments that have long settled are then divided by corrections for a first step. For the default betas and many
    steps: 0.316, a third of the update that should be.
    """
    right, wrong = bias_correction(iterations, beta_1, beta_2), bias_correction(0, beta_1, beta_2)
    return wrong / right if right and wrong is not None else None


# --------------------------------------------------------------------------------------------------------- arithmetic


def _number(value: object, *, positive: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Unknown
    try:
        number = float(value)
    except OverflowError as error:
        raise _Unknown from error
    if not math.isfinite(number) or (positive and number <= 0):
        raise _Unknown
    return number


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise _Unknown
    return value


def _power(base: float, exponent: float) -> float:
    """A real power; `math.pow` refuses what would be complex."""
    return math.pow(base, exponent)


class _Config:
    """A configuration, read with the types that arithmetic needs."""

    def __init__(self, values: Mapping[str, object], step: float, depth: int) -> None:
        self._values = values
        self._step = step
        self._depth = depth

    def number(self, *names: str, default: float | None = None) -> float:
        """The number under the first of these names that is there; `default` if none is."""
        for name in names:
            if name in self._values:
                return _number(self._values[name])
        if default is None:
            raise _Unknown
        return default

    def positive(self, name: str) -> float:
        """A number above zero: Keras refuses others."""
        return _number(self._values.get(name), positive=True)

    def optional(self, name: str) -> float | None:
        """A number, or None where the configuration says null or nothing."""
        value = self._values.get(name)
        return None if value is None else _number(value)

    def flag(self, name: str) -> bool:
        """Whether a switch is on."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            raise _Unknown
        return value

    def numbers(self, name: str) -> list[float]:
        """A list of numbers."""
        values = self._values.get(name)
        if not isinstance(values, (list, tuple)):
            raise _Unknown
        return [_number(value) for value in values]

    def start(self) -> float:
        """The initial rate, which may be a schedule itself (of a class of the user's that holds one of Keras')."""
        value = self._values.get("initial_learning_rate")
        if isinstance(value, Mapping):
            name, config = value.get("class_name"), value.get("config")
            if not isinstance(name, str) or not isinstance(config, Mapping) or self._depth >= _MAX_NESTING:
                raise _Unknown
            return _rate(name, config, self._step, self._depth + 1)
        return _number(value)


def _rate(class_name: str, config: Mapping[str, object], step: float, depth: int) -> float:
    compute = _SCHEDULES.get(class_name.rpartition(">")[2])
    if compute is None or not math.isfinite(step) or step < 0:
        raise _Unknown
    return _finite(compute(_Config(config, step, depth), step))


def _exponential(config: _Config, step: float) -> float:
    position = step / config.positive("decay_steps")
    if config.flag("staircase"):
        position = math.floor(position)
    return config.start() * _power(config.number("decay_rate"), position)


def _inverse_time(config: _Config, step: float) -> float:
    position = step / config.positive("decay_steps")
    if config.flag("staircase"):
        position = math.floor(position)
    return config.start() / (1 + config.number("decay_rate") * position)


def _piecewise(config: _Config, step: float) -> float:
    boundaries, values = config.numbers("boundaries"), config.numbers("values")
    if not boundaries or len(values) != len(boundaries) + 1 or sorted(boundaries) != boundaries:
        raise _Unknown
    # A boundary still belongs to the interval before it. Keras casts boundaries to the step's whole numbers.
    return next((value for edge, value in zip(boundaries, values, strict=False) if step <= int(edge)), values[-1])


def _polynomial(config: _Config, step: float) -> float:
    steps = config.positive("decay_steps")
    end = config.number("end_learning_rate", default=0.0001)
    if config.flag("cycle"):
        steps *= 1 if step == 0 else math.ceil(step / steps)
    else:
        step = min(step, steps)
    return (config.start() - end) * _power(1 - step / steps, config.number("power", default=1.0)) + end


def _cosine(config: _Config, step: float) -> float:
    steps, alpha = config.positive("decay_steps"), config.number("alpha", default=0.0)
    target = config.optional("warmup_target")
    begin = config.start()
    if target is not None:
        warmup = config.number("warmup_steps", default=0.0)
        step = min(step, steps + warmup)
        if step < warmup:
            return (target - begin) * (step / warmup) + begin
        step, begin = step - warmup, target
    position = min(step, steps) / steps
    return begin * ((1 - alpha) * 0.5 * (1 + math.cos(math.pi * position)) + alpha)


def _cosine_restarts(config: _Config, step: float) -> float:
    t_mul, m_mul = config.number("t_mul", default=2.0), config.number("m_mul", default=1.0)
    alpha = config.number("alpha", default=0.0)
    position = step / config.positive("first_decay_steps")
    if t_mul == 1:
        period = math.floor(position)
        position -= period
    else:
        # A hair more, or the logarithms' rounding puts the first step of a period at the end of the one before.
        period = math.floor(math.log(1 - position * (1 - t_mul)) / math.log(t_mul) + 1e-12)
        length = _power(t_mul, period)
        position = (position - (1 - length) / (1 - t_mul)) / length
    wave = 0.5 * _power(m_mul, period) * (1 + math.cos(math.pi * position))
    return config.start() * ((1 - alpha) * wave + alpha)


def _linear_cosine(config: _Config, step: float) -> float:
    steps = config.positive("decay_steps")
    position = min(step, steps) / steps
    wave = 0.5 * (1 + math.cos(2 * math.pi * config.number("num_periods", default=0.5) * position))
    linear = config.number("alpha", default=0.0) + 1 - position
    return config.start() * (linear * wave + config.number("beta", default=0.001))


_Compute: TypeAlias = Callable[[_Config, float], float]

_SCHEDULES: dict[str, _Compute] = {
    "ExponentialDecay": _exponential,
    "InverseTimeDecay": _inverse_time,
    "PiecewiseConstantDecay": _piecewise,
    "PolynomialDecay": _polynomial,
    "CosineDecay": _cosine,
    "CosineDecayRestarts": _cosine_restarts,
    # tf.compat.v1 and tf_keras (`experimental`); its noisy sister cannot be computed.
    "LinearCosineDecay": _linear_cosine,
}
"""Keras' class names → their formula. Anything else is not computable."""

_ENDING = frozenset({"CosineDecay", "LinearCosineDecay", "PolynomialDecay"})
"""Schedules that stay at one rate from some step on."""
