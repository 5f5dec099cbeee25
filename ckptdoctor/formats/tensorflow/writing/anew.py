"""A checkpoint of a Keras model, as tf.train.Checkpoint(model=model, optimizer=optimizer) writes it.

Objects are found again by what they are called, not by the key of their value: of attributes that have several names by
version the graph has each.
"""

from __future__ import annotations

from ckptdoctor.containers.bundles.graph_nodes import VARIABLE_VALUE
from ckptdoctor.containers.bundles.object_graph import GRAPH_KEY
from ckptdoctor.containers.bundles.writing import NewTensor, Text, write_bundle
from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.keras.archive import describe
from ckptdoctor.formats.keras.object_paths import Steps, object_paths
from ckptdoctor.formats.tensorflow.writing.graph_editor import SUFFIX, escaped
from ckptdoctor.optimizers.dialects import dialect, of_keras
from ckptdoctor.state import TrainingState
from ckptdoctor.words import enumerate_some

MODEL, OPTIMIZER = "model", "optimizer"


def create(state: TrainingState, source: str, output: str, *, progress: Progress | None = None) -> Written:
    """Writes the model of a `.keras` archive as a checkpoint, without its optimizer: a graft puts that in.

    Args:
        state: What the archive holds.
        source: Where it is.
        output: The checkpoint's prefix.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: Only the model's code knows how its objects hang together.
        UnreadableArtifact: The archive is broken.
    """
    version, config = describe(source)
    generation = of_keras(version)
    if generation is None:
        raise GraftRefused("its metadata.json does not say which Keras wrote it, whose objects differ", source)
    ways = object_paths(config, state.variables, generation)
    if not ways.variables:
        raise GraftRefused("it holds no weights that could be read", source)
    graph, tensors = _Graph(), {}
    for steps, names in ways.lists.items():
        for name in names:  # those without weights too
            graph.node(((MODEL,), *steps, (name,)))
    for variable, steps in ways.variables:
        key = graph.variable(((MODEL,), *steps), variable.path)
        tensors[key] = NewTensor(variable.tensor.dtype, variable.tensor.shape, variable.tensor)
    if any(each.has_state and each.wrapper is None for each in state.optimizers):
        graph.optimizer()
    text = NewTensor("string", (), Text(graph.proto.SerializeToString()))
    report = write_bundle(output, {**tensors, GRAPH_KEY: text}, progress=progress)
    pairs = dict(zip((each.path for each, _ in ways.variables), tensors, strict=True))
    return Written(_notes(state, [each.path for each in ways.untracked]), report.new, pairs=pairs)


def _notes(state: TrainingState, untracked: list[str]) -> tuple[str, ...]:
    generation = of_keras(state.producer.version)
    call = (
        f"restore it in a program of {dialect(generation).title} with tf.train.Checkpoint(model=model, "
        "optimizer=model.optimizer).read('OUT')"
    )
    notes = [call, "the model's configuration and how it was compiled stay behind"]
    if untracked:
        notes.append(f"TensorFlow's checkpoints have no place for {enumerate_some(untracked, 4)}, which stay behind")
    return tuple(notes)


class _Graph:
    """An object graph that grows by ways through it."""

    def __init__(self) -> None:
        self.proto = pb.TrackableObjectGraph()
        self._children: list[dict[str, int]] = []
        self._add()

    def _add(self) -> int:
        self.proto.nodes.add()
        self._children.append({})
        return len(self._children) - 1

    def node(self, steps: Steps) -> int:
        """The object at the end of a way."""
        at = 0
        for names in steps:
            child = self._children[at].get(names[0])
            if child is None:
                child = self._add()
                for name in names:
                    self._children[at][name] = child
                    self.proto.nodes[at].children.add(node_id=child, local_name=name)
            at = child
        return at

    def variable(self, steps: Steps, full_name: str) -> str:
        """Adds a variable; answers the key of its value."""
        at = self.node(steps)
        key = "/".join(escaped(names[0]) for names in steps) + SUFFIX
        self.proto.nodes[at].attributes.add(name=VARIABLE_VALUE, full_name=full_name, checkpoint_key=key)
        return key

    def optimizer(self) -> None:
        """Adds the place of an optimizer, which a compiled model and the checkpoint both have."""
        node = self._add()
        for at in (0, self._children[0][MODEL]):
            self.proto.nodes[at].children.add(node_id=node, local_name=OPTIMIZER)
