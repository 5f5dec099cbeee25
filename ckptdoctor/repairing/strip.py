"""An artifact without its optimizer state, for release, in the same format."""

import os
from collections.abc import Callable
from typing import NamedTuple

from ckptdoctor.containers.tensors.raw_places import RawPlaces
from ckptdoctor.containers.tensors.values import kept_open, release
from ckptdoctor.errors import Refused
from ckptdoctor.examination import Examination, examine, with_libhdf5
from ckptdoctor.formats.contract import Stripped
from ckptdoctor.formats.registry import record
from ckptdoctor.formats.registry import strip as write
from ckptdoctor.grafting.building.compare import same_weights
from ckptdoctor.grafting.building.inputs import Inputs
from ckptdoctor.grafting.building.output_name import require_loadable_name
from ckptdoctor.grafting.run import look
from ckptdoctor.repairing.carrying import bytes_of, named, put_in_place
from ckptdoctor.state import Format
from ckptdoctor.workplace import at_hand


class Release(NamedTuple):
    """What was written.

    Attributes:
        path: The artifact, as it was named.
        output: What was written.
        format: Its format.
        gone: What is not in it any more.
        notes: How it is loaded, and what the user should know.
        before: Bytes of the artifact.
        after: Bytes of what was written.
    """

    path: str
    output: str
    format: Format
    gone: tuple[str, ...]
    notes: tuple[str, ...]
    before: int
    after: int


@at_hand("path", output="output")
def strip(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Release:
    """Writes an artifact without its optimizer state.

    Args:
        path: What `inspect` takes; it is not changed.
        output: What is written, in the same format.
        overwrite: Replace what lies there.
        progress: Told how many bytes of how many are done.

    Raises:
        Refused: It holds none, or could not be loaded without, or the output exists; nothing was written.
        UnreadableArtifact: It cannot be read.
        UsageProblem: Nothing is at this path.
    """
    place = named(output)
    found = look(path, "artifact")
    if found.state is None:
        raise Refused("the artifact cannot be read", found.path)
    kind = found.state.format
    if not _has_any(found):
        raise Refused(f"{record(kind).title} without optimizer state: there is nothing to strip", found.path)
    require_loadable_name(place, found.resolved, kind)
    inputs = Inputs([found.resolved])
    before = bytes_of(found.resolved, found.state)
    try:
        with put_in_place(place, inputs, overwrite=overwrite) as staged:
            told = None if progress is None else (lambda done, total: progress(min(done, total), total))
            stripped, after = with_libhdf5(_build, found, staged, before, sides=(found,), progress=told)
    finally:
        release()
    notes = tuple(note.replace("OUT", place) for note in stripped.notes)
    return Release(found.path, place, kind, stripped.gone, notes, before, after)


def _has_any(found: Examination) -> bool:
    """Whether there is anything that only training needs."""
    state = found.state
    return state is not None and (
        any(each.has_state or each.stored is not None for each in state.optimizers)
        or bool(state.schedulers)
        or any(
            each.present and each.kind in {"scaler", "rng", "sampler", "loop", "callback"} for each in state.companions
        )
    )


def _build(
    found: Examination, staged: str, total: int, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Stripped, int]:
    """Writes the result under a name of its own, reads it back, and holds its weights against those that were there.

    Returns:
        What the writer says, and the bytes of the result.

    Raises:
        Refused: It is not as it should be.
    """
    done = 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        if progress is not None:
            progress(done, total)

    if found.state is None:
        raise Refused("the artifact cannot be read", found.path)
    kind = found.state.format
    stripped = write(kind, found.resolved, staged, count)
    result = next(iter(examine(staged)))
    if result.state is None:
        raise Refused(f"the result was read back and {result.error}; nothing was written", found.path)
    if result.state.format is not (record(kind).stripped_as or kind):
        raise Refused(f"the result would be a {record(result.state.format).title}; nothing was written", found.path)
    left = [each.name or "an optimizer" for each in result.state.optimizers if each.has_state]
    if left and any(slot.role.value != "moving_average" for each in result.state.optimizers for slot in each.slots):
        raise Refused(f"{left[0]} would still be in the result; nothing was written", found.path)
    with kept_open(), RawPlaces() as places:
        same_weights(result.state, found.state, places)
    return stripped, bytes_of(staged, result.state)
