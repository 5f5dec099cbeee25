"""The order of variables that share one full name, by what each object of the graph is."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ckptdoctor.containers.bundles.graph_nodes import Node
from ckptdoctor.containers.bundles.object_graph import ObjectGraph
from ckptdoctor.containers.bundles.reading import TensorBundle
from ckptdoctor.formats.tensorflow.objects import Objects, classify
from ckptdoctor.formats.tensorflow.training_order import in_order_of_training
from ckptdoctor.references import TensorRef


def graph_of(paths: list[str], full_name: str, kinds: Mapping[str, str] | None = None) -> Objects:
    """A graph whose variables lie at these paths and are all called the same."""
    nodes = [Node({}, None, "", (), ())]
    places = {"": 0}
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            here = "/".join(parts[:depth])
            if here not in places:
                places[here] = len(nodes)
                nodes[places["/".join(parts[: depth - 1])]].children[parts[depth - 1]] = len(nodes)
                last = depth == len(parts)
                nodes.append(Node({}, here if last else None, full_name if last else "", (), ()))
    tensors = {path: TensorRef(path, "float32", (3,), None) for path in paths}
    identifiers = {places[path]: kind for path, kind in (kinds or {}).items()}
    return classify(ObjectGraph(tuple(nodes)), TensorBundle("ckpt", tensors, {}, 1), identifiers=identifiers)


@pytest.mark.parametrize(
    ("paths", "kinds", "expected"),
    [
        # A list, by number; the layers of a functional model, which have attributes in the order of assignment.
        (["m/blocks/10/w", "m/blocks/2/w"], {}, ["m/blocks/2/w", "m/blocks/10/w"]),
        (["m/layer-1/z/w", "m/layer-1/a/w"], {}, ["m/layer-1/z/w", "m/layer-1/a/w"]),
        # Attributes of a layer, or keys of a dictionary: told where both rules say the same, and in a SavedModel.
        (["m/x/z/w", "m/x/a/w"], {}, [None, None]),
        (["m/x/a/w", "m/x/z/w"], {}, ["m/x/a/w", "m/x/z/w"]),
        (["m/x/c/w", "m/x/b/w", "m/x/a/w"], {}, [None, "m/x/b/w", None]),
        (["m/x/z/w", "m/x/a/w"], {"m/x": "_tf_keras_layer"}, ["m/x/z/w", "m/x/a/w"]),
        (["m/x/z/w", "m/x/a/w"], {"m/x": "trackable_dict_wrapper"}, ["m/x/a/w", "m/x/z/w"]),
        # A root that is a model; one that is a Checkpoint of two, which anybody may train in any order.
        (["z/w", "a/w"], {}, ["z/w", "a/w"]),
        (["decoder/w", "encoder/w"], {}, [None, None]),
    ],
)
def test_order_by_what_an_object_is(paths: list[str], kinds: Mapping[str, str], expected: list[str | None]) -> None:
    """Lists and layers are in the graph's order, dictionaries sorted, and what may be either is not told."""
    objects = graph_of(paths, "net/w", kinds)
    placed = in_order_of_training(objects, "net/w", objects.variables)
    assert [each and each.path for each in placed] == expected


def test_a_deep_graph_ends() -> None:
    """Objects nested deeper than any program's leave their order untold, and no error."""
    deep = "/".join(["m"] * 300)
    objects = graph_of([f"{deep}/0/w", f"{deep}/1/w"], "net/w")
    assert in_order_of_training(objects, "net/w", objects.variables) == [None, None]
