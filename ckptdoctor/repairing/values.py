"""A copy of an artifact in which some tensors have other values, read back and compared."""

from __future__ import annotations

from collections.abc import Callable

from ckptdoctor.containers.tensors.shard_data import NewValues
from ckptdoctor.errors import Refused
from ckptdoctor.examination import Examination, examine, with_libhdf5
from ckptdoctor.formats.registry import refill
from ckptdoctor.grafting.building.compare import hold_values
from ckptdoctor.grafting.run import look
from ckptdoctor.state import TrainingState

Plan = Callable[[TrainingState], tuple[NewValues, tuple[str, ...]]]
"""What a fix changes in an artifact, and a sentence for each thing."""


def planned(path: str, plan: Plan) -> tuple[str, ...]:
    """What would be changed."""
    state = look(path, "artifact").state
    return plan(state)[1] if state is not None else ()


def write(path: str, output: str, plan: Plan, progress: Callable[[int], None] | None = None) -> tuple[str, ...]:
    """Writes the artifact with what is changed.

    Raises:
        Refused: It is not known, or is not as planned when it is read back.
    """
    found, before = look(path, "artifact"), 0

    def told(done: int, _total: int) -> None:
        nonlocal before
        if progress is not None:
            progress(done - before)
        before = done

    return with_libhdf5(_write, found, output, plan, sides=(found,), progress=told)


def _write(found: Examination, output: str, plan: Plan, *, progress: Callable[[int, int], None]) -> tuple[str, ...]:
    state, done = found.state, 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        progress(done, done)

    if state is None:
        raise Refused("the artifact cannot be read", found.path)
    values, told = plan(state)
    written = refill(state.format, values, found.resolved, output, count)
    result = next(iter(examine(output)))
    if result.state is None:
        raise Refused(f"the result was read back and {result.error}; nothing was written", found.path)
    hold_values(result.state, state, written)
    return told
