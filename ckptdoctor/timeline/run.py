"""The history itself: each run found, each checkpoint read by whichever worker is free, one of them chosen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from ckptdoctor import storage
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.contract import Target
from ckptdoctor.formats.registry import UNKNOWN, pointer
from ckptdoctor.isolation.pool import Lost, can_work, cores, in_order
from ckptdoctor.state import Status
from ckptdoctor.timeline.choosing import choose, in_training_order, name_in
from ckptdoctor.timeline.events import Events
from ckptdoctor.timeline.finding import Found, Place, places
from ckptdoctor.timeline.looking import look, look_all
from ckptdoctor.timeline.names import read_name
from ckptdoctor.timeline.results import Checkpoint, History, Objection, Run, Seen
from ckptdoctor.words import enumerate_some

Told = Callable[[str, int, int], None]
"""Is told which checkpoint is read, and that it is the n-th of how many."""
_BATCH = 32
"""So many checkpoints a worker reads before it answers."""
_WORTH_A_WORKER = 64
"""Fewer are read by this process before a worker would have started."""


def history(path: str, *, deep: bool = False, jobs: int | None = None, told: Told | None = None) -> History:
    """The checkpoints of each run at a directory and below it.

    Args:
        path: The directory.
        deep: Read every value too.
        jobs: So many workers; None for as many as there are processors.
        told: Is told what is being read.

    Raises:
        UsageProblem: Nothing is there, or no directory.
        UnreadableArtifact: It cannot be listed, or holds no checkpoint.
    """
    path = storage.tellable(path)
    found = places(path)
    targets = [each.target for place in found for each in place.found if each.target is not None]
    seen = dict(zip(targets, _read(targets, deep=deep, jobs=cores() if jobs is None else jobs, told=told), strict=True))
    return History(path, tuple(_run(place, seen, deep=deep) for place in found), deep)


def _read(targets: Sequence[Target], *, deep: bool, jobs: int, told: Told | None) -> Iterator[Seen]:
    """What is in each, in their order."""
    number = 0

    def tell(seen: Sequence[Seen]) -> Iterator[Seen]:
        nonlocal number
        for each in seen:
            if told is not None:
                told(targets[number].path, number, len(targets))
            number += 1
            yield each

    if jobs <= 1 or not can_work() or len(targets) < (2 if deep else _WORTH_A_WORKER):
        for each in targets:
            yield from tell([look(each, deep)])
        return
    yield from tell([look(targets[0], deep)])  # what its reader imports, workers that are forked need not
    size = 1 if deep else max(1, min(_BATCH, len(targets) // (2 * jobs)))
    batches = [tuple(targets[at : at + size]) for at in range(1, len(targets), size)]
    for batch, answer in zip(batches, in_order(look_all, [(each, deep) for each in batches], jobs=jobs), strict=True):
        # A worker died of one of them: each alone, so that the others are not lost with it.
        yield from tell([look(each, deep) for each in batch] if isinstance(answer, Lost) else answer)


def _run(place: Place, seen: dict[Target, Seen], *, deep: bool) -> Run:
    targets: dict[str, Target] = {each.path: each.target for each in place.found if each.target is not None}
    checkpoints = in_training_order(_line(each, place, seen) for each in place.found)
    checkpoints = Events(place.path).completed(checkpoints)

    judged: dict[str, tuple[Objection, ...]] = {}

    def asked(each: Checkpoint) -> tuple[Objection, ...]:
        return judged.setdefault(each.path, look(targets[each.path], deep, judged=True).errors or ())

    choice = choose(checkpoints, asked, deep=deep)
    checkpoints = tuple(
        each._replace(seen=each.seen._replace(errors=judged.get(each.path, each.seen.errors))) for each in checkpoints
    )
    notes = [*_pointers(place, choice.resume, checkpoints)]
    if place.unfinished:
        notes.append(f"{enumerate_some(place.unfinished)} did not end: {_THEY[len(place.unfinished) > 1]}")
    return Run(place.path, checkpoints, choice.resume, choice.reason, choice.passed_over, tuple(notes))


_THEY = ("it is what a save left that was interrupted", "they are what saves left that were interrupted")


def _line(found: Found, place: Place, seen: dict[Target, Seen]) -> Checkpoint:
    of_it = seen[found.target] if found.target is not None else Seen(UNKNOWN.id, Status.UNREADABLE, found.problem)
    name = name_in(place.path, found.path)
    told = read_name(os.path.basename(found.path.rstrip("/")))
    return Checkpoint(
        path=found.path,
        name=name,
        seen=of_it,
        iterations=of_it.iterations if of_it.iterations is not None else _named_step(of_it, told.step),
        epoch=of_it.epoch if of_it.epoch is not None else told.epoch,
        metric=of_it.metric or told.metric,
        learning_rate=of_it.learning_rate,
        size=found.size,
        saved=found.saved,
    )


def _named_step(seen: Seen, step: int | None) -> int | None:
    """The step in a name counts where the checkpoint could be read and has no count, as that of plain SGD."""
    return step if seen.status in {Status.COMPLETE, Status.PARTIAL} else None


def _pointers(place: Place, resume: Checkpoint | None, checkpoints: Sequence[Checkpoint]) -> Iterator[str]:
    """Where the framework itself would resume, and what the program called its best, where that is another one."""
    chosen = resume.name if resume is not None else None
    try:
        found = pointer(place.path, place.names)
    except UnreadableArtifact as error:
        yield f"what the framework would take cannot be told: {error}"
        found = None
    there = {each.name for each in checkpoints}
    if found is not None and found.name != chosen:
        where = "" if found.name in there else ", which is not here"
        yield f"{found.by} names {found.name}{where}" + (f", not {chosen}" if chosen is not None else "")
    telling = next((each.seen for each in reversed(checkpoints) if each.seen.best), None)
    best = os.path.basename((telling.best or "").replace("\\", "/").rstrip("/")) if telling is not None else chosen
    if telling is not None and best != chosen:
        where = "" if best in there else ", which is not here"
        yield f"{telling.best_by} is {best}{where}: the best, not where training stopped"
