"""State of PyTorch's and Keras' optimizers, put into a chain of optax that the target's program has built.

A chain stores neither class nor settings, so that only the program can build it; what its transformations count and
average is the same as elsewhere (`chains.py`, read backwards). Momentum: optax and PyTorch add up gradients, Keras 3
steps of the rate in force; RMSprop's is added up without its sign in optax.
"""

from typing import NamedTuple

from ckptdoctor.crossing.chains import class_in_chain, quantity_in
from ckptdoctor.crossing.classes import Shared, shared
from ckptdoctor.crossing.layouts import flax_name, recast
from ckptdoctor.crossing.rates import constant
from ckptdoctor.crossing.to_keras import count_of, names_in_keras
from ckptdoctor.crossing.wishes import Wishes
from ckptdoctor.errors import GraftRefused
from ckptdoctor.matching.variables import explain_unmatched, match, named
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.references import TensorRef
from ckptdoctor.state import ModelVariable, OptimizerState, Role, TrainingState
from ckptdoctor.words import enumerate_some


class InChain(NamedTuple):
    """A donor's state in the places of a chain.

    Attributes:
        values: Key of a tensor of the chain → what is there from now on.
        iterations: The donor's count; None if its class keeps none.
    """

    values: dict[str, TensorRef]
    iterations: int | None


def into_chain(
    donor: TrainingState, optimizer: OptimizerState, target: TrainingState, own: OptimizerState, wishes: Wishes
) -> InChain:
    """Finds a value for every slot of a chain.

    Args:
        donor: The artifact.
        optimizer: Its optimizer.
        target: The tree of the program.
        own: Its chain.
        wishes: What is said by hand.

    Raises:
        GraftRefused: The chain is of another class, or keeps what the donor has not.
        Unmatchable: The variables named by hand are not there.
    """
    by_parameter = dialect(optimizer.generation).by_parameter
    kind = shared(optimizer.class_name, of="torch" if by_parameter else "keras")
    kind = class_in_chain(kind, optimizer, own)
    whose, axes = _pairs(donor, target, own, wishes)
    held = {(slot.variable, slot.role): slot.tensor for slot in optimizer.slots if slot.variable is not None}
    momentum = _factor(kind, donor, optimizer, wishes) if any(r is Role.MOMENTUM for _, r in held) else 1.0
    values: dict[str, TensorRef] = {}
    lacking: list[str] = []
    for slot in own.slots:
        if slot.variable is None:
            continue
        role = quantity_in(kind, slot.role)
        theirs = whose[slot.variable]
        tensor = held.get((theirs, role))
        if tensor is None:
            lacking.append(f"{slot.name} of {slot.variable}")
            continue
        found = recast(tensor, axes.get(theirs), momentum if role is Role.MOMENTUM else 1.0)
        if found.shape != slot.tensor.shape or found.dtype != slot.tensor.dtype:
            raise GraftRefused(
                f"the donor's {slot.name} of {theirs} is {found.dtype} {list(found.shape)}, the chain's "
                f"{slot.tensor.dtype} {list(slot.tensor.shape)}: the model or the chain is another one",
                donor.path,
            )
        values[slot.tensor.key] = found
    if lacking:
        raise GraftRefused(
            f"the target's chain keeps {enumerate_some(lacking, 4)}, which the donor's {optimizer.class_name} has not",
            donor.path,
        )
    if by_parameter:
        return InChain(values, count_of(donor, optimizer, kind, wishes))
    return InChain(values, optimizer.iterations if wishes.iterations is None else wishes.iterations)


def _pairs(
    donor: TrainingState, target: TrainingState, own: OptimizerState, wishes: Wishes
) -> tuple[dict[str, str], dict[str, tuple[int, ...] | None]]:
    """The chain's variables → the donor's, and how the axes of those are exchanged."""
    axes: dict[str, tuple[int, ...] | None] = {}
    names = {each.path: each.path for each in donor.variables}
    if any(dialect(each.generation).by_parameter for each in donor.optimizers):
        names, axes = names_in_keras(donor, target)
    called = {flax_name(names[each.path]): each.path for each in donor.variables}
    mapping = {flax_name(names.get(theirs, theirs)): mine for theirs, mine in wishes.mapping.items()}
    theirs = [
        named(ModelVariable(name, recast(each.tensor, axes.get(each.path)), each.trainable))
        for name, each in zip(called, donor.variables, strict=True)
    ]
    owners = dict.fromkeys(slot.variable for slot in own.slots if slot.variable is not None)
    mine = [named(each) for each in target.variables if each.path in owners]
    found = match(mine, theirs, mapping)
    missing = [each for each in mine if each.path not in found]
    if missing:
        raise GraftRefused(explain_unmatched(missing, theirs, found), donor.path)
    unsure = [path for path, each in found.items() if each.ambiguous]
    if unsure:
        raise GraftRefused(
            f"equal shapes leave open which of the donor's variables {enumerate_some(unsure, 4)} is: say it with "
            "--map DONOR=TARGET",
            donor.path,
        )
    return {path: called[each.donor] for path, each in found.items()}, axes


def _factor(kind: Shared, donor: TrainingState, optimizer: OptimizerState, wishes: Wishes) -> float:
    """What the donor's momentum is multiplied by.

    Raises:
        GraftRefused: The learning rate is in it, and it is not known, or it changes.
    """
    told = dialect(optimizer.generation)
    is_rms = kind.keras == "RMSprop"
    if is_rms and not told.by_parameter:
        return -1.0
    if not is_rms and (told.by_parameter or told.momentum == "gradient"):
        return 1.0
    known = optimizer.hyperparameters.get("lr" if told.by_parameter else "learning_rate")
    scheduled = optimizer.schedule is not None or optimizer.scheduled or bool(told.by_parameter and donor.schedulers)
    rate = constant(wishes.learning_rate or known, scheduled=scheduled, name=kind.keras)
    return -rate if is_rms else -1 / rate
