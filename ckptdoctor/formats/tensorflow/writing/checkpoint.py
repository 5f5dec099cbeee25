"""TensorFlow checkpoints with another's optimizer state; name-based ones are written by `tf_write_names`."""

import os
from typing import NamedTuple

from ckptdoctor.containers.bundles.object_graph import GRAPH_KEY, parse_object_graph
from ckptdoctor.containers.bundles.reading import TensorBundle, read_bundle, read_strings
from ckptdoctor.containers.bundles.writing import BundleReport, NewTensor, Text, write_bundle
from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.tensorflow.objects import Kind, Objects, OptimizerNode, classify, counter_beside
from ckptdoctor.formats.tensorflow.writing.graph_editor import GraphEditor
from ckptdoctor.formats.tensorflow.writing.linked import build_optimizer_v2, build_tf1
from ckptdoctor.formats.tensorflow.writing.listed import build_keras2, build_keras3
from ckptdoctor.formats.tensorflow.writing.names import check_named, write_named
from ckptdoctor.formats.tensorflow.writing.site import Site, count_tensor
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Generation


def write(
    optimizer: PlannedOptimizer, target: str, output: str, *, link: bool = False, progress: Progress | None = None
) -> Written:
    """Writes a checkpoint of any kind as a V2 bundle with this optimizer's state.

    Args:
        optimizer: The optimizer.
        target: The checkpoint's prefix, or the file of a V1 checkpoint.
        output: The prefix to write; none of its files may exist.
        link: Share unchanged data files by hard link.
        progress: Told how many bytes have been dealt with.

    Raises:
        GraftRefused: The target has no place for this state.
        UnreadableArtifact: An input is corrupt.
    """
    if not os.path.exists(f"{target}.index"):
        return write_named(optimizer, target, output, link=link, progress=progress)
    bundle = read_bundle(target)
    if GRAPH_KEY not in bundle.tensors:
        return write_named(optimizer, target, output, link=link, progress=progress)
    return write_checkpoint(optimizer, target, output, link=link, progress=progress)


def write_checkpoint(
    optimizer: PlannedOptimizer,
    target_prefix: str,
    out_prefix: str,
    *,
    link: bool = False,
    progress: Progress | None = None,
) -> Written:
    """Writes an object-based checkpoint with this optimizer's state; the arguments are those of `write`.

    Raises:
        GraftRefused: The target has no place for this state.
        UnreadableArtifact: An input is corrupt.
    """
    edited = _edited(optimizer, target_prefix, read_bundle(target_prefix))
    report = write_bundle(
        out_prefix,
        {**edited.tensors, GRAPH_KEY: NewTensor("string", (), Text(edited.graph))},
        base=target_prefix,
        drop=edited.gone,
        link=link,
        progress=progress,
    )
    return Written((*edited.notes, *unlinked(report)), report.new, report.copied, report.linked)


def check(optimizer: PlannedOptimizer, target: str) -> None:
    """Raises what `write` would, before anything is written.

    Raises:
        GraftRefused: The target has no place for this state.
        UnreadableArtifact: It is corrupt.
    """
    bundle = read_bundle(target) if os.path.exists(f"{target}.index") else None
    if bundle is None or GRAPH_KEY not in bundle.tensors:
        check_named(optimizer)
    else:
        _edited(optimizer, target, bundle)


def _edited(optimizer: PlannedOptimizer, target: str, bundle: TensorBundle) -> "Edited":
    data = read_strings(bundle.tensors[GRAPH_KEY])[0]
    return edit_graph(optimizer, data, classify(parse_object_graph(data, target), bundle))


class Edited(NamedTuple):
    """An object graph with a new optimizer.

    Attributes:
        graph: The serialized graph.
        tensors: The optimizer's tensors.
        gone: Keys of the old optimizer that are no more.
        notes: What the user should know.
        editor: What was done to the nodes.
        node: The optimizer's node.
    """

    graph: bytes
    tensors: dict[str, NewTensor]
    gone: frozenset[str]
    notes: tuple[str, ...]
    editor: GraphEditor
    node: int


def edit_graph(
    optimizer: PlannedOptimizer, data: bytes, objects: Objects, *, length: int = 0, compact: bool = True
) -> Edited:
    """Puts an optimizer into an object graph, in the place of the one that has its name.

    Args:
        optimizer: The optimizer.
        data: The serialized graph.
        objects: The same, classified.
        length: Pad it with empty nodes to this length first.
        compact: Remove the old optimizer's nodes; False: every node keeps its number.

    Raises:
        GraftRefused: The target has no place for this state.
    """
    editor = GraphEditor(data, objects.bundle.prefix, objects.bundle.tensors.keys(), length)
    old = next((each for each in objects.optimizers if each.path == optimizer.name), None)
    outermost = None if old is None else old.number if old.outer is None else old.outer
    variables = {variable.path: index for index, variable in objects.by_node.items()}
    shapes = {variable.path: variable.tensor.shape for variable in objects.variables}
    if old is not None and old.kind is Kind.LEGACY and counter_beside(objects, old) is not None:
        raise GraftRefused(
            "the target is an Estimator's checkpoint: its optimizer has no count of its own and goes by the global "
            "step, for which a graft has no place; restore the state in the Estimator's own program"
        )
    names = optimizer.name.split("/")
    if old is None and editor.find(names) is not None:
        raise GraftRefused(f"the target has an object {optimizer.name!r} that is no optimizer")
    node = editor.open(outermost, names, objects.by_node.keys())
    site = Site(editor, optimizer, node, editor.path_to(node), variables, shapes)
    site.float_dtype = _float_dtype(optimizer, objects)
    if old is not None:
        _look_at_old(site, objects, old)
    builder = _BUILDERS.get(optimizer.generation)
    if builder is None:
        raise GraftRefused(
            "optimizers of standalone Keras 1 and 2 were never part of a TensorFlow checkpoint: write those of the "
            "target's program with --as optimizer-v2, keras2 or keras3"
        )
    builder(site)
    if old is not None and optimizer.generation is Generation.TF1:
        beside = counter_beside(objects, old)
        ref = objects.tensor(beside) if beside is not None else None
        if ref is not None and ref.dtype == "int64":
            editor.tensors[ref.key] = count_tensor(optimizer.iterations)
    graph, gone = editor.finish(node, objects.by_node.keys(), compact=compact)
    return Edited(graph, editor.tensors, gone, tuple(site.notes), editor, node)


_BUILDERS = {
    Generation.OPTIMIZER_V2: build_optimizer_v2,
    Generation.TF1: build_tf1,
    Generation.KERAS2: build_keras2,
    Generation.KERAS3: build_keras3,
}
_COUNTS = ("iter", "_iterations", "iterations")


def _look_at_old(site: Site, objects: Objects, old: OptimizerNode) -> None:
    """Keeps the old optimizer's conventions, which depend on the version of the framework."""
    children = objects.node(old.number).children
    name = next((each for each in _COUNTS if each in children), None)
    if name is not None:
        site.old_name = objects.node(children[name]).full_name.rpartition("/")[0]
        if name == "iterations":  # Keras 3.1 to 3.4, where Adafactor's dummies were of the default type
            site.count_name, site.placeholder = name, "float32"
    listed = children.get("_variables")
    if old.kind is Kind.REWRITTEN and listed is not None and name is not None:
        first = objects.node(listed).children.get("0")
        site.counted = first is None or first == children[name]
        if first is not None:
            slot_name = next((objects.node(each).full_name for at, each in objects.graph.listed(listed) if at > 0), "")
            site.old_name = site.old_name or slot_name.partition("/")[0]


def _float_dtype(optimizer: PlannedOptimizer, objects: Objects) -> str:
    """The type of scalars: float64 only where the whole model is (`keras.backend.set_floatx`)."""
    trained = set(optimizer.trained)
    dtypes = {each.tensor.dtype for each in objects.variables if each.path in trained}
    return "float64" if dtypes == {"float64"} else "float32"


def unlinked(report: BundleReport) -> tuple[str, ...]:
    """Says which files could not be shared."""
    if not report.unlinked:
        return ()
    names = ", ".join(report.unlinked)
    return (f"copied, not linked, as the file system of the output is another one or has no hard links: {names}",)
