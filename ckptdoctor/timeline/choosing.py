"""The checkpoints of a run in the order of training, and which one to resume from."""

import os
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ckptdoctor import storage
from ckptdoctor.formats.directories import family, saved_order
from ckptdoctor.state import Status
from ckptdoctor.timeline.results import Checkpoint, Objection, PassedOver
from ckptdoctor.words import counted

Asked = Callable[[Checkpoint], "tuple[Objection, ...]"]
"""Asks the rules about a checkpoint that was not judged when it was read."""
_UNKNOWN = -1


class Choice(NamedTuple):
    """The checkpoint to resume from, if there is one, and why."""

    resume: Checkpoint | None
    reason: str
    passed_over: tuple[PassedOver, ...]


def in_training_order(checkpoints: Iterable[Checkpoint]) -> tuple[Checkpoint, ...]:
    """By count, then by time; one that cannot be read stands behind those before it in the row of its name."""
    there = list(checkpoints)
    order = {id(each): saved_order(each.path, each.name) for each in there}
    by_name = sorted(there, key=lambda each: (family(each.name), order[id(each)]))
    ranks: dict[int, tuple[int, int]] = {}
    row, last = "", _UNKNOWN
    for each in by_name:
        if family(each.name) != row:
            row, last = family(each.name), _UNKNOWN
        known = each.iterations is not None
        last = each.iterations if each.iterations is not None else last
        ranks[id(each)] = last, not known
    nameless = all(each.iterations is None for each in there)

    def key(each: Checkpoint) -> tuple[object, ...]:
        numbers = order[id(each)][0] if nameless or ranks[id(each)][1] else ()
        epoch = each.epoch if each.epoch is not None else float(_UNKNOWN)
        return (*ranks[id(each)], epoch if nameless else 0.0, numbers, each.saved, each.name)

    return tuple(sorted(there, key=key))


def choose(checkpoints: Sequence[Checkpoint], asked: Asked, *, deep: bool) -> Choice:
    """The newest complete checkpoint that nothing is wrong with.

    Args:
        checkpoints: In the order of training.
        asked: Is asked about a checkpoint before it is chosen.
        deep: Values were read.
    """
    passed: list[PassedOver] = []
    for each in reversed(checkpoints):
        why = _objection(each, asked)
        if why is None:
            return Choice(each, _praise(each, passed, deep=deep), tuple(passed))
        passed.append(PassedOver(each.name, why))
    told = _all_alike(checkpoints)
    if told is not None:
        return Choice(None, told, ())
    return Choice(None, f"none of {counted(len(checkpoints), 'checkpoint')} is fit for it", tuple(passed))


def _objection(each: Checkpoint, asked: Asked) -> Objection | None:
    seen = each.seen
    if seen.status is not Status.COMPLETE:
        return Objection("", seen.verdict)
    if not seen.weights:
        return Objection("", "the optimizer's state alone: the weights are not here")
    errors = seen.errors if seen.errors is not None else asked(each)
    return errors[0] if errors else None


def _praise(each: Checkpoint, passed: Sequence[PassedOver], *, deep: bool) -> str:
    good = "complete and finite" if deep else "complete"
    at = f", at iteration {each.iterations:,}" if each.iterations is not None else ""
    return f"the newest {good} one{at}" if passed else f"the newest, {good}{at}"


def _all_alike(checkpoints: Sequence[Checkpoint]) -> str | None:
    """What is wrong with all of them, if it is the same; None if it is not."""
    status = {each.seen.status for each in checkpoints}
    number = counted(len(checkpoints), "checkpoint")
    if status == {Status.ABSENT}:
        return f"weights only in {number}: training would start with a new optimizer"
    if status == {Status.FRESH}:
        return f"the optimizer never stepped in {number}"
    return None


def name_in(run: str, path: str) -> str:
    """What a checkpoint is called in its run."""
    return os.path.relpath(path, run) if path != run else os.path.basename(storage.absolute(run))
