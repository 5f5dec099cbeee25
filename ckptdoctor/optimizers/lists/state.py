"""From a list of state variables to an optimizer's state: what every artifact that stores such a list has in common.

HDF5 `optimizer_weights`, `optimizer/vars`, `_variables/N` of Keras 3 checkpoints and dumps of `get_weights()` are all
the same list, with or without names. `read_state` is the one place that turns it into an `OptimizerState`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ckptdoctor.optimizers.catalogue import Layout, SlotKind, is_known
from ckptdoctor.optimizers.inference import count_of, rate_conflict
from ckptdoctor.optimizers.keras.config import OptimizerConfig
from ckptdoctor.optimizers.keras.naming import generation_of, optimizer_name
from ckptdoctor.optimizers.lists.around import MULTI, is_multi, is_unbuilt, loss_scale, own_length
from ckptdoctor.optimizers.lists.as_is import gaps, lost_inside
from ckptdoctor.optimizers.lists.layout import Trained, expand
from ckptdoctor.optimizers.lists.loose import Loose
from ckptdoctor.optimizers.lists.reading import Question, Reading, StateVariable, read_list
from ckptdoctor.state import (
    Generation,
    MissingSlot,
    ModelVariable,
    Oddity,
    OptimizerState,
    OtherVariable,
    Slot,
    Wrapper,
    quantity,
)  # fmt: skip
from ckptdoctor.versions import release

__all__ = ["Orders", "StateVariable", "configured_only", "default_orders", "read_state"]

Orders = tuple[tuple[ModelVariable, ...], ...]
"""Orders in which an optimizer may hold a model's variables, likeliest first, the widest last."""

_REPORTS_STEPS_SINCE = (3, 6)


def default_orders(variables: Sequence[ModelVariable]) -> Orders:
    """What is trained as far as the variables say so, then everything."""
    trained = tuple(each for each in variables if each.trainable is not False)
    everything = tuple(variables)
    return (trained, everything) if trained != everything else (everything,)


def read_state(
    state: Sequence[StateVariable],
    variables: Sequence[ModelVariable],
    *,
    config: OptimizerConfig | None = None,
    generation: Generation | None = None,
    version: str | None = None,
    orders: Orders | None = None,
    loose: Loose | None = None,
    name: str = "optimizer",
) -> OptimizerState:
    """Turns a list of state variables into an optimizer's state.

    Args:
        state: The list, in the artifact's order, which must be the framework's.
        variables: The model's variables, in the model's order, with what is known of their being trained.
        config: The configuration, where the artifact has one; without it the class is inferred.
        generation: Which implementation wrote the list; None: the names or the shapes have to tell.
        version: The framework's version, where it is known.
        orders: Orders in which the optimizer may hold the variables; by default the model's.
        loose: Variables of objects whose place among their siblings nothing tells.
        name: The optimizer's name in the artifact.
    """
    if not state:
        return configured_only(config, generation, name)
    generation = generation or (config.generation if config else None)
    generation = generation or generation_of(each.name for each in state if each.name is not None)
    orders = orders or default_orders(variables)
    loose = loose or {}
    if generation in {Generation.KERAS3, None}:
        wrapped = _wrapped_length(state, config)
        if wrapped:
            inner = _read(
                state[wrapped:], orders, config=config, generation=Generation.KERAS3, version=version, name=name,
                loose=loose, wrapped=True,
            )  # fmt: skip
            return inner._replace(wrapper=_wrapper(state[:wrapped], config))
        if _is_multi(state, config):
            return _multi(state, config, orders, name)
    return _read(state, orders, config=config, generation=generation, version=version, name=name, loose=loose)


def configured_only(
    config: OptimizerConfig | None, generation: Generation | None = None, name: str = "optimizer"
) -> OptimizerState:
    """An optimizer that the artifact records, and of which it holds no state."""
    return OptimizerState(
        label=config.name if config is not None else None,
        name=name,
        class_name=None if config is None else config.class_name,
        generation=(config.generation if config else None) or generation,
        hyperparameters={} if config is None else config.hyperparameters,
        schedule=None if config is None else config.schedule,
        wrapper=Wrapper(config.wrapper) if config is not None and config.wrapper else None,
    )


# ------------------------------------------------------------------------------------------------------ assembly


def _read(
    state: Sequence[StateVariable],
    orders: Orders,
    *,
    config: OptimizerConfig | None,
    generation: Generation | None,
    version: str | None,
    name: str,
    loose: Loose,
    wrapped: bool = False,
) -> OptimizerState:
    """The state of one optimizer, from the list that is its own."""
    reading = read_list(Question(tuple(state), orders, config, generation, wrapped, loose))
    return _assemble(reading, orders, config=config, generation=generation, version=version, name=name)


def _assemble(
    reading: Reading,
    orders: Orders,
    *,
    config: OptimizerConfig | None,
    generation: Generation | None,
    version: str | None,
    name: str,
) -> OptimizerState:
    layout = reading.layout
    inferred = config is None
    class_name = config.class_name if config is not None else None
    if class_name is None and layout is not None and (reading.slots or reading.candidates == ()):
        class_name = layout.class_name
    notes: list[str] = []
    if reading.unread:
        notes.append(f"{len(reading.unread)} state variables could not be told apart")
    if config is not None and layout is None and not is_known(config.class_name):
        notes.append(f"{config.class_name} is not in the catalogue: its state is given as it is")
    count = None if reading.iteration is None else count_of(reading.iteration.value)
    if reading.iteration is not None and count is None:
        notes.append(f"the count is no whole number: {reading.iteration.value!r}")
    unread = tuple(
        OtherVariable(each.name or each.tensor.key, each.tensor, each.value) for each in reading.unread if each.tensor
    )
    generation = generation or (layout.generation if layout else None)
    return OptimizerState(
        label=config.name if config is not None else None,
        name=name,
        class_name=class_name,
        class_inferred=inferred and class_name is not None,
        class_candidates=reading.candidates if inferred else (),
        generation=generation,
        iterations=count,
        iterations_key=_key(reading.iteration),
        iterations_tensor=None if reading.iteration is None else reading.iteration.tensor,
        iterations_reported=_reported(count, config, generation, version),
        hyperparameters=_hyperparameters(config, reading.other),
        conflicts=_conflicts(config, reading.other),
        schedule=None if config is None else config.schedule,
        slots=reading.slots,
        missing=(
            *_missing(reading, layout, orders, started=bool(count)),
            *gaps(reading.slots, orders[0], (kind.name for kind in layout.kinds) if layout is not None else ()),
            *(lost_inside(config, reading.slots, orders[0]) if count else ()),
        ),
        other=reading.other + unread,
        wrapper=Wrapper(config.wrapper) if config is not None and config.wrapper else None,
        notes=tuple(notes),
    )


def _key(iteration: StateVariable | None) -> str | None:
    return None if iteration is None or iteration.tensor is None else iteration.tensor.key


def _reported(
    count: int | None, config: OptimizerConfig | None, generation: Generation | None, version: str | None
) -> int | None:
    """What `optimizer.iterations` answers, where that is not what is stored (gradient accumulation since Keras 3.6)."""
    steps = config.gradient_accumulation_steps if config is not None else None
    if count is None or steps is None or generation is not Generation.KERAS3:
        return None
    # A version that is not known counts as the newest.
    return count // steps if (release(version) or _REPORTS_STEPS_SINCE) >= _REPORTS_STEPS_SINCE else None


def _hyperparameters(config: OptimizerConfig | None, other: Iterable[OtherVariable]) -> Mapping[str, object]:
    """The configured ones; what only the stored scalars tell is added."""
    found: dict[str, object] = {} if config is None else dict(config.hyperparameters)
    for each in other:
        if each.name == "learning_rate" and each.value is not None:
            found.setdefault("learning_rate", each.value)
    return found


def _conflicts(config: OptimizerConfig | None, other: Iterable[OtherVariable]) -> tuple[Oddity, ...]:
    configured = None if config is None else config.hyperparameters.get("learning_rate")
    return next((rate_conflict(each.value, configured) for each in other if each.name == "learning_rate"), ())


def _missing(reading: Reading, layout: Layout | None, orders: Orders, *, started: bool) -> tuple[MissingSlot, ...]:
    """Slots that the class keeps for a variable it trains, and that are not there.

    An optimizer that never stepped has built nothing yet and misses nothing. A variable of which nothing says that it
    is trained misses slots only if it has some.
    """
    if layout is None or not (started or reading.slots):
        return ()
    present = {(slot.variable, quantity(slot.role, slot.name)) for slot in reading.slots}
    seen = {slot.variable for slot in reading.slots}
    expected = [each for each in orders[0] if each.trainable is True or each.path in seen]
    known = {each.path for each in expected}
    expected += [each for each in orders[-1] if each.path in seen and each.path not in known]
    trained = [Trained(each.path, each.tensor.shape) for each in expected]
    lacking = [
        (one.kind, one.shape, trained[one.variable].path)
        for one in expand(layout, trained, reading.settings)
        if isinstance(one.kind, SlotKind)
        and one.variable is not None
        and (trained[one.variable].path, quantity(one.kind.role, one.kind.name)) not in present
    ]
    nobodys = Counter(
        (quantity(each.role, each.name), each.tensor.shape) for each in reading.slots if each.variable is None
    )
    candidates = Counter((quantity(kind.role, kind.name), shape) for kind, shape, _ in lacking)
    found: list[MissingSlot] = []
    for kind, shape, path in lacking:
        place = quantity(kind.role, kind.name), shape
        if not nobodys[place]:
            found.append(MissingSlot(kind.name, kind.role, path))
        elif candidates[place] > nobodys[place]:  # some of them have one, whichever
            candidates[place] -= 1
            found.append(MissingSlot(kind.name, kind.role, None))
    return tuple(found)


# ------------------------------------------------------------------------------- optimizers around optimizers


def _front(state: Sequence[StateVariable]) -> list[bool | None]:
    """What the first elements are: whole numbers, other scalars, or arrays (None)."""
    return [each.is_count if each.is_scalar else None for each in state[:5]]


def _wrapped_length(state: Sequence[StateVariable], config: OptimizerConfig | None) -> int:
    """How many elements at the front are those of a LossScaleOptimizer around."""
    named_multi = config is not None and config.class_name == MULTI
    front = _front(state)
    return own_length(front) or (2 if is_unbuilt(front) and not named_multi else 0)


def _wrapper(own: Sequence[StateVariable], config: OptimizerConfig | None) -> Wrapper:
    named = config.wrapper if config is not None and config.wrapper else ""
    elements = ((each.tensor, each.value) for each in own)
    return loss_scale(elements, named or "LossScaleOptimizer", configured=config is None or bool(named))


def _is_multi(state: Sequence[StateVariable], config: OptimizerConfig | None) -> bool:
    if config is not None:
        return config.class_name == MULTI
    return len(state) > 1 and is_multi(_front(state), state[1].value)


def _multi(state: Sequence[StateVariable], config: OptimizerConfig | None, orders: Orders, name: str) -> OptimizerState:
    """One state for all inner optimizers together, as the framework presents it; inner scalars stand in `other`."""
    starts = [index for index, each in enumerate(state) if each.is_count and index]
    head = state[: starts[0]] if starts else state
    slots: list[Slot] = []
    missing: list[MissingSlot] = []
    other: list[OtherVariable] = []
    other += [OtherVariable("learning_rate", each.tensor, each.value) for each in head[1:] if each.tensor is not None]
    taken: set[str | None] = set()
    inner_configs = config.inner if config is not None and len(config.inner) == len(starts) else (None,) * len(starts)
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(state)], strict=True)):
        part = state[start:end]
        label = optimizer_name(part[0].name or "") or f"optimizer_{number}"
        free = tuple(tuple(each for each in order if each.path not in taken) for order in orders)
        inner = read_state(part, free[-1], config=inner_configs[number], generation=Generation.KERAS3, orders=free)
        taken.update(slot.variable for slot in inner.slots)
        slots += [slot._replace(name=f"{label}/{slot.name}") for slot in inner.slots]
        missing += [each for each in inner.missing if each.variable and each.variable in taken]
        if part[0].tensor is not None:
            other.append(OtherVariable(f"{label}/iteration", part[0].tensor, part[0].value))
        other += [each._replace(name=f"{label}/{each.name}") for each in inner.other]
    return OptimizerState(
        name=name,
        class_name=MULTI,
        class_inferred=config is None,
        generation=Generation.KERAS3,
        iterations=count_of(head[0].value),
        iterations_key=_key(head[0]),
        iterations_tensor=head[0].tensor,
        hyperparameters={} if config is None else config.hyperparameters,
        slots=tuple(slots),
        missing=tuple(missing),
        other=tuple(other),
    )
