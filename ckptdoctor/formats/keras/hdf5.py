"""An HDF5 file of any name: which of Keras' layouts it has is told by what is in it."""

from __future__ import annotations

import os

from ckptdoctor.containers.hdf5.opening import open_h5
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.keras import legacy_h5 as keras_h5
from ckptdoctor.formats.keras import weights as keras_weights
from ckptdoctor.state import TrainingState


def read(path: str) -> TrainingState:
    """Reads a whole model, legacy weights or `.weights.h5`, whatever the file is called."""
    with open_h5(path) as file:
        if keras_h5.is_whole_model(file) or keras_h5.is_weights(file):
            return keras_h5.read_open(file)
        if keras_weights.is_weights(file):
            return keras_weights.read_open(file)
        groups, datasets = file.children("")
        found = ", ".join([*groups, *datasets][:5]) or "nothing"
        raise UnreadableArtifact(
            f"an HDF5 file without a Keras model or weights in it; it holds {found}",
            path,
            place=os.path.basename(path),
        )
