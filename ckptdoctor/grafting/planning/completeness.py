"""What must not get lost: every slot of the donor is planned, left behind for a reason that is said, or a refusal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.containers.tensors.values import kept_open, statistics
from ckptdoctor.errors import GraftRefused
from ckptdoctor.matching.variables import Match
from ckptdoctor.optimizers.catalogue import Layout, PerVariable
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.config import Settings
from ckptdoctor.optimizers.lists.layout import blocks
from ckptdoctor.optimizers.planned import PlannedSlot
from ckptdoctor.state import Generation, OptimizerState, Role, Slot
from ckptdoctor.words import enumerate_some

NOWHERE = "no counterpart in the target"


class Unused(NamedTuple):
    """State of the donor that goes nowhere.

    Attributes:
        variable: The donor's variable; None where it is not known.
        slots: The donor's names of the slots.
        reason: Why.
    """

    variable: str | None
    slots: tuple[str, ...]
    reason: str


def keeps_slots(class_name: str, donor: OptimizerState, layout: Layout, settings: Settings) -> bool:
    """Whether the optimizer that is written keeps slots that say anything."""
    return any(
        settings.has(kind.when) and not is_unused(class_name, donor_settings=settings, role=kind.role)
        for block in blocks(layout)
        if isinstance(block, PerVariable)
        for kind in block.kinds
    ) or bool(donor.slots)


def is_unused(class_name: str, *, donor_settings: Settings, role: Role) -> bool:
    """Whether a slot is one that the class keeps without using it: momentum where it is 0."""
    return class_name in {"SGD", "RMSprop"} and role is Role.MOMENTUM and "momentum" not in donor_settings.flags


def require_slots(whose: str, class_name: str, optimizer: OptimizerState, *, partial: bool) -> None:
    """Refuses an optimizer that will have stepped and lost all its slots, where they are due.

    Raises:
        GraftRefused: The result would go on with empty moments.
    """
    of_donor = whose == "the donor"
    if optimizer.slots or partial or (of_donor and optimizer.iterations == 0):
        return
    count = optimizer.iterations
    at = "has no count" if count is None else "never stepped" if not count else f"is at iteration {count:,}"
    way = "take the count alone with --only iterations" if of_donor else "take slots from a donor with --from"
    raise GraftRefused(
        f"{whose}'s {class_name} {at} and holds no slots: training would go on with empty moments; {way}, or leave "
        "the slots empty by --partial"
    )


def unused_slots(
    donor: OptimizerState,
    planned: Iterable[PlannedSlot],
    matches: Mapping[str, Match],
    written: tuple[str, Generation],
) -> list[Unused]:
    """Every slot of the donor that no planned one takes, but for those that say nothing.

    Args:
        donor: The donor's optimizer.
        planned: What is planned.
        matches: Target path → the donor's variable.
        written: Class and generation of the result.
    """
    taken = {id(each.source) for each in planned if each.source is not None}
    used = {each.donor for each in matches.values()}
    found: dict[tuple[str | None, str], list[str]] = {}
    with kept_open():
        for slot in donor.slots:
            if id(slot.tensor) in taken:
                continue
            if slot.variable is None:
                reason = "nothing tells which variable it belongs to"
            elif slot.variable not in used:
                reason = NOWHERE
            elif says_nothing(slot):
                continue
            else:
                class_name, generation = written
                reason = f"{class_name} of {dialect(generation).title} has no place for it here"
            found.setdefault((slot.variable, reason), []).append(slot.name)
    return [Unused(variable, tuple(dict.fromkeys(names)), reason) for (variable, reason), names in found.items()]


def says_nothing(slot: Slot) -> bool:
    """Whether a slot holds no state: a placeholder, or zeros."""
    if not slot.tensor.size or (slot.role is Role.MAX_SECOND_MOMENT and slot.tensor.shape == (1,)):
        return True
    figures = statistics(slot.tensor)
    return figures is not None and figures.min == figures.max == 0


def require_all(unused: Sequence[Unused]) -> None:
    """Refuses to leave state behind for another reason than that the target has no such variable.

    Raises:
        GraftRefused: With what it is, and why.
    """
    lost = [each for each in unused if each.reason != NOWHERE]
    if not lost:
        return
    named = [f"{', '.join(each.slots)} of {each.variable or 'an unknown variable'}" for each in lost]
    raise GraftRefused(
        f"the donor's {enumerate_some(named, 4)} would be lost: {lost[0].reason}; leave it behind by --partial"
    )


def require_no_fewer(own: OptimizerState | None, planned: Sequence[PlannedSlot]) -> None:
    """Refuses a result with fewer slots than the target had.

    Raises:
        GraftRefused: It would have fewer.
    """
    if own is None or len(own.slots) <= len(planned):
        return
    with kept_open():
        had = sum(not says_nothing(slot) for slot in own.slots)
    if had > len(planned):
        raise GraftRefused(
            f"the target holds {had} slots, the result would hold {len(planned)}: --partial writes it nevertheless"
        )
