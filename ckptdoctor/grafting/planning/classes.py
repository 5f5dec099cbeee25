"""Which class of optimizer a graft writes: recorded on one side, told by the user, or the only one that fits."""

from __future__ import annotations

from collections.abc import Iterable

from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.registry import record
from ckptdoctor.matching.lists import in_list_order, is_unrecorded
from ckptdoctor.matching.sides import Side, make_side, settings_of
from ckptdoctor.matching.variables import Named
from ckptdoctor.optimizers.catalogue import SAME_RULE, PerVariable, layouts
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.config import OptimizerConfig, Settings
from ckptdoctor.optimizers.lists.layout import blocks
from ckptdoctor.optimizers.lists.state import default_orders, read_state
from ckptdoctor.state import Generation, OptimizerState, TrainingState
from ckptdoctor.words import enumerate_some


def chosen_class(donor: OptimizerState, own: OptimizerState | None, asked: str | None) -> str:
    """The class that is written: the target's where it is recorded, else the user's word, else the donor's.

    Raises:
        GraftRefused: Nothing tells it, or the sides contradict each other or the user.
    """
    fitting = _fitting(donor)
    if asked is not None and fitting and asked not in fitting:
        how = "fits" if donor.class_inferred else "is of"
        raise GraftRefused(
            f"the donor's state {how} {enumerate_some(sorted(fitting), 12)}, not {asked}: give --optimizer-class one "
            "that it is of, or leave it out"
        )
    name = asked or donor.class_name
    if name is None:
        raise GraftRefused("nothing tells the class of the donor's optimizer: name it with --optimizer-class")
    if own is None or own.class_name is None:
        return name
    mine = {own.class_name, *own.class_candidates}
    if not mine & ({name} if asked else {name, *fitting}):
        raise GraftRefused(
            f"the donor's optimizer is {name}, the target's {own.class_name}: their state means different things; "
            f"compile the target with {name} and save it again, or graft into one that was saved without an optimizer"
        )
    if name not in mine:
        name = next(each for each in (own.class_name, *own.class_candidates) if each in fitting)
    return name if own.class_inferred else own.class_name


def _fitting(donor: OptimizerState) -> frozenset[str]:
    """Every class that the donor's state can be of; empty if nothing limits it."""
    name, generation = donor.class_name, donor.generation
    if name is None:
        return frozenset(donor.class_candidates)
    if generation is None or not layouts(name, generation):
        return frozenset()  # a class that the catalogue does not know is laid out like another one
    found = {name, *donor.class_candidates}
    return frozenset(found | SAME_RULE) if donor.class_inferred and found & SAME_RULE else frozenset(found)


def doubts(
    name: str,
    donor: OptimizerState,
    own: OptimizerState | None,
    asked: str | None,
    target: TrainingState,
    generation: Generation,
) -> list[str]:
    """Says where the class is only a guess among others with another update rule; such a guess is never written down.

    Raises:
        GraftRefused: It would be.
    """
    told = asked is not None or (own is not None and own.class_name is not None and not own.class_candidates)
    nameless = record(target.format).is_nameless and donor.generation in {generation, None}
    # TensorFlow 1 writes slots under the operation's name, which the donor tells, and no class.
    nameless = nameless or (donor.generation is generation and dialect(generation).by_graph)
    others = {*donor.class_candidates, donor.class_name} - {name, None}
    if name in SAME_RULE:
        others -= SAME_RULE
    if told or not donor.class_inferred or not others:
        return []
    fitting = enumerate_some([name, *sorted(each for each in others if each)], 12)
    said = f"nothing records the class of the donor's optimizer, and its state fits {fitting}"
    if not nameless:
        raise GraftRefused(f"{said}: say which it is with --optimizer-class")
    return [f"{said}: the result records none either, and any of them loads it"]


def informed(side: Side, other: OptimizerState | None, trained: Iterable[Named]) -> Side:
    """A list without names, read as what the other side records, if it can be: shapes alone allow many readings.

    Args:
        side: The side with the list.
        other: The other side's optimizer.
        trained: The variables that it trains, in its order.
    """
    optimizer = side.optimizer
    if not is_unrecorded(side.state, optimizer.name) or not optimizer.class_inferred or not optimizer.slots:
        return side
    if other is None or other.class_name is None or other.class_inferred:
        return side
    read = _read_again(side, other.class_name, settings_of(other), trained)
    return side if read is None else make_side(side.state, read)


def read_as(side: Side, class_name: str) -> Side:
    """An optimizer whose class was inferred, read as the class that it turns out to be.

    Raises:
        GraftRefused: Its state cannot be read so.
    """
    optimizer = side.optimizer
    if not optimizer.class_inferred or not optimizer.slots or optimizer.class_name == class_name:
        return side
    read = _read_again(side, class_name, Settings()) if is_unrecorded(side.state, optimizer.name) else None
    read = read or _relabelled(optimizer, class_name)
    if read is None:
        raise GraftRefused(
            f"{optimizer.class_name}'s slots cannot be read as those of {class_name}: name the class that wrote them "
            "with --optimizer-class, or leave it out",
            side.state.path,
        )
    return make_side(side.state, read)


def _relabelled(optimizer: OptimizerState, class_name: str) -> OptimizerState | None:
    """The same slots under the class's own roles, where the names of its kinds are those that are there."""
    names = {slot.name for slot in optimizer.slots}
    for layout in layouts(class_name, optimizer.generation) if optimizer.generation else ():
        kinds = [kind for block in blocks(layout) if isinstance(block, PerVariable) for kind in block.kinds]
        always = [kind for kind in layout.kinds if not kind.when]
        roles = {kind.name: kind.role for kind in kinds}
        if len(names) == 1 and len(always) == 1 and always[0].name not in names:
            roles = dict.fromkeys(names, always[0].role)
        elif not {kind.name for kind in always} <= names <= roles.keys():
            continue
        slots = tuple(slot._replace(role=roles[slot.name]) for slot in optimizer.slots)
        return optimizer._replace(class_name=class_name, class_candidates=(), slots=slots)
    return None


def _read_again(
    side: Side, class_name: str, settings: Settings, trained: Iterable[Named] = ()
) -> OptimizerState | None:
    """A list, laid out as the class lays it out: which element is which slot may change, not only what it is called."""
    optimizer, variables = side.optimizer, side.state.variables
    by_path = {each.path: each for each in variables}
    orders = (trained, side.trained)
    known = (tuple(by_path[each.path] for each in order if each.path in by_path) for order in orders)
    read = read_state(
        in_list_order(optimizer),
        variables,
        config=OptimizerConfig(class_name, optimizer.generation, settings=settings),
        generation=optimizer.generation,
        orders=(*known, *default_orders(variables)),
        name=optimizer.name,
    )
    if len(read.slots) != len(optimizer.slots) or not all(slot.variable for slot in read.slots):
        return None
    return read._replace(class_inferred=True, wrapper=optimizer.wrapper)
