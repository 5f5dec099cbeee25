"""The tree that Keras' OrbaxCheckpoint saves: `Model.get_state_tree()`, and beside it the model's configuration.

Variables stand below `trainable_variables` and `non_trainable_variables` by their paths, and the optimizer's below
`optimizer_variables`: `adam/iteration`, `adam/hidden_kernel_momentum`. Source: keras.src.callbacks.orbax_checkpoint and
Model.get_state_tree, Keras 3.13 to 3.15.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ckptdoctor.containers.strict_json import parse_object
from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.formats.keras.code import code_inside
from ckptdoctor.formats.keras.configurations import layer_configs
from ckptdoctor.formats.keras.layers import WEIGHT_NAMES
from ckptdoctor.formats.orbax.items import Item, Leaf
from ckptdoctor.optimizers.inference import class_of_name
from ckptdoctor.optimizers.keras.config import OptimizerConfig, read_config
from ckptdoctor.optimizers.keras.naming import scalar_name
from ckptdoctor.optimizers.lists.state import StateVariable, read_state
from ckptdoctor.state import (
    Format,
    Generation,
    MissingSlot,
    ModelVariable,
    OptimizerState,
    Producer,
    TrainingState,
)  # fmt: skip

_TRAINED, _OTHERS, OPTIMIZER, _METRICS = (
    "trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables",
)  # fmt: skip
VARIABLES = (_TRAINED, _OTHERS)
"""The groups of the model's own variables."""
_GROUPS = frozenset({*VARIABLES, OPTIMIZER, _METRICS})
_CONFIG = "config"
CALLBACK = "OrbaxCheckpoint"
_FIRST = "3.13"
"""The first version that has the callback; no file names the version that wrote it."""
_WRAPPER_OWN = ("iteration", "learning_rate", "step_counter", "dynamic_scale")
"""What a LossScaleOptimizer has for itself, in the order of its `variables`."""
_MAX_DEPTH = 32
_MAX_LAYERS = 100_000


def program(state: TrainingState) -> Generation:
    """The optimizers of the framework that wrote a checkpoint."""
    return Generation.KERAS3 if state.callback == CALLBACK else Generation.OPTAX


def is_keras(item: Item) -> bool:
    """Whether an item is such a tree."""
    groups = {leaf.path[0] for leaf in item.leaves if leaf.path}
    return bool(groups) and groups <= _GROUPS and (_TRAINED in groups or OPTIMIZER in groups)


def read(path: str, tree: Item, items: Sequence[Item]) -> TrainingState:
    """Reads the tree and the configuration beside it."""
    texts = next((each.texts for each in items if _CONFIG in each.texts), {})
    config = parse_object(texts[_CONFIG], path, "model_config") if _CONFIG in texts else {}
    variables = tuple(_variables(tree, config))
    state = [leaf for leaf in tree.leaves if leaf.path and leaf.path[0] == OPTIMIZER]
    compiled = config.get("compile_config")
    node = compiled.get("optimizer") if isinstance(compiled, Mapping) else None
    configured = read_config(node, _FIRST, Generation.KERAS3)
    optimizers = () if not state and configured is None else (_optimizer(state, variables, configured),)
    placed = {id(leaf) for leaf in tree.leaves if leaf.path and leaf.path[0] in {*VARIABLES, OPTIMIZER}}
    rest = [leaf for each in items for leaf in each.leaves if id(leaf) not in placed]
    variables, ordered = _in_models_order(variables, config)  # slots are read in the tree's own order, as they stand
    return TrainingState(
        path=path,
        format=Format.ORBAX_CHECKPOINT,
        producer=Producer("keras"),
        variables=variables,
        optimizers=optimizers,
        others=tuple(leaf.tensor for leaf in rest if leaf.tensor is not None),
        oddities=code_inside(config),
        callback=CALLBACK,
        ordered=ordered,
    )


# -------------------------------------------------------------------------------------------------------- variables


def _variables(tree: Item, config: Mapping[str, object]) -> Iterator[ModelVariable]:
    lost = _own_names(config)
    for group, trainable in ((_TRAINED, True), (_OTHERS, False)):
        for leaf in tree.leaves:
            if leaf.tensor is not None and leaf.path[0] == group and len(leaf.path) > 1:
                path = "/".join(leaf.path[1:])
                rebuilt = _rebuilt(leaf.path[1:], lost)
                yield ModelVariable(path, leaf.tensor, trainable, (rebuilt,) if rebuilt != path else ())


def _in_models_order(
    variables: Iterable[ModelVariable], config: Mapping[str, object]
) -> tuple[tuple[ModelVariable, ...], bool]:
    """The variables as the model has them, and whether that is known: the tree has them by the alphabet.

    Layers stand in the configuration in the model's order, and what a class makes first is known of Keras' own.
    """
    places: dict[str, tuple[int, tuple[str, ...]]] = {}
    waiting = list(reversed(layer_configs(config)))
    while waiting and len(places) <= _MAX_LAYERS:
        node = waiting.pop()
        settings = node.get("config")
        name = settings.get("name") if isinstance(settings, Mapping) else None
        if isinstance(name, str):
            own = WEIGHT_NAMES.get(str(node.get("class_name")).rpartition(">")[2], ())
            places[name] = (len(places), own) if name not in places else (places[name][0], ())
        waiting += reversed(layer_configs(node))
    keyed: list[tuple[int, int, ModelVariable]] = []
    for each in variables:
        *_, layer, weight = ("", *each.path.split("/"))
        place, own = places.get(layer, (len(places), ()))
        if weight not in own and each.trainable:
            place = len(places)
        keyed.append((place, own.index(weight) if weight in own else len(own), each))
    known = all(place < len(places) for place, _, each in keyed if each.trainable)
    if known:
        keyed.sort(key=lambda found: found[:2])
    return tuple(each for _, _, each in keyed), known


def _own_names(config: Mapping[str, object]) -> frozenset[str]:
    """Names of the models that put their own name before those of their layers, and do so no more when rebuilt.

    Sequential and subclassed models do, functional ones do not.
    """
    found: set[str] = set()
    waiting: list[tuple[object, int]] = [(config, 0)]
    while waiting:
        node, depth = waiting.pop()
        if not isinstance(node, Mapping) or depth > _MAX_DEPTH:
            continue
        settings = node.get("config")
        name = settings.get("name") if isinstance(settings, Mapping) else None
        layers = layer_configs(node)
        is_root = not depth
        if isinstance(name, str) and node.get("class_name") != "Functional" and (layers or is_root):
            found.add(name)
        waiting += [(each, depth + 1) for each in layers]
    return frozenset(found)


def _rebuilt(path: Sequence[str], own_names: frozenset[str]) -> str:
    """The path of a variable in the model that `load_model` makes."""
    parts = list(path)
    while len(parts) > 1 and parts[0] in own_names:
        parts.pop(0)
    return "/".join(parts)


# -------------------------------------------------------------------------------------------------------- optimizer


def _optimizer(
    leaves: Sequence[Leaf], variables: Sequence[ModelVariable], config: OptimizerConfig | None
) -> OptimizerState:
    state = [_state_variable(leaf) for leaf in leaves if len(leaf.path) > 1 and leaf.kind not in {"Dict", "None"}]
    ordered = _in_order(state)
    read = read_state(ordered, variables, config=config, generation=Generation.KERAS3, version=_FIRST)
    read = _with_lost(read)
    if config is not None:
        return read
    name = next((each.name for each in ordered if each.name is not None and "/" in each.name), "")
    name = _inner_name(ordered) or name.partition("/")[0]
    hint, read = class_of_name(name), read._replace(label=name or None)
    whole = all(each.tensor is not None for each in state)
    if whole and read.missing and hint not in {None, read.class_name}:  # Muon keeps a velocity for some variables only
        told = OptimizerConfig(hint or "", Generation.KERAS3)
        again = _with_lost(read_state(ordered, variables, config=told, generation=Generation.KERAS3, version=_FIRST))
        if not again.missing and len(again.slots) == len(read.slots):
            return again._replace(class_inferred=True, label=read.label)
    return _named(read, hint)


def _state_variable(leaf: Leaf) -> StateVariable:
    ref = leaf.tensor
    # A vector's element is no count.
    value = read_scalar(ref) if ref is not None and ref.shape == () and ref.location is not None else None
    return StateVariable(ref, value, "/".join(leaf.path[1:]))


def _in_order(state: Sequence[StateVariable]) -> list[StateVariable]:
    """The list in the framework's order as far as that matters: what a LossScaleOptimizer has for itself goes first."""
    wrapper = next((_folder(each) for each in state if _last(each) == "dynamic_scale"), None)
    own = {_last(each): each for each in state if wrapper is not None and _folder(each) == wrapper}
    head = [own[name] for name in _WRAPPER_OWN if name in own]
    rest = [each for each in state if each not in head]
    counts = [each for each in rest if _scalar(each) == "iteration"]
    rates = [each for each in rest if _scalar(each) == "learning_rate"]
    return [*head, *counts, *rates, *(each for each in rest if each not in counts and each not in rates)]


def _folder(each: StateVariable) -> str:
    return (each.name or "").rpartition("/")[0]


def _last(each: StateVariable) -> str:
    return (each.name or "").rpartition("/")[2]


def _scalar(each: StateVariable) -> str | None:
    last = _last(each)
    return last if each.is_scalar and scalar_name(last) == last else None


def _inner_name(state: Iterable[StateVariable]) -> str:
    """The name of the optimizer that counts: the inner one's, in a LossScaleOptimizer."""
    counts = [_folder(each) for each in state if _scalar(each) == "iteration"]
    return counts[-1].rpartition("/")[2] if counts else ""


def _named(read: OptimizerState, hint: str | None) -> OptimizerState:
    """Without a configuration the optimizer's own name tells the class, where the slots allow it."""
    fitting = (read.class_name, *read.class_candidates)
    if hint is None or (read.slots and hint not in fitting):
        return read
    return read._replace(class_name=hint, class_inferred=True, class_candidates=())


def _with_lost(read: OptimizerState) -> OptimizerState:
    """Slots of which chunks are not there are missing."""
    lost = [slot for slot in read.slots if slot.tensor.location is None and slot.tensor.dtype != "unknown"]
    if not lost:
        return read
    gone = tuple(MissingSlot(slot.name, slot.role, slot.variable) for slot in lost)
    return read._replace(slots=tuple(slot for slot in read.slots if slot not in lost), missing=(*read.missing, *gone))
