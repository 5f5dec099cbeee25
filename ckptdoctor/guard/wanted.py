"""What an artifact holds of each optimizer, in the form in which a running one is compared with it."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.examination import Examination, examine
from ckptdoctor.formats.registry import record
from ckptdoctor.guard.live import Live, LiveVariable
from ckptdoctor.optimizers.lists.elements import position
from ckptdoctor.state import OptimizerState, Slot
from ckptdoctor.verification.compare import kind_wanted, matched
from ckptdoctor.verification.pytorch import is_of_torch, places
from ckptdoctor.verification.trained import Trained, read


class Placed(NamedTuple):
    """A slot of an artifact.

    Attributes:
        slot: The slot.
        kind: What a running optimizer's is found by, beside its place.
        place: That of its variable in the artifact's order; None where that cannot be told.
        here: That of the variable of this name in the running program; None where names do not tell.
    """

    slot: Slot
    kind: str
    place: int | None
    here: int | None

    @property
    def moved(self) -> bool:
        """Whether the variable has another place in the running program than in the artifact."""
        return self.here is not None and self.place is not None and self.here != self.place


class Wanted(NamedTuple):
    """An optimizer of an artifact.

    Attributes:
        state: As it was read.
        slots: Its slots.
    """

    state: OptimizerState
    slots: tuple[Placed, ...]


def read_artifact(path: str | os.PathLike[str]) -> Examination:
    """The artifact that a path means.

    Raises:
        UnreadableArtifact: It cannot be read.
        NoSuchPath: Nothing is there.
    """
    found = next(iter(examine(path)))
    if found.error is not None:
        raise found.error
    return found


def wanted(found: Examination, optimizer: OptimizerState, live: Live) -> Wanted:
    """One optimizer of an artifact, each slot with its place beside a running one."""
    state = found.state
    assert state is not None  # noqa: S101 - what has no error was read
    if is_of_torch(state):
        by_name = _by_name(optimizer, live.variables)
        slots = tuple(
            Placed(slot, slot.name, place, by_name.get(slot.variable or "")) for place, slot in places(optimizer)
        )
        return Wanted(optimizer, slots)
    if optimizer.class_inferred and record(state.format).is_numbered and not _is_like(optimizer, live):
        return Wanted(optimizer, tuple(_by_number(each, live) for each in optimizer.slots))
    trained, expected = read(state, optimizer)
    order = {each.label: place for place, each in enumerate(trained)}
    here = _here(trained, live.variables)
    return Wanted(
        optimizer,
        tuple(
            Placed(each.slot, kind_wanted(each.slot), order.get(each.variable), here.get(each.variable))
            for each in expected
        ),
    )


def _is_like(optimizer: OptimizerState, live: Live) -> bool:
    """Whether what was inferred from a list is what the program has, which knows its class and its settings."""
    kinds = {kind for kind, _ in live.slots}
    return optimizer.class_name == live.class_name and all(kind_wanted(each) in kinds for each in optimizer.slots)


def _by_number(slot: Slot, live: Live) -> Placed:
    """A slot of a list that tells no class, by its number, as Keras itself takes it.

    Adam's slots are as many as Adamax', so that what was inferred is no more than a guess here.
    """
    kind, place = live.numbered.get(position(slot.tensor.key), (slot.name, None))
    return Placed(slot._replace(name=kind), kind, place, None)


def _by_name(optimizer: OptimizerState, variables: Sequence[LiveVariable]) -> Mapping[str, int]:
    """Variable of the artifact → place of that of its name: the whole of it, or what follows the model's own name."""
    ends: dict[str, list[int]] = {}
    for place, each in enumerate(variables):
        for end in _ends(each.path):
            ends.setdefault(end, []).append(place)
    whole = {each.path: place for place, each in enumerate(variables) if each.path}
    found: dict[str, int] = {}
    for name in {each.variable for each in optimizer.slots if each.variable is not None}:
        told = {
            place
            for end in _ends(name.replace("/", "."))
            for place in ends.get(end, ())
            if _is_end(end, name, variables[place].path)
        }
        if name in whole:
            found[name] = whole[name]
        elif len(told) == 1:
            found[name] = told.pop()
    return found


def _ends(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))] if path else []


def _is_end(end: str, one: str, other: str) -> bool:
    """Whether one of two names is the end of the other."""
    return end in {one.replace("/", "."), other}


def _here(trained: Sequence[Trained], variables: Sequence[LiveVariable]) -> Mapping[str, int]:
    """Label of a variable → its place in the running program, by name; by order and shapes where no names tell."""
    return matched(trained, [each._asdict() for each in variables], given=False)
