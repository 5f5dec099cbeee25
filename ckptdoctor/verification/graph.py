"""The object graph of a checkpoint as the child rebuilds it: plain objects, variables, and places for optimizers."""

from typing import Any, NamedTuple

from ckptdoctor.containers.bundles.object_graph import read_object_graph
from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.formats.tensorflow.objects import Objects, OptimizerNode, classify
from ckptdoctor.verification.trained import Trained

_REBUILT = frozenset(
    {"float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool", "string"}
)


class Rebuilt(NamedTuple):
    """A graph for the child.

    Attributes:
        objects: The classified graph that it was made from.
        request: Its nodes, as the request carries them.
        place: Node of the checkpoint → node of the request.
    """

    objects: Objects
    request: dict[str, Any]
    place: dict[int, int]


def rebuild(prefix: str) -> Rebuilt | None:
    """Reads a checkpoint's graph; None if it is name-based."""
    bundle = read_bundle(prefix)
    graph = read_object_graph(bundle)
    if graph is None:
        return None
    objects = classify(graph, bundle)
    own = {each.number for each in objects.optimizers} | {each.outer for each in objects.optimizers}
    place = {0: 0}
    queue = [0]
    for index in queue:
        for child in graph.nodes[index].children.values():
            if child not in place and child not in own:
                place[child] = len(place)
                queue.append(child)
    nodes = []
    for index in queue:
        node = graph.nodes[index]
        ref = objects.tensor(index)
        known = ref is not None and ref.dtype in _REBUILT
        children = [] if ref is not None else list(node.children.items())
        nodes.append({
            "name": node.full_name,
            "shape": list(ref.shape) if ref is not None and known else None,
            "dtype": ref.dtype if ref is not None and known else None,
            "children": [[name, place[child]] for name, child in children if child in place],
        })  # fmt: skip
    return Rebuilt(objects, {"nodes": nodes}, place)


def optimizer(rebuilt: Rebuilt, name: str, trained: list[Trained]) -> dict[str, Any]:
    """Where an optimizer hangs, and which nodes it trains, in its order."""
    objects = rebuilt.objects
    found = next((each for each in objects.optimizers if each.path == name), None)
    by_path = {variable.path: index for index, variable in objects.by_node.items()}
    listed = _listed(objects, found)
    variables = [objects.by_node[index] for index in listed if index in objects.by_node]
    if variables and len(variables) == len(listed):
        # Keras 3 records what it trains: also what has no slots.
        trained[:] = [
            next((each for each in trained if each.label == variable.path), None)
            or Trained(variable.path, (variable.path, *variable.aliases), variable.tensor.shape, variable.tensor.dtype)
            for variable in variables
        ]
    return {
        "attached": _attached(rebuilt, found),
        "trained": [
            {
                "path": each.label,
                "shape": list(each.shape),
                "dtype": each.dtype,
                "node": rebuilt.place.get(by_path.get(each.label, -1)),
            }
            for each in trained
        ],
    }


def _listed(objects: Objects, found: OptimizerNode | None) -> list[int]:
    trained = objects.child(found.number, "_trainable_variables") if found else None
    return [] if trained is None else [child for _, child in objects.graph.listed(trained)]


def _attached(rebuilt: Rebuilt, found: OptimizerNode | None) -> list[list[Any]]:
    """Every parent and name under which the graph has the optimizer."""
    if found is None:
        return []
    target = found.number if found.outer is None else found.outer
    nodes = rebuilt.objects.graph.nodes
    return [
        [place, name]
        for index, place in rebuilt.place.items()
        for name, child in nodes[index].children.items()
        if child == target
    ]
