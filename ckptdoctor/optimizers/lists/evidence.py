"""What the values of a state list say about which optimizer wrote it.

Shapes leave many readings of a list open: `[count, a…, b…]` is Adam, Adadelta, Adamax or RMSprop with momentum. Their
mathematics does not: a mean of squares is never negative, a mean of gradients sooner or later is, Adagrad starts at
0.1. A few elements of each array tell them apart, and tell an optimizer's accumulators from a model's weights.
"""

from collections.abc import Sequence
from enum import Enum
from math import isclose, isfinite
from typing import NamedTuple

from ckptdoctor.optimizers.catalogue import Extent, Single, SlotKind
from ckptdoctor.optimizers.lists.layout import ITERATION, LEARNING_RATE, Fit, Item, Shape
from ckptdoctor.state import Generation, Role

NEVER_NEGATIVE = frozenset(
    {
        Role.SECOND_MOMENT, Role.MAX_SECOND_MOMENT, Role.MEAN_SQUARE, Role.ACCUMULATOR, Role.ACCUMULATED_UPDATE,
        Role.INFINITY_NORM, Role.ROW_MOMENT, Role.COLUMN_MOMENT,
    }
)  # fmt: skip
"""Roles that hold squares, magnitudes, or sums of them."""

ENOUGH = 8
"""So many numbers of one sign are no accident."""
MAX_RATE = 1e3
"""No learning rate is larger."""
INITIAL_ACCUMULATOR = 0.1
"""Where Adagrad and Ftrl start since OptimizerV2 (`initial_accumulator_value`)."""


class Kind(Enum):
    """How an artifact stores a number: as a Python or numpy scalar, or as an array of rank 0 (Keras 3 does)."""

    SCALAR = "scalar"
    ARRAY = "array"
    UNKNOWN = "unknown"


class Observed(NamedTuple):
    """An element of a list, and what was seen of its values.

    Attributes:
        shape: Its shape.
        dtype: Its element type; `int` and `float` for Python's own numbers.
        value: The number, where it is one.
        kind: How that number is stored.
        positive: How many sampled values are above zero.
        negative: How many are below.
        least: The least sampled value.
    """

    shape: Shape
    dtype: str
    value: float | None = None
    kind: Kind = Kind.UNKNOWN
    positive: int = 0
    negative: int = 0
    least: float | None = None

    @property
    def integral(self) -> bool:
        """Whether it holds whole numbers."""
        return self.dtype.startswith(("int", "uint"))

    @property
    def item(self) -> Item:
        """The same, as layouts see it."""
        return Item(self.shape, self.integral)


def observe(
    shape: Shape, dtype: str, values: Sequence[float], *, kind: Kind = Kind.UNKNOWN, value: float | None = None
) -> Observed:
    """Sums up a sample of an array's values."""
    real = [each for each in values if isfinite(each)]
    return Observed(
        shape,
        dtype,
        value,
        kind,
        positive=sum(each > 0 for each in real),
        negative=sum(each < 0 for each in real),
        least=min(real, default=None),
    )


def contradicts(fit: Fit, items: Sequence[Observed]) -> bool:
    """Whether values rule a reading out."""
    return any(
        _impossible(kind.kind, item, fit.layout.generation) for kind, item in zip(fit.assigned, items, strict=True)
    )


def _impossible(kind: SlotKind | Single, item: Observed, generation: Generation) -> bool:
    if isinstance(kind, Single):
        return _impossible_single(kind, item, generation)
    # Keras 3 fills Adafactor's unused places with whole numbers; no other slot holds any.
    if item.integral and (item.shape or kind.extent not in {Extent.ROWS, Extent.COLUMNS}):
        return True
    if kind.extent is Extent.PLACEHOLDER:
        return bool(item.positive or item.negative)
    return kind.role in NEVER_NEGATIVE and item.negative > 0


def _impossible_single(single: Single, item: Observed, generation: Generation) -> bool:
    value = item.value
    if single is ITERATION:
        # Keras 1 counted in float32; Keras 3 counts in int32 with JAX and torch. Nothing else does either.
        if item.dtype == "float32" and generation is not Generation.KERAS1:
            return True
        if item.dtype == "int32" and generation is not Generation.KERAS3:
            return True
        return value is not None and (value < 0 or not isfinite(value) or value != int(value))
    if item.integral:
        return True
    if value is None or not isfinite(value):
        return False
    if single is LEARNING_RATE:
        return not 0 <= value <= MAX_RATE
    return not 0 <= value <= 1  # Nadam's products of betas


def doubts_of_class(fit: Fit, items: Sequence[Observed]) -> int:
    """How many kinds of slots hold what this class's hardly would: magnitudes all along, or sums from elsewhere."""
    found = 0
    by_kind: dict[int, tuple[SlotKind, list[Observed]]] = {}
    for (kind, _, _), item in zip(fit.assigned, items, strict=True):
        if isinstance(kind, SlotKind):
            by_kind.setdefault(id(kind), (kind, []))[1].append(item)
    for kind, held in by_kind.values():
        positive, negative = sum(item.positive for item in held), sum(item.negative for item in held)
        if kind.role not in NEVER_NEGATIVE and positive >= ENOUGH and not negative:
            found += 1
        least = min((item.least for item in held if item.least is not None), default=None)
        if least is not None and positive >= ENOUGH:
            found += _starts_wrong(fit, kind, high=least >= INITIAL_ACCUMULATOR * 0.999)
    return found


def doubts(fit: Fit, items: Sequence[Observed]) -> int:
    """How many things about a reading are unlikely, though not impossible."""
    generation = fit.layout.generation
    found = doubts_of_class(fit, items)
    steps = next((item.value for a, item in zip(fit.assigned, items, strict=True) if a.kind is ITERATION), None)
    for a, item in zip(fit.assigned, items, strict=True):
        if a.kind is ITERATION and item.kind is not Kind.UNKNOWN:
            found += (item.kind is Kind.ARRAY) != (generation is Generation.KERAS3)
        if a.kind is LEARNING_RATE and item.value == 0:
            found += 1
        if isinstance(a.kind, Single) and a.kind not in {ITERATION, LEARNING_RATE} and steps is not None:
            found += 2 * (not _is_nadams(item.value, steps, generation))
    return found


def _is_nadams(value: float | None, steps: float, generation: Generation) -> bool:
    """Whether a number is the product of momenta that Nadam would have after so many steps, with its usual beta_1.

    It is that of `0.9 * (1 - 0.5 * 0.96^(0.004 t))` for each step t, in Keras 3 without the 0.004; it leaves float32
    after a hundred steps or two.
    """
    if value is None:
        return True
    product = 1.0
    for step in range(1, min(int(steps), 1000) + 1):
        product *= 0.9 * (1 - 0.5 * 0.96 ** (step if generation is Generation.KERAS3 else 0.004 * step))
    return isclose(value, product, rel_tol=0.01, abs_tol=1e-30)


def _starts_wrong(fit: Fit, kind: SlotKind, *, high: bool) -> bool:
    """Whether sums of squares lie where this class would not have them: from 0.1 on, as Adagrad's, or from 0."""
    if fit.layout.class_name in {"Adagrad", "Ftrl"} and kind.role is Role.ACCUMULATOR:
        return not high and fit.layout.generation is not Generation.KERAS1
    return high and kind.role is Role.MEAN_SQUARE


def supported(fit: Fit, items: Sequence[Observed]) -> bool:
    """Whether values speak for a reading, rather than merely not against it: its magnitudes were seen to be such."""
    magnitudes = [
        item
        for a, item in zip(fit.assigned, items, strict=True)
        if isinstance(a.kind, SlotKind) and a.kind.role in NEVER_NEGATIVE
    ]
    return sum(item.positive for item in magnitudes) >= ENOUGH


def all_zero(items: Sequence[Observed]) -> bool:
    """Whether nothing but zeros was seen."""
    return not any(item.positive or item.negative for item in items)
