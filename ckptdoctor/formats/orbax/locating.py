"""From a directory to the Orbax checkpoint that it means, with what is to be said of how it was chosen."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence

from ckptdoctor import storage
from ckptdoctor.formats.contract import Pointer, Target
from ckptdoctor.formats.orbax.places import AGGREGATE, FILES, Latest, is_checkpoint, is_item, listed, look, whole_of
from ckptdoctor.state import Oddity
from ckptdoctor.words import enumerate_some

_MOST_TIMES = 256
"""So many steps are asked when they were saved."""


def checkpoint_at(given: str, path: str, names: Collection[str]) -> Target | None:
    """The checkpoint that a directory is: a step, an item that stands alone, or the step that an item is of."""
    if not is_checkpoint(path, names):
        return None
    whole = whole_of(path) if is_item(path, names) else None
    if whole is None:
        return Target(given, path, "orbax")
    told = f"{os.path.basename(storage.absolute(path))} is an item of the checkpoint {whole}"
    return Target(given, whole, "orbax", (Oddity("P003", told),))


def checkpoint_of(given: str, file: str) -> Target | None:
    """The checkpoint that a file of one stands for; None of other files."""
    name = os.path.basename(file)
    if name not in FILES and name != AGGREGATE:
        return None
    directory = os.path.dirname(storage.absolute(file))
    names = listed(directory)
    found = checkpoint_at(given, directory, names) if names else None
    if found is None:
        return None
    told = Oddity("P003", f"{name} is a file of the checkpoint {found.resolved}")
    return found._replace(oddities=(told,))


def latest_in(given: str, path: str, names: Sequence[str]) -> Target | None:
    """The newest complete step of a run; None if a directory holds no steps.

    Raises:
        UnreadableArtifact: Only saves that did not end are in it.
    """
    found = look(path, names)
    return None if found is None else Target(given, found.chosen.path, "orbax", tuple(_noticed(found)))


def points(path: str, names: Sequence[str]) -> Pointer | None:
    """What `latest_step()` takes: the highest number, whatever is in it.

    Raises:
        UnreadableArtifact: Only saves that did not end are there.
    """
    found = look(path, names)
    return None if found is None else Pointer("latest_step()", found.steps[-1].name)


def _noticed(found: Latest) -> Iterator[Oddity]:
    taken = found.chosen.name
    if found.temporary:
        yield Oddity(
            "I005",
            f"{enumerate_some(list(found.temporary))} did not end; latest_step() leaves it out"
            + ("" if found.incomplete else f" and takes {taken}"),
        )
    if found.incomplete:
        newest = found.incomplete[-1].name
        yield Oddity(
            "I006",
            f"latest_step() takes {newest}, in which no item is complete: restoring it fails, or gives None (Orbax "
            f"before 0.11); the newest complete step is {taken}",
        )
    yield from _older(found)


def _older(found: Latest) -> Iterator[Oddity]:
    """A step that was saved after steps of higher numbers is another run's: those will be taken for the latest."""
    from ckptdoctor.formats.orbax.metadata import saved_at

    times = [(step, saved_at(step.path)) for step in found.steps[-_MOST_TIMES:] if step not in found.incomplete]
    chosen = next((time for step, time in times if step == found.chosen), None)
    if chosen is None:
        return
    later = [step for step, time in times if time is not None and time > chosen and step.number < found.chosen.number]
    if later:
        newest = max(later, key=lambda step: saved_at(step.path) or 0)
        yield Oddity(
            "P005",
            f"{newest.name} was saved after {found.chosen.name}, which has the higher number: a new run in the "
            f"directory of an old one; latest_step() and load_model take the old run's {found.chosen.name}",
        )
