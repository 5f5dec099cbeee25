"""Keras' own files without the optimizer, as a model leaves them that was never compiled.

Files are made anew: HDF5 leaves the bytes of what is deleted where they were, and a release would carry them along.
"""

from __future__ import annotations

import json
import os

from ckptdoctor.containers.bytes.copying import Progress, copy_tree
from ckptdoctor.containers.hdf5.editing import Edit, edit_file
from ckptdoctor.containers.hdf5.file import H5File
from ckptdoctor.containers.strict_json import parse_object
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.errors import Refused
from ckptdoctor.formats.contract import Stripped
from ckptdoctor.formats.keras import legacy_h5, weights
from ckptdoctor.formats.keras.archive import CONFIG, WEIGHTS_H5
from ckptdoctor.formats.keras.archive import read as read_archive
from ckptdoctor.formats.keras.shard_map import is_map
from ckptdoctor.formats.keras.tree import INNER
from ckptdoctor.formats.keras.writing.archives import rewrite_archive
from ckptdoctor.state import TrainingState

_TRAINING, _COMPILED = "training_config", "compile_config"
_NOTHING = "it holds no optimizer state: there is nothing to strip"
_CALL = "load it with load_model(path): the model is not compiled, which predicting does not need"


def strip_h5(target: str, output: str, progress: Progress | None = None) -> Stripped:
    """Writes a whole-model HDF5 file without its optimizer, and without how the model was compiled.

    Raises:
        Refused: It has none.
        UnreadableArtifact: It is broken.
    """
    with H5File(target) as file:
        _gone(legacy_h5.read_open(file), target)
    edit = Edit(delete=(legacy_h5.OPTIMIZER,), anew=True, forgotten=(_TRAINING,))
    edit_file(target, output, edit, progress)
    return Stripped((legacy_h5.OPTIMIZER, f"@{_TRAINING}"), (_CALL,))


def strip_weights(target: str, output: str, progress: Progress | None = None) -> Stripped:
    """Writes `.weights.h5`, or `.weights.json` with its shards, without the optimizers in it.

    Raises:
        Refused: There are none.
        UnreadableArtifact: It is broken.
    """
    if is_map(target):
        from ckptdoctor.formats.keras.writing.shards import write_shards

        names = _gone(weights.read(target), target)
        write_shards(target, output, _edit(names), progress)
    else:
        with H5File(target) as file:
            names = _gone(weights.read_open(file), target)
        edit_file(target, output, _edit(names), progress)
    return Stripped(names, ("load it with model.load_weights(path)",))


def strip_archive(target: str, output: str, progress: Progress | None = None) -> Stripped:
    """Writes a `.keras` archive, or the directory that one unpacks to, without its optimizer and its compilation.

    Raises:
        Refused: It has none, or keeps its weights in npz.
        UnreadableArtifact: It is broken.
    """
    names = _gone(read_archive(target), target)
    stripped = Stripped((*names, f"{CONFIG}: {_COMPILED}"), (_CALL,))
    if os.path.isdir(target):
        _directory(target, output, names, progress)
        return stripped
    with ZipArchive(target) as archive:
        _require_hdf5(WEIGHTS_H5 in archive, target)
        config = _uncompiled(archive.read(CONFIG), target) if CONFIG in archive else b"{}"
        expected = archive.size(WEIGHTS_H5)
    rewrite_archive(target, output, _edit(names), {CONFIG: config}, expected, progress)
    return stripped


def _directory(target: str, output: str, names: tuple[str, ...], progress: Progress | None) -> None:
    held = os.path.join(target, WEIGHTS_H5)
    _require_hdf5(os.path.isfile(held), target)
    os.mkdir(output)
    copy_tree(target, output, frozenset({WEIGHTS_H5, CONFIG}), progress)
    with open(os.path.join(target, CONFIG), "rb") as stream:
        config = _uncompiled(stream.read(), target)
    with open(os.path.join(output, CONFIG), "xb") as stream:
        stream.write(config)
    edit_file(held, os.path.join(output, WEIGHTS_H5), _edit(names), progress)


def _require_hdf5(there: bool, target: str) -> None:  # noqa: FBT001 - what was looked for
    if not there:
        raise Refused(
            "it keeps its weights in an npz archive, which Keras itself does not load: save it as HDF5", target
        )


def _uncompiled(text: bytes, target: str) -> bytes:
    document = parse_object(text, target, CONFIG)
    return json.dumps({name: each for name, each in document.items() if name != _COMPILED}).encode()


def _edit(names: tuple[str, ...]) -> Edit:
    """Without the optimizers' groups; Windows writes the inner one of a LossScaleOptimizer beside the outer."""
    return Edit(delete=tuple(each for name in names for each in (name, f"{name}\\{INNER}")), anew=True)


def _gone(state: TrainingState, target: str) -> tuple[str, ...]:
    names = tuple(each.name for each in state.optimizers if each.has_state)
    if not names:
        raise Refused(_NOTHING, target)
    return names
