"""Nothing of a target is lost without a word: what the plan does not replace is in the result, or is named.

One check for every writer: it holds the target, as it was read, against the result, as it was read back.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.references import TensorRef
from ckptdoctor.state import OptimizerState, Role, TrainingState


def untouched(state: TrainingState, planned: PlannedOptimizer) -> Iterator[tuple[str, TensorRef]]:
    """What a graft into this target has to leave as it is, but for model variables: (what it is, the tensor).

    Counters are not among them where the plan's count is one of them.
    """
    own = own_of(state, planned)
    for each in state.optimizers:
        if each is not own:
            yield from _tensors(each)
    counted = {"/".join(leaf.path) for leaf in planned.tree} | {own.iterations_key if own is not None else None}
    for name, ref in state.counter_tensors.items():
        if ref.key not in counted and not (own is None and name == "global_step"):
            yield name, ref
    for other in () if own is None else own.shared:
        yield other.name, other.tensor


def own_of(state: TrainingState, planned: PlannedOptimizer) -> OptimizerState | None:
    """The optimizer that the plan replaces; None if it adds one."""
    named = next((each for each in state.optimizers if each.name == planned.name), None)
    alone = len(state.optimizers) == 1 and not planned.beside
    return state.optimizers[0] if named is None and alone else named


def _tensors(optimizer: OptimizerState) -> Iterator[tuple[str, TensorRef]]:
    whose = optimizer.name or "the optimizer"
    if optimizer.iterations_tensor is not None:
        yield f"the count of {whose}", optimizer.iterations_tensor
    for slot in optimizer.slots:
        yield f"{slot.name} of {slot.variable or slot.tensor.key}", slot.tensor
    around = optimizer.wrapper.variables if optimizer.wrapper is not None else ()
    for other in (*optimizer.other, *around):
        yield f"{other.name} of {whose}", other.tensor


def by_key(state: TrainingState) -> dict[str, TensorRef]:
    """Every tensor of an artifact by its key."""
    return {ref.key: ref for ref in _everything(state)}


def _everything(state: TrainingState) -> Iterator[TensorRef]:
    yield from (variable.tensor for variable in state.variables)
    for each in state.optimizers:
        yield from (ref for _, ref in _tensors(each))
    yield from state.counter_tensors.values()
    yield from state.others


def left_behind(target: TrainingState, result: TrainingState, planned: PlannedOptimizer) -> list[str]:
    """State of the target's own optimizer, and what belonged to nobody, that the result does not hold."""
    own, new = own_of(target, planned), own_of(result, planned)
    found: list[str] = []
    if own is not None and new is not None:
        there = set(_parts(new))
        found = [part for part in dict.fromkeys(_parts(own)) if part not in there]
        unplaced = sum(slot.variable is None for slot in (*own.slots, *new.slots))
        if unplaced or own.class_name is None:  # what a list's elements are called depends on who reads it
            found = [] if len(new.slots) >= len(own.slots) else [f"{len(own.slots) - len(new.slots)} slots"]
    keys = by_key(result)
    return found + [ref.key for ref in target.others if ref.key not in keys]


def _parts(optimizer: OptimizerState) -> Iterator[str]:
    """Everything that an optimizer keeps, as a person calls it, whatever a generation calls it."""
    for slot in optimizer.slots:
        kind = slot.name if slot.role is Role.OTHER else slot.role.value.replace("_", " ")
        yield f"{kind} of {slot.variable}"
    around = optimizer.wrapper.variables if optimizer.wrapper is not None else ()
    for other in (*optimizer.other, *around):
        yield other.name.rpartition("/")[2].lstrip("_")
