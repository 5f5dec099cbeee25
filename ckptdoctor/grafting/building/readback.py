"""State of a result that goes by place: slots of a list that names nothing, and the parameters of a state_dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ckptdoctor.containers.tensors.dtypes import array_nbytes
from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers.lists.elements import elements, wrapper_elements
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedStateDict
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


Same = Callable[[TensorRef, TensorRef], bool]


def require_same_state_dict(
    found: OptimizerState, planned: PlannedStateDict, same: Same, progress: Callable[[int], None] | None = None
) -> None:
    """Holds a state_dict against the plan, place by place; which variables they are, nothing in it need say.

    Args:
        found: What was read back.
        planned: What was planned.
        same: Whether two tensors of a type and shape have the same values.
        progress: Told how many bytes were compared.

    Raises:
        GraftRefused: It is another one.
    """
    stored = found.stored
    if stored is None or (stored.sizes, len(stored.states)) != (planned.stored.sizes, len(planned.stored.states)):
        raise _other("its groups have other sizes")
    for number, (have, want) in enumerate(zip(stored.groups, planned.stored.groups, strict=True)):
        if not _alike(have, want, same, progress):
            raise _other(f"the settings of group {number} are not what was planned")
    for number, (state, wanted) in enumerate(zip(stored.states, planned.stored.states, strict=True)):
        if not _alike(state or {}, wanted or {}, same, progress):
            raise _other(f"the state of parameter {number} is not what was planned")


def _alike(have: object, want: object, same: Same, progress: Callable[[int], None] | None) -> bool:
    if isinstance(want, TensorRef):
        if not isinstance(have, TensorRef):
            return not want.shape and read_scalar(want) == have
        if progress is not None:
            progress(array_nbytes(want.dtype, want.shape) if want.shape else 0)
        return (have.dtype, have.shape) == (want.dtype, want.shape) and same(want, have)
    if isinstance(want, Mapping):
        return (
            isinstance(have, Mapping)
            and list(have) == list(want)
            and all(_alike(have[name], each, same, progress) for name, each in want.items())
        )
    if isinstance(want, Sequence) and not isinstance(want, str):
        return (
            isinstance(have, Sequence)
            and not isinstance(have, str)
            and len(have) == len(want)
            and all(_alike(one, other, same, progress) for one, other in zip(have, want, strict=True))
        )
    return have == want or repr(have) == repr(want) == "nan"


def _other(message: str) -> GraftRefused:
    return GraftRefused(f"the result was read back and {message}; nothing was written")
