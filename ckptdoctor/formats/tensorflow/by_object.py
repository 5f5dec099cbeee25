"""The variables of a Keras model in an object graph, found by the way that its objects hang together."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from ckptdoctor.containers.bundles.object_graph import ObjectGraph, read_object_graph
from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.keras.object_paths import ObjectPaths, Steps, object_paths
from ckptdoctor.state import Generation, ModelVariable

_NUMBERED = re.compile(r"(layer-)?\d+")
_MARKS = {Generation.KERAS3: ("_operations", "_functional"), Generation.KERAS2: ("layer-0",)}
"""A child that every model of more than one layer has, whose layers Keras lists."""


class _Model(NamedTuple):
    """A model's node, what leads to it, and the objects that it is of."""

    node: int
    path: str
    generation: Generation


def variables_by_object(prefix: str, config: object, variables: Sequence[ModelVariable]) -> dict[str, str]:
    """Key of each variable of an archive → the key of the same variable in a checkpoint of its model.

    Args:
        prefix: The checkpoint.
        config: The model's configuration.
        variables: Its variables as they are read from a `.keras` archive. Those without a place in any object graph are
            not in the answer.

    Raises:
        GraftRefused: The checkpoint holds no such model, or several.
        UnreadableArtifact: It is corrupt.
    """
    graph = read_object_graph(read_bundle(prefix))
    if graph is None:
        raise GraftRefused(
            "it is a checkpoint of names (tf.compat.v1.train.Saver), which tell no layer of Keras", prefix
        )
    models = _models(graph)
    if not models:
        raise GraftRefused("it holds no Sequential or functional model of Keras", prefix)
    found: dict[str, dict[str, str]] = {}
    why = ""
    for each in models:
        ways = object_paths(config, variables, each.generation)
        try:
            found[each.path] = _keys(graph, each.node, ways)
        except GraftRefused as error:
            why = why or error.message
    if not found:
        raise GraftRefused(f"its model is not the one of the configuration: {why}", prefix)
    if len(found) > 1:
        raise GraftRefused(f"it holds several models of this configuration: {', '.join(found)}", prefix)
    return next(iter(found.values()))


def _models(graph: ObjectGraph) -> list[_Model]:
    """The outermost models of a graph, each before those within it: they are a part of it."""
    found: list[_Model] = []
    inside: set[int] = set()
    for index, path in graph.paths().items():
        children = graph.nodes[index].children
        generation = next((each for each, marks in _MARKS.items() if any(mark in children for mark in marks)), None)
        if generation is None or index in inside:
            continue
        found.append(_Model(index, path, generation))
        stack = list(children.values())
        while stack:
            at = stack.pop()
            if at not in inside:
                inside.add(at)
                stack += graph.nodes[at].children.values()
    return found


def _keys(graph: ObjectGraph, model: int, ways: ObjectPaths) -> dict[str, str]:
    """Raises GraftRefused where the model has other layers, or other weights in them."""
    for steps, names in ways.lists.items():
        node = _follow(graph, model, steps)
        there = (
            {name for name in graph.nodes[node].children if _NUMBERED.fullmatch(name)} if node is not None else set()
        )
        if there != set(names):
            raise GraftRefused(f"it has {len(there)} layers where the configuration has {len(names)}")
    found: dict[str, str] = {}
    for variable, steps in ways.variables:
        node = _follow(graph, model, steps)
        key = None if node is None else graph.nodes[node].key
        if key is None:
            raise GraftRefused(f"it has no {variable.path} where the configuration has one")
        found[variable.tensor.key] = key
    return found


def _follow(graph: ObjectGraph, node: int | None, steps: Steps) -> int | None:
    """The node at the end of a way; None if it ends before."""
    for names in steps:
        children = {} if node is None else graph.nodes[node].children
        node = next((children[name] for name in names if name in children), None)
    return node
