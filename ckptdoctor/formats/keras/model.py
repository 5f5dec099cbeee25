"""The model's variables: what they are called, which of them are trained, and in which order the optimizer holds them.

Two layouts, one question. The legacy HDF5 layout lists layers and names weights (`read_layer_lists`); the layout of
`.keras` and `.weights.h5` is a tree of groups named after classes and counted (`read_tree`), to which `config.json` is
the key. The orders that come out are candidates: what is frozen today may have been trained when the state was built.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ckptdoctor.containers.tensors.dtypes import INTEGRAL
from ckptdoctor.formats.keras.configurations import (
    class_of,
    inner_config,
    is_frozen,
    layer_configs,
    layer_groups,
    name_of,
    settings_of,
    wrapped_in,
)  # fmt: skip
from ckptdoctor.formats.keras.layers import (
    BUILT_IN,
    UNTRAINED_CLASSES,
    UNTRAINED_NAMES,
    class_of_group,
    described,
    is_described,
    snake_case,
    untrained,
    weight_names,
)  # fmt: skip
from ckptdoctor.formats.keras.nodes import CONTAINERS, MAX_DEPTH, SavedNode, counted, ordered_children
from ckptdoctor.optimizers.keras.naming import plain
from ckptdoctor.optimizers.lists.loose import Loose, LooseLink
from ckptdoctor.optimizers.lists.state import Orders
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, ModelVariable
from ckptdoctor.versions import release

_MODEL_CLASSES = frozenset({"Sequential", "Functional", "Model"})
_WITHOUT_GRADIENT = INTEGRAL | {"bool", "string"}


class Model(NamedTuple):
    """A model's variables and the orders in which its optimizer may hold them.

    Attributes:
        variables: In the model's order.
        orders: Likeliest first; the last is the widest.
        loose: Path of each variable that is in an object whose place among its siblings nothing tells, to these.
    """

    variables: tuple[ModelVariable, ...] = ()
    orders: Orders = ()
    loose: Loose = MappingProxyType({})


class _Found(NamedTuple):
    """A variable on its way: `never` marks what no optimizer trains, `frozen` what is switched off today."""

    path: str
    tensor: TensorRef
    never: bool
    frozen: bool
    aliases: tuple[str, ...] = ()
    told: bool = True
    """Whether the artifact tells if it is frozen."""
    loose: tuple[LooseLink, ...] = ()


def _finish(found: Sequence[_Found], *others: Sequence[_Found]) -> Model:
    """Makes paths unique and derives the orders: those of the model, or of the training orders given instead."""
    used: Counter[str] = Counter()
    variables: dict[int, ModelVariable] = {}
    for each in found:
        used[each.path] += 1
        path = each.path if used[each.path] == 1 else f"{each.path}#{used[each.path]}"
        trainable = False if each.never or each.frozen else (True if each.told else None)
        variables[id(each)] = ModelVariable(path, each.tensor, trainable, tuple(dict.fromkeys(each.aliases)))
    trainings = others or (tuple(found),)
    now = [tuple(variables[id(each)] for each in one if not each.never and not each.frozen) for one in trainings]
    once = [tuple(variables[id(each)] for each in one if not each.never) for one in trainings]
    orders = [*now, *once, tuple(variables[id(each)] for each in trainings[0])]
    loose = {variables[id(each)].path: each.loose for each in found if each.loose}
    return Model(tuple(variables.values()), tuple(dict.fromkeys(orders)), loose)


# ---------------------------------------------------------------------------------------- the legacy HDF5 layout


class LayerWeights(NamedTuple):
    """A layer of `model_weights`: its name and its weights by name, in the order of `weight_names`."""

    name: str
    weights: tuple[tuple[str, TensorRef], ...]


TOP_LEVEL = "top_level_model_weights"


def read_layer_lists(layers: Sequence[LayerWeights], config: object, version: str | None) -> Model:
    """The model of a legacy HDF5 file.

    Args:
        layers: In the order of `layer_names`.
        config: `model_config`, parsed; None in a file of weights.
        version: `keras_version`.
    """
    described = {name_of(each): each for each in layer_configs(config)}
    all_frozen = isinstance(config, Mapping) and is_frozen(config)
    found: list[_Found] = []
    used = Counter(plain(name) for layer in layers for name, _ in layer.weights)
    for layer in layers:
        about = described.get(layer.name)
        for name, tensor in layer.weights:
            bare = plain(name)
            last = bare.rpartition("/")[2]
            leaf = _leaf(about, name, last)
            never = tensor.dtype in _WITHOUT_GRADIENT or _is_untrained_name(last) or _adds(leaf.layer, last)
            never = never or class_of(leaf.layer) in UNTRAINED_CLASSES
            unique = "/" in bare or (used[bare] == 1 and layer.name in bare)
            path = bare if unique or layer.name == TOP_LEVEL else f"{layer.name}/{bare}"
            # A nested model's weights may repeat a name of the outer model's.
            path = path if used[bare] == 1 or not unique else f"{layer.name}/{bare}"
            found.append(_Found(path, tensor, never, leaf.frozen or all_frozen, (name, bare), leaf.told))
    major = (version or "").partition(".")[0]
    if version and major in {"1", "2"} and not version.endswith("-tf"):
        by_name = sorted(found, key=lambda each: each.aliases[0])
        return _finish(found, by_name, found) if _sorts(version) else _finish(found, found, by_name)
    if major == "3":
        top = [each for layer in layers if layer.name == TOP_LEVEL for each in _of(found, layer)]
        return _finish(found, [*top, *(each for each in found if each not in top)])
    return _finish(found)


def _sorts(version: str) -> bool:
    """Whether this Keras sorts the trainable weights by name before it makes the optimizer: up to 2.0.5 it did.

    Source: `Model._make_train_function`, keras/engine/training.py.
    """
    return release(version, 3) < (2, 0, 6)


def _of(found: Iterable[_Found], layer: LayerWeights) -> list[_Found]:
    tensors = {id(tensor) for _, tensor in layer.weights}
    return [each for each in found if id(each.tensor) in tensors]


def _is_untrained_name(last: str) -> bool:
    """`moving_mean`; Keras 1 put the layer's name in front: `batchnormalization_1_running_mean`."""
    return last in UNTRAINED_NAMES or last.endswith(
        ("_running_mean", "_running_std", "_moving_mean", "_moving_variance")
    )


class _Leaf(NamedTuple):
    """The innermost layer that a weight's name points to.

    Attributes:
        layer: Its configuration.
        frozen: Whether it or anything around it is frozen.
        told: Whether that, and its class, is all there is to know.
    """

    layer: Mapping[str, object] | None
    frozen: bool = False
    told: bool = False


def _adds(layer: Mapping[str, object] | None, last: str) -> bool:
    """Whether a weight, by the last part of its name, is what a layer around another one adds to it."""
    said = described(class_of(layer))
    return said is not None and said.is_untrained(last)


def _leaf(layer: Mapping[str, object] | None, weight: str, last: str) -> _Leaf:
    if layer is None:
        return _Leaf(None)
    frozen, told = is_frozen(layer), True
    for _ in range(MAX_DEPTH):
        inner = layer_configs(layer)
        wrapped = wrapped_in(layer)
        if inner:
            name = f"/{weight}"
            fits = [each for each in inner if name_of(each) and f"/{name_of(each)}/" in name]
            fits = fits or [each for each in inner if name_of(each) and name.startswith(f"/{name_of(each)}_")]
            if not fits:
                told = told and not any(is_frozen(each) for each in inner)
                break
            layer = max(fits, key=lambda each: len(name_of(each)))
        elif wrapped is not None and not _adds(layer, last):
            told = told and is_described(class_of(layer))
            layer = wrapped
        else:
            break
        frozen = frozen or is_frozen(layer)
    known = is_described(class_of(layer)) or bool(layer_configs(layer))
    return _Leaf(layer, frozen, told and known)


# ---------------------------------------------------------------------------------------------- the .keras layout


def read_tree(root: SavedNode, config: object, generation: Generation | None) -> Model:
    """The model of a `.keras` archive or a `.weights.h5` file.

    Args:
        root: The tree of saved objects, without the optimizer's and the metrics' branches.
        config: `config.json`, parsed; None where there is none.
        generation: Keras 3 trains a model's own variables first, Keras 2 last.
    """
    about = config if isinstance(config, Mapping) else None
    return _finish(list(_object(root, about, (), _Walk(generation), frozen=False)))


class _Walk(NamedTuple):
    """What stays the same on the way down."""

    generation: Generation | None
    parent: str = ""
    depth: int = 0
    told: bool = False
    """An object above is described by the configuration, and with it whether this one is frozen."""
    loose: tuple[LooseLink, ...] = ()
    """The objects above whose place among their siblings nothing tells."""


def _object(
    node: SavedNode, layer: Mapping[str, object] | None, names: tuple[str, ...], walk: _Walk, *, frozen: bool
) -> Iterator[_Found]:
    """Everything that an object and those below it store, in training order."""
    frozen = frozen or is_frozen(layer)
    class_name = class_of(layer) or class_of_group(node.group, walk.parent) or ""
    own = list(_own(node, class_name, layer, names, walk, frozen=frozen))
    # keras.Model before Keras 3 appends its own weights to those of its layers.
    last = walk.generation is Generation.KERAS2 and (class_name in _MODEL_CLASSES or not names)
    if not last:
        yield from own
    told = walk.told and (not node.children or is_described(class_name))
    below = walk._replace(parent=snake_case(class_name) or node.group, depth=walk.depth + 1, told=told)
    done: set[str] = set()
    inner = layer_configs(layer) if layer is not None and walk.depth < MAX_DEPTH else []
    container = next((each for each in CONTAINERS if inner and each in node.children), None)
    if container is not None:
        done.add(container)
        holder = node.children[container]
        inside = below._replace(told=True)
        known = layer_groups(holder, inner, container)
        for group, about in known:
            yield from _object(holder.children[group], about, (*names, name_of(about) or group), inside, frozen=frozen)
        rest = set(holder.children) - {group for group, _ in known}
        for group in counted([each for each in holder.children if each in rest]):
            yield from _child(holder.children[group], names, inside, frozen=frozen)
    for number, child in enumerate(ordered_children(class_name, node)):
        if child.group not in done:
            link = (LooseLink(id(node), number, child.stem),) if child.loose else ()
            yield from _child(
                child.node, names, below._replace(loose=walk.loose + link), frozen=frozen,
                about=inner_config(layer, child.group),
            )  # fmt: skip
    if last:
        yield from own


def _child(
    node: SavedNode, names: tuple[str, ...], walk: _Walk, *, frozen: bool, about: Mapping[str, object] | None = None
) -> Iterator[_Found]:
    """An object that no list of layers describes: a sub-layer in an attribute, or a container of some."""
    if walk.depth > 4 * MAX_DEPTH:
        return
    is_container = not node.own and node.label is None and node.group in {*CONTAINERS, "container"}
    step = () if is_container else (node.label or node.group,)
    yield from _object(node, about, (*names, *step), walk, frozen=frozen)


def _own(
    node: SavedNode,
    class_name: str,
    layer: Mapping[str, object] | None,
    names: tuple[str, ...],
    walk: _Walk,
    *,
    frozen: bool,
) -> Iterator[_Found]:
    known = weight_names(class_name, len(node.own), settings_of(layer) if layer is not None else None)
    labels = known or [re.sub(r".*/", "", tensor.key) for tensor in node.own]
    skipped = untrained(class_name, labels)
    said = described(class_name) if node.own else None
    complete = class_name in BUILT_IN if said is None else said.tells(len(node.own), known)
    told = (walk.told or layer is not None) and complete
    adapted = _lora(layer, node.own[0].shape if node.own else (), labels[0] if labels else "")
    for index, (label, tensor, skip) in enumerate(zip(labels, node.own, skipped, strict=True)):
        path = "/".join((*names, label)) if names else tensor.key  # the model's own: `vars/0`
        frozen_now = frozen or (index == 0 and bool(adapted))
        never = skip or tensor.dtype in _WITHOUT_GRADIENT
        yield _Found(path, tensor, never, frozen_now, (tensor.key,), told, walk.loose)
    for label, shape in adapted:
        tensor = TensorRef("", "", shape, None)
        yield _Found("/".join((*names, label)), tensor, False, frozen, (), told, walk.loose)


def _lora(
    layer: Mapping[str, object] | None, kernel: tuple[int, ...], label: str
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and shapes of a layer's low-rank adapters, which are trained in its kernel's place and not in the file.

    They are merged into the kernel when they are saved (`Dense.save_own_variables`), and come after the bias
    (`Dense.enable_lora`): `lora_kernel_a` with the kernel's shape but for `lora_rank` columns, then `lora_kernel_b`.
    """
    rank = settings_of(layer).get("lora_rank")
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1 or len(kernel) < 2:  # noqa: PLR2004
        return ()
    return (f"lora_{label}_a", (*kernel[:-1], rank)), (f"lora_{label}_b", (rank, kernel[-1]))
