"""Chains of optax as donors: which class of the target's framework they are, and what their slots are in it.

A chain stores no class and no settings, so the target's optimizer has to say both. Measured by training on (5 steps
behind 7): Adam, AdamW, SGD with momentum, RMSprop, Adagrad, Adadelta and Adamax agree to 2e-6 or to rounding. AMSGrad
keeps the maximum of the corrected second moment (0.095 off), NAdam no product of momentums (0.042 off): no translation.
Source: optax/_src/transform.py, alias.py of 0.2.4 to 0.2.8.
"""

from __future__ import annotations

from ckptdoctor.crossing.classes import CLASSES, Shared
from ckptdoctor.errors import GraftRefused
from ckptdoctor.state import OptimizerState, Role, TrainingState

_NEVER = {
    "AMSGrad": "optax keeps the maximum of the corrected second moment, the others that of the uncorrected one",
    "NAdam": "optax keeps no product of momentums",
    "Nadam": "optax keeps no product of momentums",
}
_SAME = {"Nadam": "NAdam"}


def class_of_chain(optimizer: OptimizerState, own: OptimizerState | None, asked: str | None, *, of: str) -> Shared:
    """The class that a chain is in the target's framework.

    Args:
        optimizer: The chain.
        own: The target's optimizer.
        asked: The class that the user names.
        of: `keras` or `torch`: whose names these are.

    Raises:
        GraftRefused: Nothing tells it, or it is another one, or one that is not translated.
    """
    if own is None or own.class_name is None:
        raise GraftRefused(
            "the donor's state is a chain of optax, which stores no class and no settings: graft it into a checkpoint "
            "whose program has built its optimizer"
        )
    fitting = {optimizer.class_name, *optimizer.class_candidates} - {None}
    mine = [each for each in (asked, own.class_name, *own.class_candidates) if each is not None]
    for name in mine:
        if _SAME.get(name, name) not in fitting:
            continue
        if name in _NEVER:
            raise GraftRefused(f"{name} is another algorithm in optax ({_NEVER[name]}): no translation exists")
        kind = next((each for each in CLASSES if getattr(each, of) == name), None)
        if kind is not None:
            return kind
    if optimizer.class_name in _NEVER:
        raise GraftRefused(f"{optimizer.class_name} is not translated: {_NEVER[optimizer.class_name]}")
    theirs = ", ".join(sorted(filter(None, fitting))) or "no known class"
    raise GraftRefused(
        f"the donor's chain of optax is of {theirs}, the target's optimizer {mine[0]}: their state means different "
        "things"
    )


def class_in_chain(kind: Shared | None, optimizer: OptimizerState, own: OptimizerState) -> Shared:
    """The class of another framework's optimizer, whose state goes into a chain.

    Args:
        kind: What it shares with others.
        optimizer: The donor's.
        own: The target's chain.

    Raises:
        GraftRefused: The chain is of another class, or it is another algorithm in optax.
    """
    name = optimizer.class_name or "optimizer"
    keeps_maximum = any(slot.role is Role.MAX_SECOND_MOMENT for slot in optimizer.slots)
    reason = _NEVER.get("AMSGrad" if keeps_maximum else name)
    if reason is not None:
        raise GraftRefused(f"{name} is another algorithm in optax ({reason}): no translation exists")
    fitting = {own.class_name, *own.class_candidates} - {None}
    if kind is None or not fitting & {kind.keras, kind.torch}:
        theirs = ", ".join(sorted(filter(None, fitting))) or "no known class"
        raise GraftRefused(
            f"the target's chain of optax is of {theirs}, the donor's optimizer {name}: their state means different "
            "things"
        )
    return kind


def quantity_in(kind: Shared, role: Role) -> Role:
    """What a slot of a chain is in a class: Adamax keeps its norm under Adam's name."""
    return Role.INFINITY_NORM if kind.torch == "Adamax" and role is Role.SECOND_MOMENT else role


def count_beside(donor: TrainingState, optimizer: OptimizerState) -> int | None:
    """A chain's count; of one that keeps none, the program's own beside it."""
    if optimizer.iterations is not None:
        return optimizer.iterations
    return donor.counters.get("step", donor.counters.get("global_step"))
