"""Which variables an optimizer trains, in its order, and which of its slots belongs to which of them."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ckptdoctor.containers.tensors.dtypes import INTEGRAL
from ckptdoctor.formats.registry import record
from ckptdoctor.optimizers.catalogue import PerVariable, layouts
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.lists.alone import fit_alone
from ckptdoctor.optimizers.lists.elements import position
from ckptdoctor.optimizers.lists.layout import Item, blocks
from ckptdoctor.state import OptimizerState, Role, Slot, TrainingState

Shape = tuple[int, ...]

_FACTORED = {Role.ROW_MOMENT, Role.COLUMN_MOMENT}


class Trained(NamedTuple):
    """A variable that an optimizer trains.

    Attributes:
        label: The artifact's name for it; a number where it names none.
        names: Every name that it goes by.
        shape: Its shape.
        dtype: Its type.
    """

    label: str
    names: tuple[str, ...]
    shape: Shape
    dtype: str


class Expected(NamedTuple):
    """A slot with the label of its variable.

    Attributes:
        slot: The slot.
        variable: The label.
        key: What the artifact's own state calls the variable, where that is another name.
    """

    slot: Slot
    variable: str
    key: str = ""


def read(state: TrainingState, optimizer: OptimizerState) -> tuple[list[Trained], list[Expected]]:
    """The trained variables and the slots."""
    optimizer = optimizer._replace(
        slots=tuple(slot for slot in optimizer.slots if not _is_placeholder(slot, optimizer))
    )
    if any(slot.variable is None for slot in optimizer.slots):
        return _unnamed(optimizer)
    known = {variable.path: variable for variable in state.variables}
    order = list(dict.fromkeys(slot.variable for slot in _in_order(state, optimizer) if slot.variable is not None))
    if not order:
        order = [
            each.path
            for each in state.variables
            if each.trainable is not False and each.tensor.dtype.startswith("float")
        ]
    trained = []
    for path in order:
        variable = known.get(path)
        names = (path, *variable.aliases) if variable else (path,)
        stored = variable.tensor if variable and variable.tensor.dtype else None
        slot = next((each for each in optimizer.slots if each.variable == path), None)
        shape = stored.shape if stored else slot.tensor.shape if slot else ()
        trained.append(Trained(path, names, shape, stored.dtype if stored else "float32"))
    return trained, [Expected(slot, slot.variable) for slot in optimizer.slots if slot.variable is not None]


def _is_placeholder(slot: Slot, optimizer: OptimizerState) -> bool:
    """Whether it is one of the dummies that standalone Keras' Adam kept for vhat: no loader wants them back."""
    return (
        dialect(optimizer.generation).placeholders
        and slot.role is Role.MAX_SECOND_MOMENT
        and slot.tensor.shape == (1,)
        and optimizer.hyperparameters.get("amsgrad") is not True
        and sum(each.role is Role.MAX_SECOND_MOMENT and each.tensor.shape != (1,) for each in optimizer.slots) == 0
    )


def _in_order(state: TrainingState, optimizer: OptimizerState) -> tuple[Slot, ...] | list[Slot]:
    """The slots as they were created, where their keys are numbered."""
    if record(state.format).is_numbered:
        return sorted(optimizer.slots, key=lambda slot: position(slot.tensor.key))
    return optimizer.slots


def _unnamed(optimizer: OptimizerState) -> tuple[list[Trained], list[Expected]]:
    """Slots that nothing names the variables of: the catalogue's order tells which belong together."""
    slots = sorted(optimizer.slots, key=lambda slot: position(slot.tensor.key))
    places = _by_layout(optimizer, slots) or _by_count(slots)
    trained = []
    for index in range(max(places, default=-1) + 1):
        own = [slot for slot, place in zip(slots, places, strict=True) if place == index]
        # Placeholders for what is not kept may be whole numbers.
        dtype = next((slot.tensor.dtype for slot in own if "float" in slot.tensor.dtype), "float32")
        trained.append(Trained(_label(index), (), _shape(own), dtype))
    return trained, [Expected(slot, _label(place)) for slot, place in zip(slots, places, strict=True)]


def _label(index: int) -> str:
    return f"variable {index}"


def _by_layout(optimizer: OptimizerState, slots: Sequence[Slot]) -> list[int]:
    """Each slot's variable by the order that the class keeps them in; nothing if that does not fit."""
    if optimizer.generation is None or optimizer.class_name is None:
        return []
    kept = [
        layout._replace(counted=False, blocks=tuple(each for each in blocks(layout) if isinstance(each, PerVariable)))
        for layout in layouts(optimizer.class_name, optimizer.generation)
    ]
    items = [Item(slot.tensor.shape, slot.tensor.dtype in INTEGRAL) for slot in slots]
    for found in fit_alone(items, kept):
        placed = [each.variable for each in found.assigned if each.variable is not None]
        if len(placed) == len(slots) and [each.kind.name for each in found.assigned] == [slot.name for slot in slots]:
            return placed
    return []


def _by_count(slots: Sequence[Slot]) -> list[int]:
    """The i-th slot of each kind belongs to the i-th variable; where variables have different kinds, they alternate."""
    totals = Counter(slot.name for slot in slots)
    if len(set(totals.values())) > 1:
        return _by_turns(slots)
    seen: Counter[str] = Counter()
    places = []
    for slot in slots:
        places.append(seen[slot.name])
        seen[slot.name] += 1
    return places


def _by_turns(slots: Sequence[Slot]) -> list[int]:
    """A variable's slots stand together: the next one's begin where the order of kinds begins anew."""
    order = {name: index for index, name in enumerate(dict.fromkeys(slot.name for slot in slots))}
    places: list[int] = []
    last = len(order)
    for slot in slots:
        new = order[slot.name] <= last
        places.append((places[-1] if places else -1) + new)
        last = order[slot.name]
    return places


def _shape(slots: Sequence[Slot]) -> Shape:
    """The shape of a variable, from its slots': that of any that is not factored, else what rows and columns say."""
    rows = next((slot.tensor.shape for slot in slots if slot.role is Role.ROW_MOMENT), ())
    columns = next((slot.tensor.shape for slot in slots if slot.role is Role.COLUMN_MOMENT), ())
    if rows and columns:
        return (*rows, columns[-1])
    shapes = [slot.tensor.shape for slot in slots if slot.role not in _FACTORED]
    return max(shapes, key=len, default=())
