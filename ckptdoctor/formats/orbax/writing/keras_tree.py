"""An optimizer in the tree of Keras' OrbaxCheckpoint: its leaves, named as `Model.get_state_tree()` names them.

Sources: keras.src.callbacks.orbax_checkpoint, Model.get_state_tree and Optimizer.add_variable_from_reference of Keras
3.13 to 3.15.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.containers.zarrs.writing import NewArray
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.orbax.items import Item, Leaf
from ckptdoctor.formats.orbax.keras_tree import OPTIMIZER, VARIABLES
from ckptdoctor.formats.orbax.writing.documents import JAX, ItemEdit, NewLeaf
from ckptdoctor.optimizers.keras.serialize import config_name
from ckptdoctor.optimizers.lists.elements import Element, elements, wrapper_elements
from ckptdoctor.optimizers.planned import PlannedOptimizer

_WRAPPER = "loss_scale_optimizer"
_PRODUCT, _UNNAMED = "u_product", "variable"
"""Nadam's product of decays is a variable that Keras gives no name of its own."""
_JAX_TYPES = {"int64": "int32", "float64": "float32"}
_PYTHON_TYPES = {"int32": "int64", "float32": "float64"}
"""Scalars become Python numbers where the backend is not JAX."""
_PACKED = {"int32": "<i", "int64": "<q", "float32": "<f", "float64": "<d"}


class _Folders(NamedTuple):
    """Where an optimizer's leaves go below `optimizer_variables`, as a model calls them that is loaded.

    On TensorFlow a model that trained has other names, as its variables were made within scopes: `nadam/variable`,
    `loss_scale_optimizer/adam/...`. `load_model` and an optimizer that is built before `load_weights` look for these.
    """

    own: tuple[str, ...]
    wrapper: tuple[str, ...]


def optimizer_edit(optimizer: PlannedOptimizer, tree: Item, name: str | None) -> ItemEdit:
    """Replaces the optimizer of a tree.

    Args:
        optimizer: The optimizer.
        tree: The target's tree.
        name: What its configuration calls it; None where it has none.

    Raises:
        GraftRefused: A scalar is not known, or its type cannot hold it.
    """
    paths = {leaf.path for leaf in tree.leaves}
    old = [leaf for leaf in tree.leaves if leaf.path[:1] == (OPTIMIZER,)]
    variables = {"/".join(leaf.path[1:]): leaf for leaf in tree.leaves if leaf.path[:1] and leaf.path[0] in VARIABLES}
    by_jax = any(leaf.kind == JAX for leaf in variables.values())
    folders = _folders(old, name or config_name(optimizer))
    types = {leaf.path[1:]: leaf.tensor.dtype for leaf in old if leaf.tensor is not None}
    add: list[NewLeaf] = []
    for own, each in _all(optimizer):
        path = _path(each, own, folders)
        full = (OPTIMIZER, *path)
        variable = variables.get(each.variable or "")
        array = _array(".".join(full), each, types.get(path), by_jax=by_jax)
        kind = JAX if by_jax else "np.ndarray" if array.shape else "scalar"
        like = ".".join(variable.path) if variable is not None else ""
        add.append(NewLeaf(full, (False,) * len(full), kind, array, like))
    add.sort(key=lambda leaf: leaf.path)
    gone = frozenset(leaf.path for leaf in old)
    twice = {leaf.path for leaf in add} & (paths - gone)
    if twice or len({leaf.path for leaf in add}) < len(add):
        raise GraftRefused(
            f"Keras cannot save {optimizer.class_name} with OrbaxCheckpoint: several of its variables have one path "
            f"({'/'.join(min(twice, default=add[0].path))}); graft into a `.keras` or a `.weights.h5` of the model"
        )
    return ItemEdit(gone, tuple(add))


def _all(optimizer: PlannedOptimizer) -> list[tuple[bool, Element]]:
    """Every element, and whether it is the optimizer's own, not its wrapper's."""
    around = [(False, each) for each in wrapper_elements(optimizer)]
    return around + [(True, each) for each in elements(optimizer)]


def _folders(old: Sequence[Leaf], name: str) -> _Folders:
    """Those of the target's own leaves, where there are any."""
    there = [leaf.path[1:] for leaf in old if len(leaf.path) > 1]
    counting = [path[:-1] for path in there if path[-1] == "iteration"]
    around = [path[:-1] for path in there if path[-1] == "dynamic_scale"]
    if len(counting) > 1:  # one that was never built has a count and no scale
        around += [each for each in counting if each[-1] != name]
    wrapper = next(iter(around), (_WRAPPER,))
    own = next((each for each in counting if each != wrapper), (name,))
    return _Folders(own, wrapper)


def _path(element: Element, own: bool, folders: _Folders) -> tuple[str, ...]:  # noqa: FBT001 - of a pair
    if element.variable is not None:
        return (*folders.own, f"{element.variable.replace('/', '_')}_{element.label}")
    if not own:
        return (*folders.wrapper, element.label)
    return (_UNNAMED,) if element.label == _PRODUCT else (*folders.own, element.label)


def _array(name: str, element: Element, there: str | None, *, by_jax: bool) -> NewArray:
    """An element as an array, a scalar in the type that the target has for it, or that its backend has."""
    if element.variable is not None or not isinstance(element.content, bytes):
        return NewArray(name, element.dtype, element.shape, element.content, element.factor)
    types = _JAX_TYPES if by_jax else _PYTHON_TYPES
    dtype = there if there in _PACKED else types.get(element.dtype, element.dtype)
    value = struct.unpack(_PACKED[element.dtype], element.content)[0]
    try:
        packed = struct.pack(_PACKED[dtype], value)
    except (OverflowError, struct.error) as error:
        raise GraftRefused(f"{element.label} is {value:,}, which is more than its type ({dtype}) can hold") from error
    return NewArray(name, dtype, (), packed)


def renamed(config: Mapping[str, object], name: str) -> dict[str, object]:
    """A configuration whose optimizer is called so: Keras finds state by this name."""
    compiled = config.get("compile_config")
    node = compiled.get("optimizer") if isinstance(compiled, Mapping) else None
    if not isinstance(compiled, Mapping) or not isinstance(node, Mapping):
        return dict(config)
    return {**config, "compile_config": {**compiled, "optimizer": _called(node, name)}}


def _called(node: Mapping[str, object], name: str) -> dict[str, object]:
    settings = node.get("config")
    if not isinstance(settings, Mapping):
        return dict(node)
    inner = settings.get("inner_optimizer")
    if isinstance(inner, Mapping):
        return {**node, "config": {**settings, "inner_optimizer": _called(inner, name)}}
    return {**node, "config": {**settings, "name": name}}
