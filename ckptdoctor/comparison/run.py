"""A comparison from paths to answer: examine both, set side by side what belongs together, compare."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ckptdoctor import storage
from ckptdoctor.comparison.items import compare_items
from ckptdoctor.comparison.options import Options
from ckptdoctor.comparison.pairs import OptimizerPair, pair_optimizers, pair_slots
from ckptdoctor.comparison.results import Artifact, Comparison, OptimizerComparison
from ckptdoctor.comparison.slots import compare_slots, doubts, read_bytes
from ckptdoctor.comparison.values import Tolerance
from ckptdoctor.comparison.vocabularies import in_one
from ckptdoctor.comparison.weights import WeightPlan
from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.errors import UnreadableArtifact, UsageProblem
from ckptdoctor.examination import Examination, examine, with_libhdf5
from ckptdoctor.optimizers import translation
from ckptdoctor.state import OptimizerState, TrainingState

Path: TypeAlias = str | os.PathLike[str]
Progress: TypeAlias = Callable[[int, int], None]


def look(path: Path) -> Examination:
    """Examines the one artifact that a path means.

    Raises:
        UnreadableArtifact: It cannot be read.
        UsageProblem: Nothing is at this path.
    """
    path = storage.tellable(os.fspath(path))
    found = list(examine(path))
    if len(found) != 1:
        raise UsageProblem(f"this should be one artifact and holds {len(found)}", path)
    if found[0].error is not None:
        raise found[0].error
    return found[0]


def diff(a: Path, b: Path, options: Options | None = None, *, progress: Progress | None = None) -> Comparison:
    """Says whether two artifacts hold the same optimizer state.

    Args:
        a: An artifact.
        b: Another.
        options: What is asked for.
        progress: Told how many bytes of how many have been compared.

    Raises:
        UnreadableArtifact: An artifact cannot be read.
        Unmatchable: It has several optimizers and none is named, or the mapping names what is not there.
        UsageProblem: A path does not exist.
    """
    sides = look(a), look(b)
    return with_libhdf5(compare, *sides, options, sides=sides, progress=progress, limited=True, reads=True)


def compare(
    a: Examination, b: Examination, options: Options | None = None, *, progress: Progress | None = None
) -> Comparison:
    """The same of two artifacts that have been examined."""
    options = options or Options()
    state_a, state_b, said = in_one(_state(a), _state(b))
    pairs = [
        pair_slots((state_a, one), (state_b, other), options.mapping)
        for one, other in pair_optimizers(state_a, state_b, options.optimizer)
    ]
    weights = WeightPlan(state_a, state_b, options.mapping)
    tolerance = Tolerance(options.rtol, options.atol)
    total = sum(map(read_bytes, pairs)) if options.values else 0
    total += weights.read_bytes if options.weights else 0
    meter = _Meter(progress, total)
    with kept_open():
        optimizers = [_compared(pair, tolerance, meter, said, values=options.values) for pair in pairs]
        compared = weights.in_full(tolerance, meter.add) if options.weights else weights.sampled()
    return Comparison(
        a=_artifact(a, state_a, [pair.a for pair in pairs]),
        b=_artifact(b, state_b, [pair.b for pair in pairs]),
        optimizers=tuple(optimizers),
        weights=compared,
        values=options.values,
        rtol=options.rtol,
        atol=options.atol,
    )


class _Meter:
    """How far reading is."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, count: int) -> None:
        """So many more bytes are read."""
        self._done += count
        if self._progress is not None:
            self._progress(self._done, max(self._total, self._done))


def _compared(
    pair: OptimizerPair, tolerance: Tolerance, meter: _Meter, said: tuple[str, ...], *, values: bool
) -> OptimizerComparison:
    a, b = pair.a, pair.b
    notes = [*said, *pair.notes]
    if a is not None and b is not None and None not in {a.generation, b.generation, a.class_name}:
        assert a.generation is not None and b.generation is not None and a.class_name is not None  # noqa: S101, PT018
        notes += translation.warnings(a.class_name, b.generation, a.generation)
    slots = tuple(compare_slots(pair, tolerance if values else None, meter.add))
    return OptimizerComparison(
        name_a=None if a is None else a.name,
        name_b=None if b is None else b.name,
        items=tuple(compare_items(a, b, tolerance)),
        slots=slots,
        notes=(*notes, *doubts(pair, slots)),
    )


def _state(examination: Examination) -> TrainingState:
    if examination.state is None:
        raise examination.error or UnreadableArtifact("it cannot be read", examination.path)
    return examination.state


def _artifact(examination: Examination, state: TrainingState, optimizers: Sequence[OptimizerState | None]) -> Artifact:
    holds = any(each is not None and each.has_state for each in optimizers)
    return Artifact(examination.path, examination.resolved, state.format, state.producer, holds)
