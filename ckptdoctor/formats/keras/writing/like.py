"""A `.keras` archive with the configuration of another one of the same model, and an artifact's weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.hdf5.editing import Edit, NewDataset
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.keras.archive import WEIGHTS_H5, describe, read
from ckptdoctor.formats.keras.tree import portable
from ckptdoctor.formats.keras.writing.archives import rewrite_archive
from ckptdoctor.formats.registry import bundle, record
from ckptdoctor.state import Format, ModelVariable, TrainingState
from ckptdoctor.words import enumerate_some

_NAMED = 4
_SAME_LAYOUT = (Format.KERAS_WEIGHTS, Format.KERAS_ARCHIVE)


def archive_like(state: TrainingState, source: str, like: str, output: str, progress: Progress | None) -> Written:
    """Writes an archive like another one, with an artifact's weights: a graft puts its optimizer in.

    Args:
        state: What the artifact holds.
        source: Where it is.
        like: An archive of the same model.
        output: The archive.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: Its weights are not those of that model, or nothing tells which is which.
        UnreadableArtifact: An input is broken.
    """
    if os.path.isdir(like):
        raise GraftRefused("--like is a .keras file, and this is a directory", like)
    with ZipArchive(like) as archive:
        if WEIGHTS_H5 not in archive:
            raise GraftRefused("--like is a .keras file with its weights in HDF5, and this has none", like)
        size = archive.size(WEIGHTS_H5)
    model = read(like)
    held = _held(state, source, describe(like).config, model.variables)
    places = {each.tensor.key: each for each in model.variables if each.tensor.location is not None}
    pairs = {each.path: key for key, each in held.items()}
    left = [each.path for each in state.variables if each.path not in pairs and each.tensor.location is not None]
    if left:
        raise GraftRefused(
            f"the model of {os.path.basename(like)} has no place for {enumerate_some(left, _NAMED)}: name an archive "
            "of the same model with --like",
            source,
        )
    for key, each in held.items():
        _require_same_kind(each, places[key])
    # A graft replaces the other's state, which tells how the optimizer is wrapped.
    gone = [] if any(each.has_state for each in state.optimizers) else [each.name for each in model.optimizers]
    edit = Edit(
        delete=(*held, *gone),
        datasets=tuple(NewDataset(key, ref.dtype, ref.shape, ref) for key, (_, ref, *_) in held.items()),
        anew=True,
    )
    sizes = rewrite_archive(like, output, edit, {}, size, progress)
    own = [places[key].path for key in places if key not in held]
    return Written(_notes(state, like, own), sizes.new, sizes.copied, pairs=pairs)


def _held(
    state: TrainingState, source: str, config: Mapping[str, object], variables: Sequence[ModelVariable]
) -> dict[str, ModelVariable]:
    """Key of a variable in the archive → the same variable of the artifact."""
    mine = {portable(each.tensor.key): each for each in state.variables}
    prefix = bundle(state.format, source)
    if prefix is not None:
        from ckptdoctor.formats.tensorflow.by_object import variables_by_object

        return {key: mine[other] for key, other in variables_by_object(prefix, config, variables).items()}
    if state.format not in _SAME_LAYOUT:
        raise GraftRefused(
            f"--like is for TensorFlow checkpoints and .weights.h5, and this is a {record(state.format).title}", source
        )
    lacking = [each.path for each in variables if each.tensor.location is not None and each.tensor.key not in mine]
    if lacking:
        raise GraftRefused(f"it lacks {enumerate_some(lacking, _NAMED)}, which the model of --like has", source)
    return {each.tensor.key: mine[each.tensor.key] for each in variables if each.tensor.location is not None}


def _require_same_kind(mine: ModelVariable, there: ModelVariable) -> None:
    for what, one, other in (
        ("shape", list(mine.tensor.shape), list(there.tensor.shape)),
        ("type", mine.tensor.dtype, there.tensor.dtype),
    ):
        if one != other:
            raise GraftRefused(
                f"{mine.path} is of {what} {one}, and {there.path} in the model of --like of {other}: "
                "it is another model"
            )


def _notes(state: TrainingState, like: str, own: list[str]) -> tuple[str, ...]:
    notes = [f"load it with load_model(path): configuration and compilation are those of {os.path.basename(like)}"]
    if own:
        notes.append(f"{enumerate_some(own, _NAMED)} is not in the source, and stays as it is in {like}")
    if state.counters:
        counts = ", ".join(f"{name} ({value:,})" for name, value in state.counters.items())
        notes.append(f"an archive has no place for {counts}, which the program keeps beside its model")
    return tuple(notes)
