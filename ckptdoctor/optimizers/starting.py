"""What a slot holds before the first step: zeros for nearly all, and what to write where that would be wrong.

A variable that the donor does not know (a new layer) starts with what its framework would give it. Zeros there would
let Adagrad's first steps leap, and would let an average or ScheduleFreeAdamW's copy pull the weights to zero. The
catalogue says which slots start otherwise (`SlotKind.start`).
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ckptdoctor.optimizers.catalogue import ACCUMULATION, COPY, EMA, SlotKind, layouts
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.defaults import defaults_of
from ckptdoctor.optimizers.lists.evidence import INITIAL_ACCUMULATOR
from ckptdoctor.optimizers.name_based import TF1_AVERAGE, TF1_OPTIMIZERS
from ckptdoctor.optimizers.numbers import finite
from ckptdoctor.state import OptimizerState, Slot


def starting_value(kind: SlotKind, hyperparameters: Mapping[str, object], defaults: Mapping[str, object]) -> float:
    """The number that a slot starts with; one that starts as a copy (`COPY`) has zeros where there is nothing to copy.

    Args:
        kind: The slot.
        hyperparameters: In force.
        defaults: Those of the class, where they are known.
    """
    if not isinstance(kind.start, str):
        return kind.start
    given = (finite(each.get(kind.start)) for each in (hyperparameters, defaults))
    fallback = INITIAL_ACCUMULATOR if kind.start.startswith("initial") else 0.0
    return next((each for each in given if each is not None), fallback)


class Start(NamedTuple):
    """What a new optimizer begins a slot with.

    Attributes:
        value: The number; None for a copy of the variable.
        assumed: The setting that the artifact does not tell, whose default this is; "" if it tells it.
    """

    value: float | None
    assumed: str = ""


def fresh(optimizer: OptimizerState, slot: Slot) -> Start | None:
    """What a new optimizer of this class begins a slot with, as its framework builds it; None where that is not known.

    Keras 3 builds averages of zeros, and its first step takes the weights. What a graft writes for a variable that is
    new to an optimizer that has stepped is another question (`starting_value`).
    """
    kind = next((each for each in _kinds(optimizer) if (each.name, each.role) == (slot.name, slot.role)), None)
    return start_of(optimizer, kind) if kind is not None else None


def begins_at_zero(optimizer: OptimizerState, slot: Slot) -> bool:
    """Whether a slot holds nothing but zeros in a new optimizer, as far as that is known."""
    start = fresh(optimizer, slot)
    return start is None or start.value == 0


def start_of(optimizer: OptimizerState, kind: SlotKind) -> Start:
    """The same of a kind of slot."""
    if kind == EMA and dialect(optimizer.generation).empty_averages:
        return Start(0.0)
    if kind.start == COPY:
        return Start(None)
    defaults = defaults_of(optimizer.class_name, optimizer.generation) or {}
    told = not isinstance(kind.start, str) or finite(optimizer.hyperparameters.get(kind.start)) is not None
    return Start(starting_value(kind, optimizer.hyperparameters, defaults), "" if told else str(kind.start))


def _kinds(optimizer: OptimizerState) -> Iterator[SlotKind]:
    """The slots that an optimizer may have: those of its class, of a wrapper around it, and of every class."""
    if dialect(optimizer.generation).by_graph:
        for each in TF1_OPTIMIZERS:
            if each.class_name == optimizer.class_name:
                yield from each.slots
        yield TF1_AVERAGE
    wrapper = optimizer.wrapper.class_name if optimizer.wrapper is not None else ""
    for name in (optimizer.class_name, wrapper):
        for layout in layouts(name, optimizer.generation) if name and optimizer.generation is not None else ():
            yield from layout.kinds
    yield from (EMA, ACCUMULATION)
