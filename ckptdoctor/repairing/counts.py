"""The count of an optimizer that has lost it, or had it reset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ckptdoctor.containers.tensors.values import chunks
from ckptdoctor.diagnosis.evidence import Evidence
from ckptdoctor.diagnosis.mending import known_count
from ckptdoctor.examination import examine
from ckptdoctor.grafting.options import Options
from ckptdoctor.grafting.run import graft
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.starting import begins_at_zero
from ckptdoctor.state import OptimizerState

if TYPE_CHECKING:
    from numpy.typing import NDArray

Settings = Mapping[str, object]


def find(path: str, settings: Settings) -> tuple[str, ...]:
    """The count that would be set."""
    found = _count(path, settings)
    return (f"the count of {found[0]} is {found[1]:,}, by {found[2]}",) if found is not None else ()


def mend(path: str, output: str, settings: Settings, progress: Callable[[int], None] | None = None) -> tuple[str, ...]:
    """Writes the artifact with the count, as `graft --iterations` does.

    Raises:
        GraftRefused: It has no place for it.
    """
    found = _count(path, settings)
    assert found is not None  # noqa: S101 - `find` has said so
    receipt = graft(None, path, output, Options(iterations=found[1], optimizer=found[0] or None))
    if progress is not None:
        progress(receipt.written.bytes_new + receipt.written.bytes_copied)
    return find(path, settings)


def _count(path: str, settings: Settings) -> tuple[str, int, str] | None:
    """The optimizer, its count, and what says so; None where nothing is to be set."""
    (found,) = list(examine(path))[:1]
    if found.state is None:
        return None
    given = settings.get("iterations")
    for each in found.state.optimizers:
        current = _follows(each) if each.iterations is None else each.iterations
        if isinstance(given, int) and each.slots and current != given:
            return each.name, given, "--iterations"
        known = known_count(Evidence(found.resolved, found.state), each) if _is_lost(each) and not current else None
        if given is None and known is not None:
            return each.name, known[0], known[1]
    return None


def _follows(optimizer: OptimizerState) -> int | None:
    """The count that other state of an optimizer tells, which has no place for a count itself (tf.compat.v1)."""
    if optimizer.recoverable is None or dialect(optimizer.generation).counts:
        return None
    return optimizer.recoverable.value


def _is_lost(optimizer: OptimizerState) -> bool:
    """Whether there are slots and no count, so that it is S002 or S005 what the rules say; a new one has lost none."""
    if not optimizer.slots or optimizer.iterations or optimizer.iterations_range is not None:
        return False
    return optimizer.iterations is None or any(
        begins_at_zero(optimizer, slot) and slot.tensor.location is not None and any(map(_any, chunks(slot.tensor)))
        for slot in optimizer.slots
    )


def _any(values: NDArray[Any]) -> bool:
    return bool(values.astype(bool).any())
