"""SavedModels of tf.keras with another's optimizer state.

The state goes into `variables/`, into the object graph there, into the object graph of `saved_model.pb` under the same
node numbers (tensorflow/python/saved_model/load.py ties the two by number), and the optimizer's configuration into the
root's Keras metadata. `load_model` rebuilds the optimizer from that configuration and ignores the state, in every
version; `load_weights` on `variables/variables` restores it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import NamedTuple

from ckptdoctor.artifacts.saved_model import MARKER, variables_prefix
from ckptdoctor.artifacts.tf_graph import Objects, classify
from ckptdoctor.artifacts.tf_write import Edited, edit_graph, unlinked
from ckptdoctor.artifacts.written import Written
from ckptdoctor.containers.bundle_writer import NewTensor, Text, write_bundle
from ckptdoctor.containers.copying import Progress, copy_tree, create
from ckptdoctor.containers.dtypes import TENSORFLOW
from ckptdoctor.containers.files import RegularFile
from ckptdoctor.containers.object_graph import GRAPH_KEY, parse_object_graph
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.saved_model_pb import read_saved_model
from ckptdoctor.containers.saved_model_writer import bound_nodes, read_object_graph_def, write_with_object_graph
from ckptdoctor.containers.tensor_bundle import read_bundle, read_strings
from ckptdoctor.errors import GraftRefused, UnreadableArtifact
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.optimizers.serialize import Form, to_config
from ckptdoctor.state import Generation

_METADATA = "keras_metadata.pb"
_NUMBERS = {name: number for number, (name, _) in TENSORFLOW.items()}
_DICTIONARIES = frozenset({"_index_dict", "_trainable_variables_indices"})
_OBJECTS = frozenset({"loss_scale", "base_optimizer", "inner_optimizer"})
_IDENTIFIERS = {
    Generation.OPTIMIZER_V2: "optimizer",
    Generation.TF1: "optimizer",
    Generation.KERAS2: "experimentalOptimizer",
}
"""What revives an optimizer (`RestoredOptimizer`, keras/optimizers/optimizer_v2 and optimizers/optimizer.py)."""


class _Root(NamedTuple):
    """The model's own metadata, and where it stands.

    Attributes:
        data: The parsed JSON.
        file: It is in keras_metadata.pb (TensorFlow 2.5 and later), not in saved_model.pb.
    """

    data: dict[str, object]
    file: bool


def write(
    optimizer: PlannedOptimizer, target: str, output: str, *, link: bool = False, progress: Progress | None = None
) -> Written:
    """Writes a SavedModel with this optimizer's state; the same as `write_saved_model`."""
    return write_saved_model(optimizer, target, output, link=link, progress=progress)


def write_saved_model(
    optimizer: PlannedOptimizer,
    target_dir: str,
    out_dir: str,
    *,
    link: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Writes a SavedModel with this optimizer's state.

    Args:
        optimizer: The optimizer.
        target_dir: The SavedModel.
        out_dir: The directory to make; it must not exist.
        link: Share unchanged data files by hard link.
        progress: Told how many bytes have been dealt with.

    Raises:
        GraftRefused: The target has no place for this state.
        UnreadableArtifact: An input is corrupt.
    """
    prefix = variables_prefix(target_dir)
    marker = os.path.join(target_dir, MARKER)
    saved_data = read_object_graph_def(marker)
    if prefix is None or saved_data is None:
        raise GraftRefused(
            "the SavedModel has no variables or no object graph (TensorFlow 1): it has no place for an optimizer",
            target_dir,
        )
    bundle = read_bundle(prefix)
    if GRAPH_KEY not in bundle.tensors:
        raise GraftRefused("the SavedModel's variables have no object graph (TensorFlow 1)", target_dir)
    parts = read_saved_model(marker)
    data = read_strings(bundle.tensors[GRAPH_KEY])[0]
    objects = classify(
        parse_object_graph(data, prefix), bundle, identifiers=parts.identifiers, trainable=parts.trainable
    )
    saved = pb.SavedObjectGraph.FromString(saved_data)
    edited = edit_graph(optimizer, data, objects, length=len(saved.nodes), compact=False)
    _check_functions(edited, saved_data)
    notes = [f'restore it by model.load_weights("{out_dir}/{os.path.relpath(prefix, target_dir)}") after load_model, '
             "which itself never restores an optimizer's state"]
    root = _root(target_dir, saved)
    trains = _configure(optimizer, root, notes)
    had = any(each.path == optimizer.name for each in objects.optimizers)
    if trains or had:
        _mirror(saved, edited, objects, optimizer)
        if root is not None and not root.file and trains:
            saved.nodes[0].user_object.metadata = json.dumps(root.data)
    return _files(target_dir, out_dir, prefix, edited, saved if trains or had else None, root if trains else None,
                  notes, link=link, progress=progress)
