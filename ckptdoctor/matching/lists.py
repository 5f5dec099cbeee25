"""Lists of arrays, which name no variables: read against those that they may be for, or left in their places."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.errors import Unmatchable
from ckptdoctor.formats.registry import record
from ckptdoctor.matching.sides import settings_of
from ckptdoctor.matching.variables import IN_A_GRAFT, Called
from ckptdoctor.optimizers.catalogue import CLASSES_BY_POPULARITY, SlotKind, layouts
from ckptdoctor.optimizers.keras.config import OptimizerConfig, Settings
from ckptdoctor.optimizers.lists.alone import fit_alone
from ckptdoctor.optimizers.lists.elements import position
from ckptdoctor.optimizers.lists.layout import Fit, Item
from ckptdoctor.optimizers.lists.state import Orders, StateVariable, default_orders, read_state
from ckptdoctor.references import Inline, TensorRef
from ckptdoctor.state import Generation, ModelVariable, OptimizerState, Slot, TrainingState, quantity

UNTRAINED = frozenset({"moving_mean", "moving_variance"})
"""Weights that no layer ever trains, for artifacts that do not say what is trained."""
COMPILED = "optimizer"
"""What Keras calls the optimizer of compile(); others are attributes of the model."""
_COUNTER = re.compile(r"_operations/(\d+)")
_PLACE = "#"


def is_nameless(state: TrainingState, optimizer: OptimizerState) -> bool:
    """Whether it is a list of arrays, which names no variables: it has to be read against the other side's."""
    return record(state.format).holds == "bare-list" and all(slot.variable is None for slot in optimizer.slots)


def is_unrecorded(state: TrainingState, name: str) -> bool:
    """Whether an optimizer's list lies beside variables and no configuration names its class: several may fit."""
    kind = record(state.format)
    return kind.holds == "list" and (kind.is_nameless or name != COMPILED)


def is_unplaced(state: TrainingState, optimizer: OptimizerState) -> bool:
    """Whether it is such a list, or one that lies beside variables and does not tell which is whose."""
    if is_nameless(state, optimizer):
        return True
    return record(state.format).holds == "list" and any(slot.variable is None for slot in optimizer.slots)


def read_against(
    optimizer: OptimizerState,
    variables: Sequence[ModelVariable],
    own: OptimizerState | None,
    class_name: str | None = None,
    called: Called = IN_A_GRAFT,
) -> OptimizerState:
    """A list of arrays without names: the other side says what the variables are, and who trained them.

    Args:
        optimizer: The list.
        variables: The variables that it is for.
        own: The optimizer of the other side; None if it has none.
        class_name: The class, where it is known; what the values look like does not overrule it, shapes do.
        called: What messages call the list and the other side.

    Raises:
        Unmatchable: It does not fit the variables, or is of another class.
    """
    fitting = [name for name in (optimizer.class_name, *optimizer.class_candidates) if name is not None]
    wanted = class_name or optimizer.class_name
    if wanted is None:
        raise Unmatchable(f"nothing tells the class of {called.donor}'s optimizer: name it with --optimizer-class")
    if not optimizer.slots:
        return optimizer._replace(class_name=wanted)
    stored = [variable for variable in variables if variable.tensor.place is not None]
    listed = in_list_order(optimizer)
    # Momentum or a mean gradient, an average or an accumulator: a list does not tell, the other side may.
    told = [settings_of(own)] if own is not None and (own.slots or not own.class_inferred) else []
    guessed = [] if class_name is not None and class_name not in fitting else [settings_of(optimizer)]
    for generation in _generations(optimizer, own, wanted):
        for settings in dict.fromkeys([*told, *guessed]) or [Settings()]:
            config = OptimizerConfig(wanted, generation, settings=settings)
            read = read_state(
                listed, stored, config=config, generation=generation, orders=_orders(stored), name=optimizer.name
            )
            placed = len(read.slots) == len(optimizer.slots) and not read.missing
            if (
                read.slots
                and (placed or settings not in told)
                and all(slot.variable is not None for slot in read.slots)
            ):
                return read._replace(wrapper=optimizer.wrapper)
    if class_name is not None and fitting and class_name not in fitting:
        raise Unmatchable(
            f"{called.donor}'s list fits {', '.join(fitting)}, not {class_name}: this is another optimizer's state"
        )
    raise Unmatchable(
        f"{called.donor}'s {len(optimizer.slots)} slots do not fit the shapes of {called.target}'s trainable "
        "variables: they are of another model, or their order cannot be told"
    )


def _generations(optimizer: OptimizerState, own: OptimizerState | None, wanted: str) -> list[Generation | None]:
    """The generation that the list is taken for; the other side's, where that one does not fit.

    A declared class is of the generations that it is declared for, whatever the list was taken for.
    """
    likely = list(dict.fromkeys([optimizer.generation, *([own.generation] if own is not None else [])]))
    having: list[Generation | None] = []
    having += [] if wanted in CLASSES_BY_POPULARITY else [each for each in Generation if layouts(wanted, each)]
    return [each for each in likely if each in having] or having or likely


def _orders(variables: Sequence[ModelVariable]) -> Orders:
    """Orders in which an optimizer may hold the variables, likeliest first, the widest last."""
    trained, *rest = default_orders(variables)
    likely = tuple(each for each in trained if each.trainable is True or each.path.rpartition("/")[2] not in UNTRAINED)
    # Keras 3's checkpoints name each layer by its place in the model, and list inner models after the layers.
    places = [[tuple(map(int, _COUNTER.findall(alias))) for alias in each.aliases] for each in likely]
    firsts = [next((place for place in found if place), None) for found in places]
    counted = (
        tuple(each for _, each in sorted(zip(firsts, likely, strict=True), key=lambda pair: pair[0] or ()))
        if all(firsts)
        else likely
    )
    return tuple(dict.fromkeys((counted, likely, trained, *rest, tuple(variables))))


def in_list_order(optimizer: OptimizerState) -> list[StateVariable]:
    """The list as it was stored, from the places that the tensors' keys name."""
    refs: list[TensorRef] = [slot.tensor for slot in optimizer.slots] + [other.tensor for other in optimizer.other]
    state = [StateVariable(ref, read_scalar(ref) if ref.shape == () else None) for ref in refs]
    numbers = [(position(ref.key), each) for ref, each in zip(refs, state, strict=True)]
    if optimizer.iterations is not None:
        count = TensorRef(
            optimizer.iterations_key or "", "int64", (), Inline(optimizer.iterations.to_bytes(8, "little", signed=True))
        )
        numbers.append((position(count.key), StateVariable(count, optimizer.iterations)))
    return [each for _, each in sorted(numbers, key=lambda pair: pair[0])]


# -------------------------------------------------------------------------------------------------- by their places


def is_place(variable: str | None) -> bool:
    """Whether a variable is only known by its place in a list (`numbered`)."""
    return variable is not None and variable.startswith(_PLACE) and variable[1:].isdecimal()


def numbered(optimizer: OptimizerState, class_name: str | None = None) -> OptimizerState:
    """A list whose variables are known by their places in it: `#0`, `#1`.

    Args:
        optimizer: The list.
        class_name: The class, where it is known.

    Raises:
        Unmatchable: It is not this class's list.
    """
    if not optimizer.slots:
        return optimizer._replace(class_name=class_name or optimizer.class_name)
    listed = in_list_order(optimizer)
    name = class_name or optimizer.class_name
    roles = [slot.role for slot in optimizer.slots]
    fits = list(_fits(listed, name, optimizer.generation))
    told = [quantity(slot.role, slot.name) for slot in optimizer.slots]
    same = [each for each in fits if [quantity(kind.role, kind.name) for kind, *_ in _slots(each, listed)] == told]
    if same or (fits and class_name not in {None, optimizer.class_name}):
        best = (same or fits)[0]
        slots = tuple(
            Slot(kind.name, kind.role, f"{_PLACE}{index}", ref, "order") for kind, index, ref in _slots(best, listed)
        )
        others = optimizer.other if len(slots) == len(optimizer.slots) else ()
        return optimizer._replace(slots=slots, other=others, class_name=name)
    counts = {role: roles.count(role) for role in roles}
    if class_name in {None, optimizer.class_name} and len(set(counts.values())) == 1:
        places = {role: iter(range(count)) for role, count in counts.items()}
        slots = tuple(slot._replace(variable=f"{_PLACE}{next(places[slot.role])}") for slot in optimizer.slots)
        return optimizer._replace(slots=slots)
    raise Unmatchable(
        f"the list's {len(optimizer.slots)} slots are not in the order of {name}'s: their places tell nothing"
    )


def _fits(listed: Sequence[StateVariable], class_name: str | None, generation: Generation | None) -> Iterator[Fit]:
    if class_name is None or generation is None:
        return
    items = [Item(each.tensor.shape, each.is_count) for each in listed if each.tensor is not None]
    yield from fit_alone(items, layouts(class_name, generation))


def _slots(found: Fit, listed: Sequence[StateVariable]) -> Iterator[tuple[SlotKind, int, TensorRef]]:
    for one, each in zip(found.assigned, listed, strict=True):
        if isinstance(one.kind, SlotKind) and one.variable is not None and each.tensor is not None:
            yield one.kind, one.variable, each.tensor
