"""What a model's configuration says of its layers: names, classes, and the groups that they are saved in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ckptdoctor.formats.keras.layers import snake_case
from ckptdoctor.formats.keras.nodes import CONTAINERS, SavedNode


def layer_configs(config: object) -> list[Mapping[str, object]]:
    """The layers of a Sequential or Functional configuration, in `model.layers` order; empty for everything else."""
    inner = config.get("config") if isinstance(config, Mapping) else None
    layers = inner.get("layers") if isinstance(inner, Mapping) else inner  # Keras before 2.2.3: a bare list
    return [each for each in layers if isinstance(each, Mapping)] if isinstance(layers, list) else []


def settings_of(layer: Mapping[str, object] | None) -> Mapping[str, object]:
    """The arguments of a layer's class."""
    inner = layer.get("config") if layer is not None else None
    return inner if isinstance(inner, Mapping) else {}


def name_of(layer: Mapping[str, object]) -> str:
    """What a layer is called; "" if it has no name."""
    name = settings_of(layer).get("name") or layer.get("name")
    return name if isinstance(name, str) else ""


def class_of(layer: Mapping[str, object] | None) -> str:
    """The class of a layer without the package that registered it; "" if that is not told."""
    name = layer.get("class_name") if layer is not None else None
    return name.rpartition(">")[2] if isinstance(name, str) else ""


def is_frozen(layer: Mapping[str, object] | None) -> bool:
    """Whether a layer is switched off."""
    return settings_of(layer).get("trainable") is False


def wrapped_in(layer: Mapping[str, object]) -> Mapping[str, object] | None:
    """The layer, or the cell, that a layer is around."""
    inner = settings_of(layer).get("layer") or settings_of(layer).get("cell")
    return inner if isinstance(inner, Mapping) else None


def inner_config(layer: Mapping[str, object] | None, group: str) -> Mapping[str, object] | None:
    """The configuration of a wrapper's or a Bidirectional's inner layer."""
    if layer is None:
        return None
    if group == "backward_layer":
        backward = settings_of(layer).get("backward_layer")
        return backward if isinstance(backward, Mapping) else wrapped_in(layer)
    return wrapped_in(layer) if group in {"layer", "forward_layer", "cell"} else None


def layer_groups(
    holder: SavedNode, layers: Sequence[Mapping[str, object]], container: str
) -> list[tuple[str, Mapping[str, object]]]:
    """The group of each layer: its class in snake case, counted by class in the order of the list.

    TensorFlow 2.12 and 2.13 walk a dictionary that holds layers with weights a second time, so that those count twice.

    Args:
        holder: The group that the layers are in.
        layers: Their configurations.
        container: The name of that group.
    """
    twice = container == CONTAINERS[1]
    used: Counter[str] = Counter()
    found: list[tuple[str, Mapping[str, object]]] = []
    for layer in layers:
        kind = snake_case(class_of(layer))
        group = f"{kind}_{used[kind]}" if used[kind] else kind
        node = holder.children.get(group)
        used[kind] += 2 if twice and node is not None and node.has_weights else 1
        if node is not None:
            found.append((group, layer))
    return found
