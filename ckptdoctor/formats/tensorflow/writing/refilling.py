"""TensorFlow checkpoints and SavedModels with other values in some of their tensors.

Tensors that change places do so in the index: an entry says where the bytes are, and data files stay as they are.
"""

from __future__ import annotations

import os

from ckptdoctor.containers.bundles.writing import NewTensor, write_bundle
from ckptdoctor.containers.bytes.copying import Progress, copy_tree
from ckptdoctor.containers.tensors.shard_data import NewValues
from ckptdoctor.errors import Refused
from ckptdoctor.formats.tensorflow.saved_model import variables_prefix


def refill(values: NewValues, target: str, output: str, progress: Progress | None = None) -> NewValues:
    """Writes a checkpoint with these values.

    Raises:
        UnreadableArtifact: It is corrupt.
    """
    new = {each.tensor.key: NewTensor(each.tensor.dtype, each.tensor.shape, each.content) for each in values}
    write_bundle(output, new, base=target, progress=progress)
    return values


def refill_saved_model(values: NewValues, target: str, output: str, progress: Progress | None = None) -> NewValues:
    """Writes a SavedModel with these values.

    Raises:
        Refused: It has no variables.
        UnreadableArtifact: It is corrupt.
    """
    prefix = variables_prefix(target)
    if prefix is None:
        raise Refused("the SavedModel has no variables", target)
    os.mkdir(output)
    copy_tree(target, output, files_of_bundle(prefix, target), progress)
    place = os.path.join(output, os.path.relpath(prefix, target))
    os.makedirs(os.path.dirname(place), exist_ok=True)
    return refill(values, prefix, place, progress)


def files_of_bundle(prefix: str, directory: str) -> frozenset[str]:
    """The files of a SavedModel's variables, relative to it, with `/`."""
    folder, stem = os.path.relpath(os.path.dirname(prefix), directory), os.path.basename(prefix)
    return frozenset(
        os.path.normpath(os.path.join(folder, name)).replace(os.sep, "/")
        for name in os.listdir(os.path.dirname(prefix))
        if name == f"{stem}.index" or name.startswith(f"{stem}.data-")
    )
