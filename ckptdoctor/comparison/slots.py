"""Pairs of slots, compared: whether both are there, of one shape, and of the same values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ckptdoctor.comparison.pairs import OptimizerPair, SlotPair
from ckptdoctor.comparison.results import Figures, Outcome, Place, SlotResult
from ckptdoctor.comparison.values import Tell, Tolerance, compare_values
from ckptdoctor.containers.tensors.dtypes import array_nbytes
from ckptdoctor.containers.tensors.values import statistics
from ckptdoctor.references import TensorRef
from ckptdoctor.state import OptimizerState, Role, Slot

_FACTORED = frozenset({Role.ROW_MOMENT, Role.COLUMN_MOMENT})


def compare_slots(pair: OptimizerPair, tolerance: Tolerance | None, tell: Tell | None = None) -> Iterator[SlotResult]:
    """Compares every slot of two optimizers; their values only under a tolerance."""
    unnamed = {id(slot): place for each in (pair.a, pair.b) if each for slot, place in _places(each)}
    for each in pair.slots:
        a = None if each.a is None else place_of(each.a, unnamed.get(id(each.a), ""))
        b = None if each.b is None else place_of(each.b, unnamed.get(id(each.b), ""))
        slot = each.a or each.b
        if slot is None:
            continue
        outcome, figures, detail = _outcome(each, pair, tolerance, tell)
        yield SlotResult(slot.role, a, b, outcome, each.matched, each.formula, figures, detail)


def doubts(pair: OptimizerPair, results: Sequence[SlotResult]) -> list[str]:
    """A note where slots differ that an artifact gives to its variables by order only, among others of their shape."""
    notes: list[str] = []
    for side, optimizer in (("A", pair.a), ("B", pair.b)):
        slots = [] if optimizer is None else [slot for slot in optimizer.slots if slot.mapping != "name"]
        shapes = Counter((slot.role, slot.tensor.shape) for slot in slots)
        repeated = {slot.tensor.key for slot in slots if shapes[slot.role, slot.tensor.shape] > 1}
        differing = [each for each in results if each.outcome is Outcome.DIFFERENT]
        places = [each.a if side == "A" else each.b for each in differing]
        if any(place is not None and place.key in repeated for place in places):
            notes.append(
                f"{side} gives slots to variables by order only: those of equal shapes may be exchanged in truth"
            )
    return notes


def read_bytes(pair: OptimizerPair) -> int:
    """How many bytes comparing the values reads."""
    both = [(each.a.tensor, each.b.tensor) for each in pair.slots if each.a is not None and each.b is not None]
    return sum(array_nbytes(ref.dtype, ref.shape) for refs in both for ref in refs)


def _places(optimizer: OptimizerState) -> Iterator[tuple[Slot, str]]:
    """Slots without a variable, with their place among those of their kind."""
    counts: dict[str, int] = {}
    for slot in optimizer.slots:
        if slot.variable is None:
            counts[slot.name] = counts.get(slot.name, 0) + 1
            yield slot, f"#{counts[slot.name]}"


def place_of(slot: Slot, unnamed: str) -> Place:
    """A slot without what only reading needs."""
    ref = slot.tensor
    return Place(slot.name, slot.variable if slot.variable is not None else unnamed, ref.key, ref.shape, ref.dtype)


def _outcome(
    pair: SlotPair, whole: OptimizerPair, tolerance: Tolerance | None, tell: Tell | None
) -> tuple[Outcome, Figures | None, str]:
    if pair.obstacle:
        return Outcome.UNDECIDED, None, pair.obstacle
    if pair.a is None or pair.b is None:
        return _of_one_side(pair, whole)
    a, b = pair.a.tensor, pair.b.tensor
    return compare_tensors(a, b, tolerance, factor=pair.factor, tell=tell)


def compare_tensors(
    a: TensorRef, b: TensorRef, tolerance: Tolerance | None, *, factor: float = 1.0, tell: Tell | None = None
) -> tuple[Outcome, Figures | None, str]:
    """(outcome, figures where values were read, what else there is to know) of two tensors that belong together."""
    if a.shape != b.shape:
        return Outcome.DIFFERENT, None, f"its shape is {_shape(a)} in A and {_shape(b)} in B"
    for ref, side in ((a, "A"), (b, "B")):
        if ref.location is None:
            return Outcome.UNDECIDED, None, f"{side} has lost its bytes"
    types = f"{a.dtype} in A, {b.dtype} in B" if a.dtype != b.dtype else ""
    if tolerance is None:
        return Outcome.NOT_COMPARED, None, types
    figures = compare_values(a, b, tolerance, factor=factor, tell=tell)
    return Outcome.DIFFERENT if figures.differing else Outcome.EQUAL, figures, types


def _shape(ref: TensorRef) -> str:
    return "x".join(map(str, ref.shape)) or "a scalar"


def _of_one_side(pair: SlotPair, whole: OptimizerPair) -> tuple[Outcome, Figures | None, str]:
    """A slot that one side lacks: a difference, unless it is one that is kept without being used."""
    slot, optimizer = (pair.a, whole.a) if pair.a is not None else (pair.b, whole.b)
    other = whole.b if pair.a is not None else whole.a
    if slot is not None and optimizer is not None and other is not None and other.has_state:
        side = "A" if pair.a is not None else "B"
        if _unused(slot, optimizer, other):
            return Outcome.EQUAL, None, f"{side} keeps it without using it, the other has none"
    return Outcome.ONLY_A if pair.a is not None else Outcome.ONLY_B, None, ""


def _unused(slot: Slot, optimizer: OptimizerState, other: OptimizerState) -> bool:
    """Whether it is state that a class always makes, and that means nothing under this configuration.

    Momentum slots of SGD and RMSprop without momentum, Keras 1's dummies for AMSGrad, the scalars of factored moments
    that variables of fewer than two dimensions have.
    """
    if slot.role is Role.MOMENTUM and optimizer.class_name in {"SGD", "RMSprop"}:
        momentum = optimizer.hyperparameters.get("momentum", other.hyperparameters.get("momentum"))
        if isinstance(momentum, (int, float)):
            return momentum == 0  # what the slot holds is multiplied by it
        idle = True
    else:
        dummy = slot.role is Role.MAX_SECOND_MOMENT and slot.tensor.shape == (1,)
        idle = dummy or (slot.role in _FACTORED and slot.tensor.shape == ())
    if not idle or slot.tensor.location is None:
        return False
    found = statistics(slot.tensor)
    return found is not None and found.min == found.max == 0 and not found.nan and not found.inf
