"""Slots of a result that names neither class nor variables, found by their places in the planned list."""

from __future__ import annotations

from ckptdoctor.optimizers.lists.elements import elements, wrapper_elements
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.references import TensorRef
from ckptdoctor.state import OptimizerState, Role, Slot, quantity


def slots_by_number(found: OptimizerState, planned: PlannedOptimizer) -> dict[tuple[str | None, Role | str], Slot]:
    """The slots of `optimizer/vars/N`, whatever a reader without a configuration takes them for.

    Which class wrote a list, and for which variables, only follows from shapes, and several may fit. The plan knows:
    the n-th tensor is the plan's n-th element.
    """
    places = {ref.key: ref for ref in _tensors(found)}
    group = next((key.rpartition("/")[0] for key in places), "")
    listed = [each.variable for each in (*wrapper_elements(planned), *elements(planned))]
    numbers = [number for number, variable in enumerate(listed) if variable is not None]
    slots: dict[tuple[str | None, Role | str], Slot] = {}
    for number, each in zip(numbers, planned.slots, strict=True):
        tensor = places.get(f"{group}/{number}")
        if tensor is not None:
            kind = each.kind
            slots[each.variable, quantity(kind.role, kind.name)] = Slot(
                kind.name, kind.role, each.variable, tensor, "order"
            )
    return slots


def _tensors(found: OptimizerState) -> list[TensorRef]:
    own = found.wrapper.variables if found.wrapper is not None else ()
    return [slot.tensor for slot in found.slots] + [other.tensor for other in (*found.other, *own)]
