"""The donor of a graft: one optimizer, with the variables that it trains."""

from __future__ import annotations

from collections import Counter

from ckptdoctor.errors import GraftRefused, Unmatchable
from ckptdoctor.formats.registry import record
from ckptdoctor.grafting.options import Options
from ckptdoctor.matching.lists import is_unplaced, numbered, read_against
from ckptdoctor.matching.sides import Side, choose, make_side
from ckptdoctor.matching.variables import match, named
from ckptdoctor.optimizers.catalogue import layouts
from ckptdoctor.optimizers.declared import around
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.state import ModelVariable, OptimizerState, TrainingState, quantity


def donor_side(state: TrainingState, target: TrainingState, own: OptimizerState | None, options: Options) -> Side:
    """The donor's optimizer; a list that names no variables is read against the target's.

    Args:
        state: The donor.
        target: The target.
        own: The target's optimizer.
        options: What is asked for.

    Raises:
        GraftRefused: It holds no optimizer state, or that of several in one.
        Unmatchable: It holds several optimizers, or a list does not fit the target's variables.
    """
    optimizer = choose(state, options.donor_optimizer, "the donor")
    if optimizer is None or not optimizer.has_state:
        raise GraftRefused("the donor holds no optimizer state", state.path)
    if dialect(optimizer.generation).chained:
        raise GraftRefused(
            "the donor's state is a chain of optax, for which this target has no place: graft into a checkpoint of "
            "Orbax or flax that the program saved"
        )
    if "slots" in options.only:
        if is_unplaced(state, optimizer):
            recorded = own.class_name if own is not None and not own.class_inferred else None
            told = options.optimizer_class or recorded
            read = _placed(state, optimizer, target, own, told)
            # It was read as one class; that is a fact only where somebody says so.
            candidates = () if told is not None else optimizer.class_candidates
            optimizer = read._replace(class_inferred=True, class_candidates=candidates)
        require_one(optimizer, "the donor")
    return make_side(state, optimizer)


def _placed(
    state: TrainingState, optimizer: OptimizerState, target: TrainingState, own: OptimizerState | None, told: str | None
) -> OptimizerState:
    """A list with the variables that it is for: the donor's own, where it has some, as the target trains them."""
    if record(target.format).holds == "bare-list":
        return numbered(optimizer, told)
    variables = _as_trained(target, own)
    if not target.ordered and not state.variables:
        raise GraftRefused(
            "the donor is a list that goes by the order of the model's variables, which nothing in the target tells: "
            "graft from an artifact that names them (a `.keras`, a `.weights.h5`, another checkpoint of the run)",
            target.path,
        )
    if state.variables:
        found = match(list(map(named, variables)), list(map(named, state.variables)), {})
        flags = {each.donor: path for path, each in found.items() if not each.ambiguous}
        trained = {each.path: each.trainable for each in variables}
        theirs = [
            each._replace(trainable=trained[flags[each.path]]) if each.path in flags else each
            for each in state.variables
        ]
        try:
            return read_against(optimizer, theirs, None, told)
        except Unmatchable:  # what they are in the donor, nothing tells: the target's order may
            pass
    return read_against(optimizer, variables, own, told)


def _as_trained(target: TrainingState, own: OptimizerState | None) -> list[ModelVariable]:
    """The target's variables; what its optimizer has slots for is what it trains."""
    owners = {slot.variable for slot in own.slots} if own is not None else set()
    if not owners or None in owners:
        return list(target.variables)
    return [each._replace(trainable=each.path in owners) for each in target.variables]


def is_laid_out(optimizer: OptimizerState) -> bool:
    """Whether it is declared what an optimizer keeps together with the one around it."""
    if optimizer.wrapper is None or optimizer.generation is None:
        return False
    known = layouts(optimizer.class_name or "", optimizer.generation)
    return bool(around(optimizer.wrapper.class_name, known))


def require_same_wrapper(donor: OptimizerState, own: OptimizerState | None, target: TrainingState) -> None:
    """Refuses to move what optimizers around others keep, but from one to the same of a list that is configured so.

    Raises:
        GraftRefused: Only one side has the wrapper, or the result could not say that it has one.
    """
    sides = [None if each is None else each.wrapper for each in (donor, own)]
    keeping = [each.class_name for each in sides if each is not None and not each.scales_loss]
    if not keeping:
        return
    same = len(keeping) == len(sides) and len(set(keeping)) == 1
    if not same or record(target.format).holds != "named-list" or own is None or own.class_inferred:
        name = keeping[0]
        raise GraftRefused(
            f"the optimizer is in a {name}, which keeps slots of its own, and a graft does not take the two apart: it "
            f"goes into a whole HDF5 model that is compiled with the same {name}, and from there where Keras saves it"
        )


def require_one(optimizer: OptimizerState, whose: str) -> None:
    """Refuses an optimizer of which a variable has a slot twice.

    Raises:
        GraftRefused: Several optimizers of one class kept them, and nothing tells which of them is meant; or one around
            another has its slots among them.
    """
    if optimizer.wrapper is not None and not optimizer.wrapper.scales_loss and not is_laid_out(optimizer):
        raise GraftRefused(
            f"{whose}'s optimizer is {optimizer.class_name or 'one of unknown class'} in a "
            f"{optimizer.wrapper.class_name}, which keeps slots of its own: a graft does not take the two apart"
        )
    seen = Counter(
        (slot.variable, slot.role, quantity(slot.role, slot.name))
        for slot in optimizer.slots
        if slot.variable is not None
    )
    for (variable, role, _), count in seen.items():
        if count > 1:
            known = f" ({optimizer.notes[0]})" if optimizer.notes else ""
            way = (
                "its count alone is taken by --only iterations"
                if whose == "the donor"
                else "set the count in the training program, which knows both"
            )
            raise GraftRefused(
                f"{whose} holds the {role.value.replace('_', ' ')} of {variable} {count} times: several optimizers "
                f"of one class ({optimizer.class_name}) kept their slots in one graph, and nothing tells which one is "
                f"meant{known}; {way}"
            )
