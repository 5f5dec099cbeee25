"""What an optimizer's numbers become in another generation: one table, each entry with its formula and source.

Within one class the slots of all generations play the same roles, and for most roles the numbers are the same quantity:
Adam's moments, AMSGrad's maximum, Adagrad's and Ftrl's accumulators, RMSprop's averages and its momentum, Adadelta's
accumulators and Adamax's norm were measured equal from OptimizerV2 to Keras 3 (7 steps of each, moved, 5 more steps,
weights compared). `RULES` lists what is not.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.numbers import finite
from ckptdoctor.state import Generation, Role


class Numbers(NamedTuple):
    """What formulas may need: of the state that is moved, and of the optimizer that it goes to.

    Attributes:
        iterations: Steps done; None if they are not known.
        learning_rate: The constant learning rate; None if it is not known or a schedule sets it.
        beta_1: Decay of the first moment.
        beta_2: Decay of the second moment.
        schedule_decay: Keras 1's `schedule_decay` of Nadam.
    """

    iterations: int | None = None
    learning_rate: float | None = None
    beta_1: float = 0.9
    beta_2: float = 0.999
    schedule_decay: float = 0.004


def numbers_of(iterations: int, hyperparameters: Mapping[str, object], *, scheduled: bool) -> Numbers:
    """What translations need of an optimizer, under the defaults that every Keras has."""

    def number(name: str, default: float) -> float:
        return default if (found := finite(hyperparameters.get(name))) is None else found

    rate = number("learning_rate", 0.0)
    return Numbers(
        iterations=iterations,
        learning_rate=rate if rate and not scheduled else None,
        beta_1=number("beta_1", 0.9),
        beta_2=number("beta_2", 0.999),
        schedule_decay=number("schedule_decay", 0.004),
    )


class SlotRule(NamedTuple):
    """How a slot's values change between generations.

    Attributes:
        class_name: The optimizer class.
        role: The slot.
        donors: What the values accumulate where they come from (`Dialect.momentum`).
        targets: The same where they go to.
        factor: What they are multiplied by; raises `Untranslatable` where that is not known.
        formula: The same for people.
        source: Where the update rules stand.
    """

    class_name: str
    role: Role
    donors: str
    targets: str
    factor: Callable[[Numbers], float]
    formula: str
    source: str


class Untranslatable(Exception):
    """The state means something else there, and what it would take to translate it is not known."""


def _tf1_to_keras(numbers: Numbers) -> float:
    return -_constant_rate(numbers)


def _keras_to_tf1(numbers: Numbers) -> float:
    return -1.0 / _constant_rate(numbers)


def _constant_rate(numbers: Numbers) -> float:
    if not numbers.learning_rate:
        raise Untranslatable(
            "TensorFlow 1 accumulates gradients, Keras steps (momentum = -learning_rate x accumulator), and the "
            "learning rate is not known: give the one that was in force with --learning-rate"
        )
    return numbers.learning_rate


_MOMENTUM_SOURCE = "tf.compat.v1.train.MomentumOptimizer against keras.optimizers.SGD (update rules)"

SLOT_RULES: tuple[SlotRule, ...] = (
    SlotRule(
        "SGD", Role.MOMENTUM, "gradient", "step", _tf1_to_keras,
        "momentum = -learning_rate x accumulator", _MOMENTUM_SOURCE,
    ),
    SlotRule(
        "SGD", Role.MOMENTUM, "step", "gradient", _keras_to_tf1,
        "accumulator = -momentum / learning_rate", _MOMENTUM_SOURCE,
    ),
)  # fmt: skip
"""Every slot whose values change; all others are copied as they are."""


def slot_rule(class_name: str, role: Role, donor: Generation, target: Generation) -> SlotRule | None:
    """The rule for one slot between two generations; None if its values stay as they are."""
    way = dialect(donor).momentum, dialect(target).momentum
    for rule in SLOT_RULES:
        if rule.class_name == class_name and rule.role is role and (rule.donors, rule.targets) == way:
            return rule
    return None


# ------------------------------------------------------------------------------------------------ products and powers


def nadam_product(numbers: Numbers, target: Generation) -> float:
    """Nadam's running product of momentum decays after `iterations` steps.

    Keras 2.11 and later: prod of beta_1 (1 - 0.5 x 0.96^i), i = 1..t (keras.src.optimizers.nadam, `_u_product`).
    OptimizerV2 and Keras 1: prod of beta_1 (1 - 0.5 x 0.96^(0.004 i)) (`momentum_cache`, `m_schedule`).
    """
    if numbers.iterations is None:
        raise Untranslatable("Nadam's product of momentum decays follows from the iteration count, which is not known")
    exponent = 1.0 if dialect(target).nadam == "fast" else numbers.schedule_decay
    product = 1.0
    for step in range(1, min(numbers.iterations, _ENOUGH) + 1):
        product *= numbers.beta_1 * (1.0 - 0.5 * 0.96 ** (exponent * step))
    return product


_ENOUGH = 20_000  # by then the product is 0 in float32 for any beta below 0.995


def beta_power(beta: float, numbers: Numbers) -> float:
    """TF1's `beta1_power`, `beta2_power` after t steps: beta^(t+1) (tf.compat.v1.train.AdamOptimizer)."""
    if numbers.iterations is None:
        raise Untranslatable("beta powers follow from the iteration count, which is not known")
    return float(beta ** (numbers.iterations + 1))


SMALLEST = 1e-37
"""Below it a power has underflowed in float32, and tells nothing any more."""


def implied_beta(power: float, iterations: int) -> float | None:
    """The beta whose power TensorFlow 1 holds after t steps; None if the power tells nothing."""
    return power ** (1 / (iterations + 1)) if iterations >= 0 and SMALLEST < power < 1 else None


def same_beta(was: float, beta: float) -> bool:
    """Whether a beta that follows from a power in float32 is this one."""
    return abs(was - beta) <= 0.01 * (1 - beta)


SINGLES: Mapping[str, Callable[[Numbers, Generation], float]] = {
    "u_product": nadam_product,
    "momentum_cache": nadam_product,
    "m_schedule": nadam_product,
}
"""Scalars that follow from the count and the hyperparameters, by the name that the target gives them."""


def power(kind: str, numbers: Numbers) -> float:
    """The `beta1_power` or `beta2_power` that follows from the count."""
    return beta_power(numbers.beta_1 if kind == "beta1_power" else numbers.beta_2, numbers)


# --------------------------------------------------------------------------------------- what does not go over at all


def obstacles(class_name: str, target: Generation, hyperparameters: Mapping[str, object]) -> list[str]:
    """Why a state cannot go on exactly in another generation; empty if it can."""
    found: list[str] = []
    # OptimizerV2's Nadam keeps its schedule_decay (0.004) in a variable called `decay`.
    decay = hyperparameters.get("decay") if class_name != "Nadam" else None
    if not dialect(target).one_over_t and isinstance(decay, (int, float)) and decay > 0:
        found.append(
            f"the donor's learning rate decays ({decay:g} per step, 1/t), which Keras 2.11 and later have only as an "
            "InverseTimeDecay schedule"
        )
    return found


_NADAM = (
    "Nadam's momentum schedule is another one before and after Keras 2.11 (0.96^(0.004 t) and 0.96^t): the state is "
    "exact, the following updates differ"
)

_RMSPROP = (
    "RMSprop's epsilon stands outside the square root in Keras up to 2.10 (without momentum), inside in TensorFlow 1 "
    "and Keras 2.11 and later: the state is exact, the following updates differ as much as epsilon matters"
)


def warnings(class_name: str, donor: Generation, target: Generation) -> list[str]:
    """What goes on differently although the state is exact."""
    one, other = dialect(donor), dialect(target)
    if class_name == "Nadam" and one.nadam != other.nadam:
        return [_NADAM]
    if class_name == "RMSprop" and one.epsilon_outside != other.epsilon_outside:
        return [_RMSPROP]
    return []
