"""A conversion from path to receipt: examine, write beside the output, read back, compare, put in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from ckptdoctor.containers.bytes.files import reason
from ckptdoctor.containers.tensors.values import kept_open, paired_chunks, release
from ckptdoctor.errors import CkptDoctorError, GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.registry import FORMATS, create, record
from ckptdoctor.grafting.building.flushing import Flushing
from ckptdoctor.grafting.building.inputs import Inputs, files_of
from ckptdoctor.grafting.building.readback import require_same_state_dict
from ckptdoctor.grafting.building.staging import check_output, publish, staging
from ckptdoctor.grafting.run import Path, graft, look
from ckptdoctor.optimizers.planned import PlannedStateDict
from ckptdoctor.references import Inline, TensorRef
from ckptdoctor.state import Format, OptimizerState, StateDict, TrainingState
from ckptdoctor.workplace import at_hand

_CHUNK = 256 << 10


class Conversion(NamedTuple):
    """What was done.

    Attributes:
        source: What was read.
        format: What it was.
        output: What was written.
        to: What that is.
        variables: How many of the model's variables are in it.
        optimizers: Optimizers in it: class and count of each.
        left: What it has no place for, a sentence each.
        bytes_written: Its bytes.
    """

    source: str
    format: Format
    output: str
    to: Format
    variables: int
    optimizers: tuple[tuple[str | None, int | None], ...]
    left: tuple[str, ...]
    bytes_written: int


def writable() -> dict[str, Format]:
    """What can be converted to: the formats' names."""
    return {each.id.value: each.id for each in FORMATS if each.create is not None}


@at_hand("path", output="output")
def convert(
    path: Path,
    output: Path,
    to: Format | str | None = None,
    *,
    overwrite: bool = False,
    max_shard: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Conversion:
    """Writes an artifact in another format or layout.

    Args:
        path: The artifact; it is not changed.
        output: What is written.
        to: Its format; None if the ending of its name tells.
        overwrite: Replace what lies there.
        max_shard: Bytes of a shard, of formats that have such.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: There is no such conversion, or something has no place in it; nothing was written.
        UnreadableArtifact: The artifact cannot be read.
        UsageProblem: It does not exist.
    """
    found = look(path, "artifact")
    state = found.state
    if state is None:
        raise GraftRefused("it cannot be read", found.path)
    place = os.fspath(output).rstrip("/") or os.fspath(output)
    kind = Format(to) if to is not None else _by_name(os.fspath(output), state)
    inputs = Inputs([found.resolved])
    check_output(place, [found.resolved], overwrite=overwrite)
    try:
        with staging(place) as folder:
            staged = os.path.join(folder, os.path.basename(place))
            try:
                written, result = _build(kind, state, found.resolved, staged, max_shard, progress)
            except OSError as error:
                raise GraftRefused(f"writing failed ({reason(error)}); nothing is left behind", place) from error
            size = sum(os.path.getsize(each) for each in files_of(staged))
            inputs.require_unchanged()
            publish(staged, place, overwrite=overwrite)
    finally:
        release()
    optimizers = tuple((each.class_name, each.iterations) for each in result.optimizers)
    left = tuple(each.replace("OUT", place) for each in written.notes)
    return Conversion(found.path, state.format, place, kind, len(result.variables), optimizers, left, size)


def _by_name(output: str, state: TrainingState) -> Format:
    """The format that a name promises; for the artifact's own format, another container of it.

    Raises:
        GraftRefused: It promises none that can be written.
    """
    for each in FORMATS:
        if each.create is not None and any(output.lower().endswith(ending) for ending in each.endings):
            return each.id
    raise GraftRefused(
        f"the name does not tell what {os.path.basename(output)} is to be: say it with --to {', '.join(writable())}",
        state.path,
    )


def _build(
    kind: Format,
    state: TrainingState,
    source: str,
    staged: str,
    max_shard: int | None,
    progress: Callable[[int], None] | None,
) -> tuple[Written, TrainingState]:
    """Writes it, reads it back, and holds it against what it was made from.

    Raises:
        GraftRefused: It is not the same state.
    """
    with Flushing(os.path.dirname(staged)) as flushing:
        written = create(kind, state, source, staged, max_shard=max_shard, progress=progress)
        written = _with_optimizer(kind, state, source, staged, written)
        flushing.complete()
        try:
            result = look(staged, "result").state
        except CkptDoctorError as error:
            raise GraftRefused(f"the result was read back and {error}; nothing was written") from error
        if result is None:
            raise GraftRefused("the result cannot be read back; nothing was written")
        with kept_open():
            _require_same(state, result, whole=record(kind).configuration != "none")
        flushing.finish()
    return written, result


def _with_optimizer(kind: Format, state: TrainingState, source: str, staged: str, written: Written) -> Written:
    """Grafts the optimizer into what was written without it, in formats that graft takes for targets."""
    lists = [each for each in state.optimizers if each.has_state and each.stored is None]
    if not lists or record(kind).configuration != "required":
        return written
    base = f"{staged}.base{os.path.splitext(staged)[1]}"
    os.rename(staged, base)
    receipt = graft(source, base, staged)
    os.unlink(base)
    return written._replace(notes=(*written.notes, *receipt.plan.warnings, *receipt.written.notes))


def _require_same(state: TrainingState, result: TrainingState, *, whole: bool) -> None:
    """Raises GraftRefused where the result does not hold the same weights, or the same optimizers."""
    there: dict[str, list[TensorRef]] = {}
    # Formats of Keras begin paths with the model's name, or do not.
    for each in result.variables:  # formats call the key of a model differently
        for name in {each.path, each.path.rpartition("/")[2]}:
            there.setdefault(name, []).append(each.tensor)
    seen: set[object] = set()
    for each in state.variables:
        location = each.tensor.location
        if location in seen or location is None or isinstance(location, Inline):  # a number of numpy
            continue
        seen.add(location)
        options = (
            there.get(each.path) or there.get(each.path.rpartition("/")[2]) or there.get(each.path.replace("/", "."))
        )
        if not any(_same(each.tensor, after) for after in options or ()):
            raise GraftRefused(f"the result was read back and {each.path} is not in it as it was; nothing was written")
    left = list(result.optimizers)
    for optimizer in state.optimizers if whole else ():
        if optimizer.stored is None:
            continue
        found = next((each for each in left if _is_same_optimizer(optimizer.stored, each)), None)
        if found is None:
            raise GraftRefused(f"the result was read back and lacks {optimizer.name or 'the optimizer'} as it was")
        left.remove(found)


def _is_same_optimizer(stored: StateDict, other: OptimizerState) -> bool:
    try:
        require_same_state_dict(other, PlannedStateDict(stored, ()), _same)
    except GraftRefused:
        return False
    return True


def _same(one: TensorRef, other: TensorRef) -> bool:
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return all(left.tobytes() == right.tobytes() for left, right in paired_chunks(one, other, _CHUNK))
