"""Writing optimizer state into Keras' own files: whole-model HDF5, `.keras` archives, `.weights.h5`.

Each writer takes a target, of which everything but the optimizer stays as it is, and answers with what the user needs
to know to load the result. The inputs are only read; the output path must not exist.
"""

from __future__ import annotations

import json
import os

from ckptdoctor.containers.bytes.copying import Progress, copy_tree
from ckptdoctor.containers.hdf5.editing import Edit, edit_file, stored_bytes
from ckptdoctor.containers.hdf5.opening import by_either, open_h5
from ckptdoctor.containers.strict_json import parse_object
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.dumps.writing import write_dump
from ckptdoctor.formats.keras import legacy_h5 as keras_h5
from ckptdoctor.formats.keras.archive import CONFIG, METADATA, WEIGHTS_H5
from ckptdoctor.formats.keras.optimizer_groups import OPTIMIZER
from ckptdoctor.formats.keras.shard_map import is_map
from ckptdoctor.formats.keras.writing.archives import rewrite_archive
from ckptdoctor.formats.keras.writing.checks import check_layout
from ckptdoctor.formats.keras.writing.compiled import compiled
from ckptdoctor.formats.keras.writing.losses import chosen_loss, loss_of
from ckptdoctor.formats.keras.writing.slot_names import weight_names
from ckptdoctor.formats.keras.writing.tree import Place, by_compiling, by_name, new_dataset, place_in, tree_edit
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.serialize import Form, require_agreement, to_config
from ckptdoctor.optimizers.lists.elements import elements, wrapper_elements
from ckptdoctor.optimizers.lists.elements import notes as notes_of
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Generation, TrainingState

__all__ = ["write_dump", "write_h5", "write_keras_archive", "write_keras_weights"]

# ------------------------------------------------------------------------------------------------ whole-model HDF5


def write_h5(
    optimizer: PlannedOptimizer,
    target: str,
    output: str,
    *,
    loss_from: str | None = None,
    progress: Progress | None = None,
) -> Written:
    """Writes a whole-model HDF5 file with this optimizer.

    Args:
        optimizer: The optimizer; its generation decides names and configuration.
        target: The HDF5 file that is completed.
        output: The file that is written.
        loss_from: An artifact that tells the loss, where the target was saved uncompiled.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: The target holds no model, or the generation cannot express the optimizer.
        UnreadableArtifact: An input is broken.
        OSError: The output cannot be written.
    """
    state, text = by_either(_whole_model, target)
    version = state.producer.version
    own, inner = wrapper_elements(optimizer), elements(optimizer)
    names = weight_names(optimizer, own, inner, state.variables, version)
    notes: list[str] = []
    texts: dict[tuple[str, str], str] = {}
    if text is None or not optimizer.configured:
        training = {} if text is None else parse_object(text, target, "@training_config")
        if text is None:
            training, note = _training_config(optimizer, loss_from, version)
            notes.append(note)
        training["optimizer_config"] = to_config(optimizer, Form.LEGACY)
        require_agreement(training["optimizer_config"], optimizer)
        texts["", "training_config"] = json.dumps(training)
    group = keras_h5.OPTIMIZER
    edit = Edit(
        delete=(group,),
        datasets=tuple(
            new_dataset(f"{group}/{name}", each, marked=False) for name, each in zip(names, (*own, *inner), strict=True)
        ),
        texts=texts,
        names={(group, "weight_names"): names},
        as_in=("", "model_config"),
    )
    sizes = edit_file(target, output, edit, progress)
    return Written((*_h5_notes(optimizer), *notes, *notes_of(optimizer)), sizes.new, sizes.copied)


def _whole_model(target: str) -> tuple[TrainingState, str | None]:
    """A model, and the configuration that it was compiled with."""
    with open_h5(target) as file:
        if not keras_h5.is_whole_model(file):
            raise GraftRefused(
                "the file holds weights alone, in the old layout, which has no place for optimizer state: graft into "
                "a whole model, a `.keras` or a `.weights.h5`",
                target,
            )
        return keras_h5.read_open(file), file.text("", "training_config")


def _training_config(
    optimizer: PlannedOptimizer, loss_from: str | None, version: str | None
) -> tuple[dict[str, object], str]:
    """`training_config` for a model that was saved uncompiled, with the keys that loaders of its time ask for."""
    found = None if loss_from is None else loss_of(loss_from)
    loss, note = chosen_loss(found, optimizer.generation, Form.LEGACY, version)
    old = optimizer.generation is Generation.KERAS1
    config: dict[str, object] = {"loss": loss, "metrics": [] if old else None, "weighted_metrics": None}
    config["loss_weights"] = None
    if optimizer.generation in {Generation.KERAS1, Generation.OPTIMIZER_V2}:
        config["sample_weight_mode"] = None  # TensorFlow 1.15 and Keras up to 2.3 ask for it
    return config, note


def _h5_notes(optimizer: PlannedOptimizer) -> tuple[str, ...]:
    if optimizer.generation is Generation.KERAS3:
        note = (
            "no version of Keras 3 restores slots from an HDF5 file: load_model keeps the count and drops the slots "
            "(legacy_h5_format builds the optimizer for no variables); graft into a `.keras` target to resume training"
        )
    elif optimizer.generation is Generation.KERAS2 and optimizer.wrapper is not None:
        note = (
            "TensorFlow 2.11 to 2.15 and tf_keras lose the state of a LossScaleOptimizer in HDF5 files; graft into a "
            "`.keras` target to resume training"
        )
    else:
        note = f"load with load_model(path) of {dialect(optimizer.generation).title}: it restores the optimizer's state"
    return (note,)


# ------------------------------------------------------------------------------------------------- .keras archives


def write_keras_archive(
    optimizer: PlannedOptimizer,
    target: str,
    output: str,
    *,
    loss_from: str | None = None,
    progress: Progress | None = None,
) -> Written:
    """Writes a `.keras` archive, or the directory that one unpacks to, with this optimizer.

    Args:
        optimizer: The optimizer, of Keras 2.11 or later.
        target: The archive or directory that is completed.
        output: What is written, of the same kind.
        loss_from: An artifact that tells the loss, where the target was saved uncompiled.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: The target keeps its weights in npz, or the generation cannot express the optimizer.
        UnreadableArtifact: An input is broken.
        OSError: The output cannot be written.
    """
    check_layout(optimizer)
    if os.path.isdir(target):
        return _write_directory(optimizer, target, output, loss_from, progress)
    with ZipArchive(target) as archive:
        if WEIGHTS_H5 not in archive:
            raise GraftRefused(_ONLY_HDF5, target)
        config = archive.read(CONFIG) if CONFIG in archive else b"{}"
        metadata = archive.read(METADATA) if METADATA in archive else b"{}"
    place, edit, dead = by_either(_edit_of, optimizer, target, WEIGHTS_H5)
    changed, notes = _compiled(optimizer, target, config, metadata, loss_from, place)
    others = {} if changed is None else {CONFIG: changed}
    sizes = rewrite_archive(target, output, edit, others, dead, progress)
    return Written((*notes, *notes_of(optimizer)), sizes.new + len(changed or b""), sizes.copied)


_ONLY_HDF5 = "the target keeps its weights in an npz archive, which Keras itself does not load: save it as HDF5 first"


def _edit_of(optimizer: PlannedOptimizer, path: str, member: str | None = None) -> tuple[Place, Edit, int]:
    """Where the list goes in a target's weights, what changes, and how many bytes that leaves behind."""
    with open_h5(path, member) as file:
        place = place_in([file], optimizer)
        edit = tree_edit(optimizer, place)
        return place, edit, stored_bytes(file, edit.delete)


def _write_directory(
    optimizer: PlannedOptimizer, target: str, output: str, loss_from: str | None, progress: Progress | None
) -> Written:
    weights = os.path.join(target, WEIGHTS_H5)
    if not os.path.isfile(weights):
        raise GraftRefused(_ONLY_HDF5, target)
    config, metadata = (_small(os.path.join(target, name)) for name in (CONFIG, METADATA))
    place, edit, _ = by_either(_edit_of, optimizer, weights)
    changed, notes = _compiled(optimizer, target, config, metadata, loss_from, place)
    os.mkdir(output)
    skip = {WEIGHTS_H5} if changed is None else {WEIGHTS_H5, CONFIG}
    copied = copy_tree(target, output, frozenset(skip), progress)
    if changed is not None:
        with open(os.path.join(output, CONFIG), "xb") as stream:
            stream.write(changed)
    sizes = edit_file(weights, os.path.join(output, WEIGHTS_H5), edit, progress)
    notes = (*notes, *notes_of(optimizer))
    return Written(notes, sizes.new + len(changed or b""), sizes.copied + copied)


def _small(path: str) -> bytes:
    from ckptdoctor.containers.bytes.files import RegularFile

    if not os.path.isfile(path):
        return b"{}"
    with RegularFile(path) as file:
        return file.read(0, file.size, os.path.basename(path))


def _compiled(
    optimizer: PlannedOptimizer, target: str, config: bytes, metadata: bytes, loss_from: str | None, place: Place
) -> tuple[bytes | None, tuple[str, ...]]:
    """`config.json` with the optimizer in `compile_config`; None where it stays as it is."""
    if place.group != OPTIMIZER:
        return None, (by_name(place.group, "load_model(path, compile=False), compile the model with its optimizers"),)
    call = f"load with load_model(path) of {dialect(optimizer.generation).title}: it restores the optimizer's state"
    version = parse_object(metadata, target, METADATA).get("keras_version")
    version = version if isinstance(version, str) else None
    changed, told = compiled(optimizer, parse_object(config, target, CONFIG), version, loss_from)
    return None if changed is None else json.dumps(changed).encode(), (call, *told)


def write_keras_weights(
    optimizer: PlannedOptimizer, target: str, output: str, *, progress: Progress | None = None
) -> Written:
    """Writes `.weights.h5`, or `.weights.json` with its shards, with this optimizer's state.

    Args:
        optimizer: The optimizer, of Keras 2.11 or later.
        target: The file that is completed.
        output: The file that is written; shards are put beside it and named after it, as Keras looks for them.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: The generation has no place in this layout.
        UnreadableArtifact: An input is broken.
        OSError: The output cannot be written.
    """
    check_layout(optimizer)
    if is_map(target):
        from ckptdoctor.formats.keras.writing.shards import opened_shards, write_shards

        place = place_in(opened_shards(target), optimizer)
        sizes = write_shards(target, output, tree_edit(optimizer, place), progress)
    else:
        place, edit, _ = by_either(_edit_of, optimizer, target)
        sizes = edit_file(target, output, edit, progress)
    call = (
        by_name(place.group, "compile the model with its optimizers")
        if place.group != OPTIMIZER
        else by_compiling(optimizer.class_name)
    )
    return Written((call, *notes_of(optimizer)), sizes.new, sizes.copied)
