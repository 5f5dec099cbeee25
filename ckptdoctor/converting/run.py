"""A conversion from path to receipt: examine, write beside the output, read back, compare, put in its place."""

import os
from collections.abc import Callable, Mapping
from tempfile import TemporaryDirectory
from typing import NamedTuple

from ckptdoctor.containers.bytes.files import reason
from ckptdoctor.containers.tensors.values import kept_open, paired_chunks, release
from ckptdoctor.errors import CkptDoctorError, GraftRefused
from ckptdoctor.examination import every_tensor
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.registry import FORMATS, create, found_by, record
from ckptdoctor.grafting.building.flushing import Flushing
from ckptdoctor.grafting.building.inputs import Inputs, files_of
from ckptdoctor.grafting.building.readback import require_same_state_dict
from ckptdoctor.grafting.building.staging import check_output, publish, staging
from ckptdoctor.grafting.building.sums import require_as_saved
from ckptdoctor.grafting.options import Options
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


@at_hand("path", "like", output="output")
def convert(
    path: Path,
    output: Path,
    to: Format | str | None = None,
    *,
    overwrite: bool = False,
    max_shard: int | None = None,
    like: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> Conversion:
    """Writes an artifact in another format or layout.

    Args:
        path: The artifact; it is not changed.
        output: What is written.
        to: Its format; None if the ending of its name tells.
        overwrite: Replace what lies there.
        max_shard: Bytes of a shard, of formats that have such.
        like: A `.keras` archive of the same model, whose configuration the result gets: for what has none itself.
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
    model = None if like is None else look(like, "archive of --like").resolved
    place = os.fspath(output).rstrip("/") or os.fspath(output)
    kind = Format(to) if to is not None else _by_name(os.fspath(output), state)
    read = [found.resolved, *([] if model is None else [model])]
    inputs = Inputs(read)
    check_output(place, read, overwrite=overwrite)
    require_as_saved(dict.fromkeys(every_tensor(state)))
    options: dict[str, object] = {"max_shard": max_shard, "progress": progress}
    notes: list[str] = []
    try:
        with staging(place) as folder:
            staged = os.path.join(folder, os.path.basename(place))
            try:
                with inputs.held(), TemporaryDirectory(dir=folder) as aside:
                    source, result = found.resolved, state
                    via = record(kind).created_from
                    if via is not None and (model is not None or state.format is not via):
                        between = os.path.join(aside, f"between{record(via).ending}")
                        written, result = _build(via, result, source, between, {**options, "like": model})
                        notes += written.notes[1:]  # the first is about what is not kept
                        source, model = between, None
                    written, result = _build(kind, result, source, staged, {**options, "like": model})
            except OSError as error:
                raise GraftRefused(f"writing failed ({reason(error)}); nothing is left behind", place) from error
            size = sum(os.path.getsize(each) for each in files_of(staged))
            publish(staged, place, overwrite=overwrite)
    finally:
        release()
    optimizers = tuple((each.class_name, each.iterations) for each in result.optimizers if each.has_state)
    notes += [*(each.replace("OUT", place) for each in written.notes), *found_by(kind, place)]
    return Conversion(found.path, state.format, place, kind, len(result.variables), optimizers, tuple(notes), size)


def _by_name(output: str, state: TrainingState) -> Format:
    """The format that a name promises; for the artifact's own format, another container of it.

    Raises:
        GraftRefused: It promises none that can be written.
    """
    for each in FORMATS:
        if (
            each.create is not None
            and not each.is_prefix
            and any(output.lower().endswith(ending) for ending in each.endings)
        ):
            return each.id
    raise GraftRefused(
        f"the name does not tell what {os.path.basename(output)} is to be: say it with --to {', '.join(writable())}",
        state.path,
    )


def _build(
    kind: Format, state: TrainingState, source: str, staged: str, options: Mapping[str, object]
) -> tuple[Written, TrainingState]:
    """Writes it, reads it back, and holds it against what it was made from.

    Raises:
        GraftRefused: It is not the same state.
    """
    with Flushing(os.path.dirname(staged)) as flushing:
        written = _write(kind, state, source, staged, options)
        flushing.complete()
        result = _read_back(staged)
        with kept_open():
            _require_same(state, result, written.pairs, whole=record(kind).configuration != "none")
        flushing.finish()
    return written, result


def _read_back(staged: str) -> TrainingState:
    try:
        result = look(staged, "result").state
    except CkptDoctorError as error:
        raise GraftRefused(f"the result was read back and {error}; nothing was written") from error
    if result is None:
        raise GraftRefused("the result cannot be read back; nothing was written")
    return result


def _write(kind: Format, state: TrainingState, source: str, staged: str, asked: Mapping[str, object]) -> Written:
    """Writes it; the optimizer is grafted into what was written without, in formats that graft takes for targets."""
    held = [each for each in state.optimizers if each.has_state and each.stored is None]
    if not held or not record(kind).created_bare:
        return create(kind, state, source, staged, **asked)
    if len(held) > 1:
        several = ", ".join(each.name for each in held)
        raise GraftRefused(f"it holds the optimizers {several}: a {record(kind).title} made anew has a place for one")
    with TemporaryDirectory(dir=os.path.dirname(staged)) as aside:
        base = os.path.join(aside, os.path.basename(staged))
        written = create(kind, state, source, base, **asked)
        goals = {each.tensor.key: each.path for each in _read_back(base).variables if each.trainable is not False}
        trained = {slot.variable for slot in held[0].slots}
        names = {path: goals[key] for path, key in written.pairs.items() if path in trained and key in goals}
        # One that never stepped has what it begins with.
        options = Options(mapping=names, partial=not held[0].slots and not held[0].iterations)
        try:
            receipt = graft(source, base, staged, options)
        except GraftRefused as error:
            raise GraftRefused(
                f"{error.message} (convert what `ckptdoctor strip` makes of it, and put the optimizer into the result "
                "by `ckptdoctor graft`, which has these options)",
                state.path,
            ) from error
    wrapper = held[0].wrapper
    if wrapper is not None and receipt.plan.optimizer.wrapper is None:
        raise GraftRefused(
            f"the {wrapper.class_name} around its optimizer has no place in the model of --like", state.path
        )
    call, *others = receipt.written.notes
    notes = [*receipt.plan.warnings, *(each for each in others if each not in found_by(kind, staged))]
    return written._replace(notes=(*(written.notes or [call]), *notes))


def _require_same(state: TrainingState, result: TrainingState, pairs: Mapping[str, str], *, whole: bool) -> None:
    """Raises GraftRefused where the result does not hold the same weights, or the same optimizers."""
    there: dict[str, list[TensorRef]] = {}
    # Formats of Keras begin paths with the model's name, or do not.
    for each in result.variables:  # formats call the key of a model differently
        for name in {each.path, each.path.rpartition("/")[2]}:
            there.setdefault(name, []).append(each.tensor)
    keys = {each.tensor.key: each.tensor for each in result.variables}
    seen: set[object] = set()
    for each in state.variables:
        location = each.tensor.location
        if location in seen or location is None or isinstance(location, Inline):  # a number of numpy
            continue
        seen.add(location)
        if pairs:
            options = [keys[pairs[each.path]]] if pairs.get(each.path) in keys else []
        else:
            options = (
                there.get(each.path)
                or there.get(each.path.rpartition("/")[2])
                or there.get(each.path.replace("/", "."))
                or []
            )
        if not any(_same(each.tensor, after) for after in options) and (not pairs or each.path in pairs):
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
