"""TensorFlow checkpoints without optimizers: their entries go, and their bytes with them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from ckptdoctor.containers.bundles.compacting import compact
from ckptdoctor.containers.bundles.object_graph import GRAPH_KEY, parse_object_graph
from ckptdoctor.containers.bundles.reading import TensorBundle, read_bundle, read_strings
from ckptdoctor.containers.bundles.v1 import read_v1
from ckptdoctor.containers.bundles.writing import NewTensor, write_bundle
from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.errors import Refused
from ckptdoctor.formats.contract import Stripped
from ckptdoctor.formats.tensorflow.names import read_names
from ckptdoctor.formats.tensorflow.objects import classify
from ckptdoctor.formats.tensorflow.writing.graph_editor import GraphEditor
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Role

_NOTHING = "it holds no optimizer state: there is nothing to strip"
_ALONE = "it is an optimizer's state alone: without that nothing would be left"


def strip(target: str, output: str, progress: Progress | None = None) -> Stripped:
    """Writes a checkpoint of any kind without optimizers, as a V2 bundle of one data file.

    Moving averages of a Saver's checkpoint stay: programs that predict restore them in the place of the weights.

    Args:
        target: The checkpoint's prefix, or the file of a V1 checkpoint.
        output: The prefix to write; none of its files may exist.
        progress: Told how many more bytes are written.

    Raises:
        Refused: It has none, or nothing else.
        UnreadableArtifact: It is corrupt.
    """
    if not os.path.exists(f"{target}.index"):
        return _old(target, output, progress)
    bundle = read_bundle(target)
    if GRAPH_KEY in bundle.tensors:
        return _objects(target, output, bundle, progress)
    gone = _named(bundle.tensors, target)
    compact(target, output, drop=gone, progress=progress)
    return Stripped(tuple(sorted(gone)), (_of_saver(gone),))


def _old(target: str, output: str, progress: Progress | None) -> Stripped:
    tensors = read_v1(target).tensors
    gone = _named(tensors, target)
    kept = {name: NewTensor(ref.dtype, ref.shape, ref) for name, ref in tensors.items() if name not in gone}
    text = next((name for name, each in kept.items() if each.dtype == "string"), None)
    if text is not None:
        raise Refused(f"the V1 checkpoint holds strings ({text!r}), which are not converted to V2", target)
    write_bundle(output, kept, progress=progress)
    as_new = "it was a V1 checkpoint; the result is V2 (an index and a data file), which Saver reads alike"
    return Stripped(tuple(sorted(gone)), (_of_saver(gone), as_new))


def _of_saver(gone: Iterable[str]) -> str:
    return f"load it with a Saver of a graph without an optimizer: it would look for {min(gone)}"


def _named(tensors: Mapping[str, TensorRef], target: str) -> set[str]:
    """Names of the optimizers' variables in a name-based checkpoint."""
    names = read_names(tensors)
    gone: set[str] = set()
    for each in names.optimizers:
        gone |= {slot.tensor.key for slot in each.slots if slot.role is not Role.MOVING_AVERAGE}
        gone |= {other.tensor.key for other in (*each.other, *(each.wrapper.variables if each.wrapper else ()))}
    if not gone:
        raise Refused(_NOTHING, target)
    if not any(variable.tensor.place is not None for variable in names.variables):
        raise Refused(_ALONE, target)
    return gone


def _objects(target: str, output: str, bundle: TensorBundle, progress: Progress | None) -> Stripped:
    data = read_strings(bundle.tensors[GRAPH_KEY])[0]
    objects = classify(parse_object_graph(data, target), bundle)
    roots = {each.number if each.outer is None else each.outer: each.path for each in objects.optimizers}
    if not roots:
        raise Refused(_NOTHING, target)
    if 0 in roots or not objects.by_node:
        raise Refused(_ALONE, target)
    editor = GraphEditor(data, target, bundle.tensors.keys())
    graph, gone = editor.without(roots, objects.by_node.keys())
    compact(target, output, drop=gone, texts={GRAPH_KEY: graph}, progress=progress)
    call = "load it with tf.train.Checkpoint(...).read(path) of the same objects without their optimizers"
    return Stripped(tuple(roots.values()), (call,))
