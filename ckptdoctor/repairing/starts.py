"""What every slot of an optimizer holds before its first step, where its class, or whatever it may be, tells that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ckptdoctor.errors import Refused
from ckptdoctor.optimizers.catalogue import COPY, INITIAL, SlotKind, layouts
from ckptdoctor.optimizers.keras.config import every_setting
from ckptdoctor.optimizers.lists.evidence import NEVER_NEGATIVE
from ckptdoctor.optimizers.lists.layout import relevant_flags
from ckptdoctor.optimizers.starting import Start, fresh, start_of
from ckptdoctor.references import TensorRef
from ckptdoctor.repairing.likeness import are_near, sample
from ckptdoctor.state import OptimizerState, Role, Slot

_OF_EVERY_CLASS = frozenset({Role.MOVING_AVERAGE, Role.GRADIENT_ACCUMULATOR})


def starts_of(optimizer: OptimizerState, weights: Mapping[str, TensorRef], path: str) -> list[Start]:
    """The start of each slot.

    Raises:
        Refused: It is not known, or nothing tells which class it is of several that begin differently.
    """
    found: list[Start] = []
    for slot in optimizer.slots:
        start = fresh(optimizer, slot)
        if start is None:
            whose = optimizer.class_name or "an unknown class"
            raise Refused(f"what a new {slot.name} of {whose} holds is not known: declare the optimizer", path)
        found.append(start)
    for name in optimizer.class_candidates if optimizer.class_inferred else ():
        if any(_differs(reading, found) for reading in _readings(optimizer, name, weights)):
            raise Refused(
                f"nothing tells whether {optimizer.name or 'the optimizer'} is {optimizer.class_name} or {name}, which "
                "begin differently: make a new one in the program",
                path,
            )
    return found


def _differs(reading: Sequence[Start | None], found: Sequence[Start]) -> bool:
    return any(one is not None and one.value != other.value for one, other in zip(reading, found, strict=True))


def _readings(
    optimizer: OptimizerState, class_name: str, weights: Mapping[str, TensorRef]
) -> Iterator[list[Start | None]]:
    """The starts of the slots if they were another class's, each way that their values allow.

    None for slots that every class may have.
    """
    other = optimizer._replace(class_name=class_name, class_candidates=())
    held: dict[str | None, list[int]] = {}
    for index, slot in enumerate(optimizer.slots):
        if slot.role not in _OF_EVERY_CLASS:
            held.setdefault(slot.variable, []).append(index)
    tried: set[tuple[SlotKind, ...]] = set()
    for layout in layouts(class_name, optimizer.generation) if optimizer.generation is not None else ():
        for settings in every_setting(relevant_flags(layout)):
            kinds = tuple(kind for kind in layout.kinds if settings.has(kind.when))
            if kinds in tried or any(len(each) != len(kinds) for each in held.values()):
                continue
            tried.add(kinds)
            placed = [(index, kind) for each in held.values() for index, kind in zip(each, kinds, strict=True)]
            if _may_be([(optimizer.slots[index], kind) for index, kind in placed], weights):
                starts = {index: start_of(other, kind) for index, kind in placed}
                yield [starts.get(index) for index in range(len(optimizer.slots))]


def _may_be(placed: Sequence[tuple[Slot, SlotKind]], weights: Mapping[str, TensorRef]) -> bool:
    """Whether slots can be of these kinds, by their values."""
    read = [(slot, kind) for slot, kind in placed if slot.tensor.location is not None and slot.tensor.size]
    copies = [(slot.tensor, weights.get(slot.variable or "")) for slot, kind in read if kind.start == COPY]
    pairs = [(one, other) for one, other in copies if other is not None and one.shape == other.shape]
    if pairs and not are_near(pairs):
        return False
    for slot, kind in read:
        least = float(sample(slot.tensor).min()) if kind.role in NEVER_NEGATIVE else 1.0
        if least < 0 or (kind.start == INITIAL and least == 0):
            return False
    return True
