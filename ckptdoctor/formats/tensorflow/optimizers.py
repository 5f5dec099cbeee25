"""Optimizer state in a trackable object graph, whichever way it lies there."""

from typing import NamedTuple

from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.formats.tensorflow.objects import Kind, Objects, OptimizerNode, counter_beside
from ckptdoctor.formats.tensorflow.optimizer_reading import Reading, scalars
from ckptdoctor.optimizers import inference
from ckptdoctor.optimizers.keras.config import OptimizerConfig
from ckptdoctor.state import (
    Generation,
    MissingSlot,
    ModelVariable,
    Oddity,
    OptimizerState,
    OtherVariable,
    Scalar,
    Wrapper,
)

_GENERATIONS = {
    Kind.LEGACY: Generation.OPTIMIZER_V2,
    Kind.TF1: Generation.TF1,
    Kind.REWRITTEN: Generation.KERAS2,
    Kind.KERAS3: Generation.KERAS3,
}
_COUNTS = ("iter", "_iterations", "iterations")
_NOT_HYPERPARAMETERS = frozenset({"u_product", "momentum_cache", "beta1_power", "beta2_power"})


class Found(NamedTuple):
    """An optimizer, and the model variables that only its slots know of."""

    optimizer: OptimizerState
    unstored: tuple[ModelVariable, ...] = ()


def read_optimizer(objects: Objects, node: OptimizerNode, config: OptimizerConfig | None = None) -> Found:
    """Reads the state of one optimizer.

    Args:
        objects: The classified graph.
        node: The optimizer.
        config: Its configuration, where the artifact records one.
    """
    generation = _GENERATIONS.get(node.kind)
    if generation is None:
        return Found(_empty(node, config))
    if node.inner:
        return _nested(objects, node, config)
    singles = scalars(objects, node.number)
    count_name = next((name for name in _COUNTS if name in singles), None)
    count = singles.pop(count_name) if count_name else _beside(objects, node)
    reading = Reading(objects, node, config, generation, _hint(objects, node), singles)
    # Each way of lying there is a module of its own, imported where it is met.
    if node.kind is Kind.KERAS3:
        from ckptdoctor.formats.tensorflow.keras3 import read_keras3 as read_slots
    elif node.kind is Kind.REWRITTEN:
        from ckptdoctor.formats.tensorflow.listed import read_listed as read_slots
    else:
        from ckptdoctor.formats.tensorflow.linked import read_linked as read_slots
    inferred = read_slots(reading)
    return Found(_state(reading, inferred, count), tuple(reading.unstored))


def _beside(objects: Objects, node: OptimizerNode) -> OtherVariable | None:
    index = counter_beside(objects, node)
    ref = objects.tensor(index) if index is not None else None
    return OtherVariable("global_step", ref, read_scalar(ref)) if ref is not None and ref.shape == () else None


def _nested(objects: Objects, node: OptimizerNode, config: OptimizerConfig | None) -> Found:
    """An optimizer in others that hold it: its class and settings are the innermost's, its count the outermost's."""
    from ckptdoctor.formats.tensorflow.linked import read_linked

    *around, innermost = (node.number, *node.inner)
    generation = Generation.OPTIMIZER_V2
    singles = scalars(objects, innermost)
    inside = singles.pop("iter", None)
    reading = Reading(objects, node._replace(number=innermost), config, generation, None, singles)
    inferred = read_linked(reading)
    own: dict[str, OtherVariable] = {}
    name = config.wrapper if config is not None and config.wrapper else _name_of(objects, innermost)
    for index in around:
        # Of two around one, names tell the outermost only.
        hint = name if len(around) == 1 else None
        part = Reading(objects, node._replace(number=index), None, generation, hint, scalars(objects, index))
        read_linked(part)
        reading.slots += part.slots
        reading.missing += part.missing
        own.update(part.singles)
    count = own.pop("iter", None) or inside
    state = _state(reading, inferred, count)
    left = [*own.values(), *([inside] if inside is not None and inside is not count else [])]
    return Found(state._replace(name=node.path, wrapper=Wrapper(name, None, tuple(left))), tuple(reading.unstored))


def _name_of(objects: Objects, index: int) -> str:
    """What the optimizer around calls itself: the name in front of all that belongs to it (`Lookahead/beta_1`)."""
    node = objects.node(index)
    below = [*node.children.values(), *(slot for _, _, slot in node.slots)]
    names = [objects.node(each).full_name.partition("/") for each in below]
    return next((name for name, slash, _ in names if slash and name), "wrapper")


def _empty(node: OptimizerNode, config: OptimizerConfig | None) -> OptimizerState:
    return OptimizerState(
        name=node.path,
        class_name=config.class_name if config else None,
        generation=config.generation if config else None,
        hyperparameters=dict(config.hyperparameters) if config else {},
        schedule=config.schedule if config else None,
        notes=("the optimizer never stepped: none of its variables exist yet",),
    )


def _state(reading: Reading, inferred: inference.Inference, count: OtherVariable | None) -> OptimizerState:
    config = reading.config
    class_name = config.class_name if config else inferred.class_name
    iterations = inference.count_of(count.value) if count is not None else None
    powers = {name: each.value for name, each in reading.singles.items() if isinstance(each.value, float)}
    recoverable = None
    if iterations is None:
        recoverable = inference.steps_from_beta_powers(powers.get("beta1_power"), powers.get("beta2_power"))
    notes = ("no learning rate is stored: a schedule sets it, which only the training code knows",)
    scheduled = (
        config is None
        and reading.generation is not Generation.TF1  # whose rate is the program's
        and iterations is not None
        and not {"learning_rate", "_learning_rate"} & set(reading.singles)
    )
    return OptimizerState(
        name=reading.node.path,
        class_name=class_name,
        generation=reading.generation,
        class_inferred=config is None and class_name is not None,
        class_candidates=inferred.candidates if config is None else (),
        iterations=iterations,
        iterations_key=count.tensor.key if count is not None and iterations is not None else None,
        iterations_tensor=None if count is None or count.name == "global_step" else count.tensor,
        recoverable=recoverable,
        hyperparameters=_hyperparameters(reading, class_name),
        schedule=config.schedule if config else None,
        scheduled=scheduled,
        slots=tuple(reading.slots),
        missing=(
            *reading.missing,
            *(_lost_inside(reading) if iterations else ()),
        ),
        other=tuple(reading.singles.values()),
        wrapper=_wrapper(reading),
        notes=notes if scheduled else (),
        conflicts=_conflicts(reading),
    )


def _lost_inside(reading: Reading) -> tuple[MissingSlot, ...]:
    if reading.config is None or reading.slots:
        return ()
    from ckptdoctor.optimizers.lists.as_is import lost_inside

    return lost_inside(reading.config, reading.slots, reading.objects.variables)


def _conflicts(reading: Reading) -> tuple[Oddity, ...]:
    configured = reading.config.hyperparameters.get("learning_rate") if reading.config else None
    stored = next((each.value for name, each in reading.singles.items() if name.lstrip("_") == "learning_rate"), None)
    return inference.rate_conflict(stored, configured)


def _hint(objects: Objects, node: OptimizerNode) -> str | None:
    """The class that the full names of the optimizer's variables suggest: `Adam/iter`, `adam_w/iteration`."""
    children = objects.node(node.number).children
    for name in (*_COUNTS, "_learning_rate"):
        prefix = objects.node(children[name]).full_name.rpartition("/")[0] if name in children else ""
        if prefix and (found := inference.class_of_name(prefix)):
            return found
    listed = children.get("_variables")
    for _, child in objects.graph.listed(listed) if listed is not None else ():
        prefix, slash, _ = objects.node(child).full_name.partition("/")
        if slash and (found := inference.class_of_name(prefix)):
            return found
    return None


def _hyperparameters(reading: Reading, class_name: str | None) -> dict[str, object]:
    found: dict[str, object] = dict(reading.config.hyperparameters) if reading.config else {}
    settings = inference.settings_kept(class_name, reading.generation)
    for name, each in reading.singles.items():
        plain = settings.get(name, name.lstrip("_"))
        if each.value is None or plain in _NOT_HYPERPARAMETERS or "/" in name:
            continue
        if plain == "learning_rate" and isinstance(found.get(plain), str):
            continue  # the configuration says that a schedule sets it
        found[plain] = each.value
    return found


def _wrapper(reading: Reading) -> Wrapper | None:
    """The LossScaleOptimizer around it: in Keras 3 an optimizer of its own, before that a child `loss_scale`."""
    name = reading.config.wrapper if reading.config and reading.config.wrapper else "LossScaleOptimizer"
    if reading.node.outer is not None:
        outer = scalars(reading.objects, reading.node.outer)
        return Wrapper(name, _float(outer, "dynamic_scale"), tuple(outer.values()))
    holder = reading.objects.child(reading.node.number, "loss_scale", "_loss_scale")
    if holder is None:
        return None
    inner = scalars(reading.objects, holder)
    return Wrapper(name, _float(inner, "current_loss_scale"), tuple(inner.values()))


def _float(found: dict[str, OtherVariable], name: str) -> float | None:
    value: Scalar | None = found[name].value if name in found else None
    return float(value) if isinstance(value, (int, float)) else None
