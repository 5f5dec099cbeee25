"""Every reader of artifacts by its name, and what is handed to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ckptdoctor.state import Format, Oddity, TrainingState


class Target(NamedTuple):
    """One artifact to read.

    Attributes:
        path: What the user gave, or what was found below it.
        resolved: The file, directory or prefix that is read.
        reader: Name of the reader in `READERS`.
        oddities: What was noticed on the way.
    """

    path: str
    resolved: str
    reader: str
    oddities: tuple[Oddity, ...] = ()


def _saved_model(path: str) -> TrainingState:
    from ckptdoctor.formats.tensorflow import saved_model

    return saved_model.read(path)


def _tf_checkpoint(path: str) -> TrainingState:
    from ckptdoctor.formats.tensorflow import checkpoint as tf_checkpoint

    return tf_checkpoint.read(path)


def _tf_checkpoint_v1(path: str) -> TrainingState:
    from ckptdoctor.formats.tensorflow import checkpoint as tf_checkpoint

    return tf_checkpoint.read_v1_checkpoint(path)


def _hdf5(path: str) -> TrainingState:
    from ckptdoctor.formats.keras import hdf5 as hdf5_file

    return hdf5_file.read(path)


def _keras_archive(path: str) -> TrainingState:
    from ckptdoctor.formats.keras import archive as keras_archive

    return keras_archive.read(path)


def _keras_weights(path: str) -> TrainingState:
    from ckptdoctor.formats.keras import weights as keras_weights

    return keras_weights.read(path)


def _optimizer_dump(path: str) -> TrainingState:
    from ckptdoctor.formats.dumps import reading as optimizer_dump

    return optimizer_dump.read(path)


def _backup(path: str) -> TrainingState:
    from ckptdoctor.formats.keras import backup as backup_directory

    return backup_directory.read(path)


def _unknown(path: str) -> TrainingState:
    from ckptdoctor.formats.single_files import target_of

    return READERS[target_of(path, path).reader](path)  # says why it is not known


READERS: dict[str, Callable[[str], TrainingState]] = {
    "saved-model": _saved_model,
    "tf-checkpoint": _tf_checkpoint,
    "tf-checkpoint-v1": _tf_checkpoint_v1,
    "hdf5": _hdf5,
    "keras-archive": _keras_archive,
    "keras-weights": _keras_weights,
    "backup": _backup,
    "optimizer-dump": _optimizer_dump,
    "unknown": _unknown,
}
"""Every artifact that can be read. Modules are imported by the first that needs them."""

READ_BY_LIBHDF5 = frozenset({"hdf5", "keras-archive", "keras-weights", "backup"})
"""Readers that call HDF5's library, which crashes on some corrupt files."""
HDF5_FORMATS = frozenset({Format.KERAS_H5, Format.KERAS_H5_WEIGHTS, Format.KERAS_ARCHIVE, Format.KERAS_WEIGHTS})
"""What they read."""
