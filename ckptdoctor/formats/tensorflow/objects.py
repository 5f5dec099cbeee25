"""Which node of a trackable object graph is what: optimizers, their variables, model variables, counters, metrics.

Attribute names are the user's choice, and a checkpoint key only tells by which path the walk came first (Keras 3 keeps
model weights under `optimizer/_trainable_variables`), so nodes are told apart by their children alone.
"""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from ckptdoctor.containers.bundles.graph_nodes import Node
from ckptdoctor.containers.bundles.object_graph import ObjectGraph
from ckptdoctor.containers.bundles.reading import TensorBundle
from ckptdoctor.containers.tensors.dtypes import INTEGRAL
from ckptdoctor.errors import LimitExceeded
from ckptdoctor.references import TensorRef
from ckptdoctor.state import ModelVariable

# Children through which Keras objects hang metrics and bookkeeping onto a model: what is reachable only through them is
# not the model's. `_all_variables` is the second copy of every weight in a Keras 3 export.
_NOT_MODEL = frozenset({
    "keras_api", "_compile_metrics", "_loss_tracker", "_metrics", "compiled_metrics", "compiled_loss",
    "_all_variables", "_train_counter", "_test_counter", "_predict_counter", "_compile_loss",
})  # fmt: skip
_TELLING = frozenset({"_iterations", "iterations", "iter", "beta1_power", "decay"})
"""A child by one of these names is what every optimizer with state has, unless it links slots."""
_COUNTERS = frozenset({"step", "global_step", "epoch", "save_counter", "iteration", "iterations", "batch", "counter"})
_INNER = ("inner_optimizer", "base_optimizer", "_optimizer")
# Keras' own names for weights that no optimizer trains (BatchNormalization, Normalization, SeedGenerator).
NON_TRAINABLE = frozenset(
    {"moving_mean", "moving_variance", "seed_generator_state", "_moving_mean", "_moving_variance"}
)


_SHARED, _SHARED_FLOOR = 4, 100_000


class Kind(Enum):
    """How an optimizer's state lies in the graph."""

    LEGACY = "legacy"
    """OptimizerV2: `iter`, hyperparameters as variables, slots linked by the optimizer node."""
    TF1 = "tf1"
    """A tf.compat.v1 optimizer: linked slots, beta powers, no count."""
    REWRITTEN = "rewritten"
    """Keras 2.11+: `_variables`, `_iterations`, one list a slot kind."""
    KERAS3 = "keras3"
    """Keras 3: the same, with `_trainable_variables`."""
    EMPTY = "empty"
    """An optimizer that never stepped and left nothing."""


class OptimizerNode(NamedTuple):
    """An optimizer found in the graph.

    Attributes:
        number: That of the node that holds the state.
        path: Where it hangs.
        kind: How its state lies.
        outer: The node of a wrapper around it, where that is another one.
        inner: Optimizers that it holds, each inside the one before it: tensorflow_addons' Lookahead, SWA and the like
            link slots of their own, count, and leave the rest to the innermost.
    """

    number: int
    path: str
    kind: Kind
    outer: int | None = None
    inner: tuple[int, ...] = ()


class Objects:
    """The graph, classified.

    Attributes:
        graph: The graph.
        bundle: Its tensors.
        optimizers: Every optimizer, by path.
        variables: The model's variables.
        by_node: Node → model variable.
        object_paths: Path of a model variable → its path through the objects.
        counters: Whole-number scalars that are neither the model's nor an optimizer's.
        others: Everything else that holds a value.
        identifiers: A SavedModel's record of what each node is.
    """

    def __init__(self, graph: ObjectGraph, bundle: TensorBundle, identifiers: Mapping[int, str]) -> None:
        self.graph, self.bundle, self.identifiers = graph, bundle, identifiers
        self.optimizers: tuple[OptimizerNode, ...] = ()
        self.variables: tuple[ModelVariable, ...] = ()
        self.by_node: dict[int, ModelVariable] = {}
        self.object_paths: dict[str, str] = {}
        self.counters: dict[str, TensorRef] = {}
        self.others: tuple[TensorRef, ...] = ()

    def node(self, index: int) -> Node:
        """The node with this index."""
        return self.graph.nodes[index]

    def tensor(self, index: int) -> TensorRef | None:
        """The value of a variable node; None if it is no variable or its value was not stored."""
        key = self.graph.nodes[index].key
        return None if key is None else self.bundle.tensors.get(key)

    def child(self, index: int, *names: str) -> int | None:
        """The first child with one of these names."""
        children = self.graph.nodes[index].children
        return next((children[name] for name in names if name in children), None)


def classify(
    graph: ObjectGraph,
    bundle: TensorBundle,
    *,
    identifiers: Mapping[int, str] | None = None,
    trainable: Mapping[int, bool] | None = None,
) -> Objects:
    """Sorts a graph's nodes.

    Args:
        graph: The trackable object graph.
        bundle: The tensors that it refers to.
        identifiers: A SavedModel's record of what each node is.
        trainable: A SavedModel's record of which variables are trainable.
    """
    objects = Objects(graph, bundle, identifiers or {})
    paths = graph.paths()
    objects.optimizers = _optimizers(graph, paths, objects.identifiers)
    _require_own_lists(graph, objects.optimizers)
    owned = _owned(graph, objects.optimizers)
    _sort_variables(objects, paths, owned, trainable or {})
    return objects


def _optimizers(
    graph: ObjectGraph, paths: Mapping[int, str], identifiers: Mapping[int, str]
) -> tuple[OptimizerNode, ...]:
    kinds: dict[int, Kind] = {}
    nodes = graph.nodes
    for index in paths:
        children, _, _, slots, _ = nodes[index]
        if slots or index in identifiers or (children and not _TELLING.isdisjoint(children)):
            kind = _kind(graph, index, identifiers.get(index, ""))
            if kind is not None:
                kinds[index] = kind
    for index, path in paths.items():
        # A legacy optimizer that never stepped leaves a node without children; only its name tells.
        if path.endswith("optimizer") and index not in kinds and _last(path) == "optimizer":
            node = nodes[index]
            if not node.children and not node.others and node.key is None:
                kinds[index] = Kind.EMPTY
    found: list[OptimizerNode] = []
    inner = {
        graph.nodes[index].children[name]: index
        for index in kinds
        for name in _INNER
        if name in graph.nodes[index].children
    }
    held = _held(graph, kinds)
    for index, kind in kinds.items():
        if index in held:
            continue  # it is reported with the one that holds it
        outer = inner.get(index)
        if outer is not None and kind is Kind.EMPTY:
            continue  # Keras 2's LossScaleOptimizer keeps its base optimizer's state on its own node
        if outer is None and kind is Kind.KERAS3 and "inner_optimizer" in graph.nodes[index].children:
            continue  # Keras 3's keeps it on the inner node, which is reported with this one as its wrapper
        if outer is not None and kind is not Kind.KERAS3:
            continue
        chain = [index]
        while (below := next((each for each, around in held.items() if around == chain[-1]), None)) is not None:
            chain.append(below)
        found.append(OptimizerNode(index, paths[index if outer is None else outer], kind, outer, tuple(chain[1:])))
    return tuple(sorted(found, key=lambda each: each.path))


_RATES = frozenset({"learning_rate", "decay"})


def _held(graph: ObjectGraph, kinds: Mapping[int, Kind]) -> dict[int, int]:
    """Optimizers inside others that link slots of their own: inner node → outer node."""
    found: dict[int, int] = {}
    for index, kind in kinds.items():
        node = graph.nodes[index]
        if kind not in {Kind.LEGACY, Kind.TF1} or not node.slots:
            continue
        for name, child in node.children.items():
            inside = graph.nodes[child]
            known = kinds.get(child) in {Kind.LEGACY, Kind.TF1} or not _RATES.isdisjoint(inside.children)
            if name.endswith("optimizer") and name not in _INNER and child != index and known:
                found.setdefault(child, index)
    return {inner: outer for inner, outer in found.items() if found.get(outer) != inner}


def _require_own_lists(graph: ObjectGraph, optimizers: tuple[OptimizerNode, ...]) -> None:
    """Refuses thousands of optimizers that share their lists, which would be read once for each of them."""
    nodes = graph.nodes
    listed = sum(len(nodes[child].children) for each in optimizers for child in nodes[each.number].children.values())
    if listed > _SHARED_FLOOR and listed > _SHARED * sum(len(node.children) for node in nodes):
        raise LimitExceeded(f"{len(optimizers):,} optimizers share their variables: the object graph is hostile")


def _kind(graph: ObjectGraph, index: int, identifier: str) -> Kind | None:
    node = graph.nodes[index]
    children = node.children
    if "_variables" in children and ("_iterations" in children or "iterations" in children):
        return Kind.KERAS3 if "_trainable_variables" in children else Kind.REWRITTEN
    count = children.get("iter")
    if count is not None and graph.nodes[count].is_variable:
        return Kind.LEGACY
    if children.keys() >= _RATES or (node.slots and not _RATES.isdisjoint(children)):
        return Kind.LEGACY  # an Estimator's: its count is the global step
    if node.slots:
        return Kind.TF1
    if "beta1_power" in children and "beta2_power" in children:
        return Kind.TF1
    if identifier in {"optimizer", "experimentalOptimizer"} and not children:
        return Kind.EMPTY
    return None


def _owned(graph: ObjectGraph, optimizers: tuple[OptimizerNode, ...]) -> set[int]:
    """Every node below an optimizer, and its slot nodes; what it merely trains is not its own."""
    owned: set[int] = set()
    nodes = graph.nodes
    roots = [each.number for each in optimizers] + [each.outer for each in optimizers if each.outer is not None]
    stack = list(roots)
    while stack:
        index = stack.pop()
        if index in owned:
            continue
        owned.add(index)
        children, _, _, slots, _ = nodes[index]
        below = {child for name, child in children.items() if name != "_trainable_variables"}
        below.update([slot for _, _, slot in slots])
        further = [each for each in below if nodes[each].children or nodes[each].slots]
        stack += further
        owned |= below.difference(further)
    for index in roots:
        trained = graph.nodes[index].children.get("_trainable_variables")
        if trained is not None:
            owned.add(trained)
            owned -= {child for _, child in graph.listed(trained)}
        owned -= {variable for variable, _, _ in graph.nodes[index].slots}
    return owned


def counter_beside(objects: Objects, node: OptimizerNode) -> int | None:
    """The count of an optimizer without one of its own: what its program calls the global step.

    Keras keeps it beside a tf.compat.v1 optimizer that it wraps (TFOptimizer), Estimators at the root.
    """
    nodes = objects.graph.nodes
    if "iter" in nodes[node.number].children:
        return None
    for each in nodes:
        if each.children.get("optimizer") == node.number and "global_step" in each.children:
            return each.children["global_step"]
    return nodes[0].children.get("estimator_global_step") if nodes and node.kind is Kind.LEGACY else None


def _sort_variables(objects: Objects, paths: Mapping[int, str], owned: set[int], trainable: Mapping[int, bool]) -> None:
    graph = objects.graph
    skip = _NOT_MODEL | {path.rpartition("/")[2] for each in objects.optimizers if (path := each.path)}
    model_paths = graph.paths(skip=skip)
    trained = {
        child
        for each in objects.optimizers
        if (listed := objects.child(each.number, "_trainable_variables")) is not None
        for _, child in graph.listed(listed)
    }
    linked = {
        variable
        for each in objects.optimizers
        for index in (each.number, *each.inner)
        for variable, _, _ in objects.node(index).slots
    }
    tensors = objects.bundle.tensors
    model: list[tuple[int, TensorRef, str, str]] = []
    others: list[TensorRef] = []
    for index, (_, key, full_name, _, saved) in enumerate(graph.nodes):
        if saved:
            others += [tensors[other] for _, other in saved if other in tensors]
        if key is None or index in owned or (ref := tensors.get(key)) is None:
            continue
        within = model_paths.get(index)
        path = paths.get(index, "") if within is None else within
        if not ref.shape and ref.dtype in INTEGRAL and ("/" not in path or _last(path) in _COUNTERS):
            objects.counters[_last(path) or full_name] = ref
        elif ref.dtype == "string" or not (within is not None or index in linked or index in trained):
            others.append(ref)
        else:
            model.append((index, ref, path, full_name))
    full = {full_name for _, _, _, full_name in model}
    # The names that a person gave, if they tell the variables apart; else the paths through the objects do.
    use_full = len(full) == len(model) and "" not in full
    new = tuple.__new__  # what the named tuple's constructor calls: this runs once per variable
    for index, ref, path, full_name in model:
        name, alias = (full_name, path) if use_full else (path, full_name)
        flag = trainable.get(index)
        if flag is None and (index in linked or index in trained):
            flag = True
        elif flag is None and (
            ref.dtype in INTEGRAL or _last(full_name) in NON_TRAINABLE or _last(path) in NON_TRAINABLE
        ):
            flag = False
        aliases = (alias,) if alias and alias != name else ()
        objects.by_node[index] = new(ModelVariable, (name, ref, flag, aliases))
        objects.object_paths[name] = path
    objects.variables = tuple(objects.by_node.values())
    objects.others = tuple(others)


def _last(path: str) -> str:
    return path.rpartition("/")[2]
