"""One optimizer of an artifact with the variables that it trains: each side of a graft, and of a comparison."""

from typing import NamedTuple

from ckptdoctor.containers.tensors.values import statistics
from ckptdoctor.errors import Unmatchable
from ckptdoctor.matching.variables import Named, named
from ckptdoctor.optimizers.catalogue import classes, layouts
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.config import Settings, conditions, is_on
from ckptdoctor.optimizers.keras.naming import same_kind
from ckptdoctor.state import (
    ModelVariable,
    OptimizerState,
    Role,
    Slot,
    TrainingState,
    quantity,
)

_FLAGS = {
    Role.MAX_SECOND_MOMENT: "amsgrad",
    Role.MEAN_GRADIENT: "centered",
    Role.MOVING_AVERAGE: "use_ema",
    Role.GRADIENT_ACCUMULATOR: "gradient_accumulation",
}


class Side(NamedTuple):
    """An optimizer of an artifact.

    Attributes:
        state: The artifact.
        optimizer: The optimizer.
        slots: (variable, quantity) → slot, for slots whose variable is known.
        trained: The variables that it trains, in its order as far as that is known.
    """

    state: TrainingState
    optimizer: OptimizerState
    slots: dict[tuple[str, Role | str], Slot]
    trained: tuple[Named, ...]


def choose(state: TrainingState, wanted: str | None, what: str) -> OptimizerState | None:
    """The optimizer that is meant; None if there is none.

    Raises:
        Unmatchable: There are several and `wanted` does not say which.
    """
    found = state.optimizers
    if wanted is not None:
        exact = [each for each in found if each.name == wanted]
        found = tuple(exact or [each for each in found if wanted in each.name])
        if not found and state.optimizers:
            names = ", ".join(each.name for each in state.optimizers)
            raise Unmatchable(f"{what} has no optimizer {wanted!r}: it has {names}", state.path)
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise Unmatchable(f"{what} has {len(found)} optimizers ({names}): name one with --optimizer", state.path)
    return found[0] if found else None


def make_side(state: TrainingState, optimizer: OptimizerState) -> Side:
    """One optimizer of an artifact, with the variables that it trains."""
    return Side(state, optimizer, by_quantity(optimizer), _trained(state, optimizer))


def by_quantity(optimizer: OptimizerState) -> dict[tuple[str, Role | str], Slot]:
    """(variable, quantity) → slot, for slots whose variable is known."""
    return {
        (each.variable, quantity(each.role, each.name)): each for each in optimizer.slots if each.variable is not None
    }


def _trained(state: TrainingState, optimizer: OptimizerState) -> tuple[Named, ...]:
    """The variables that have slots, in the order of the slots; of an optimizer without slots, all that are trained."""
    by_path = {variable.path: variable for variable in state.variables}
    paths = dict.fromkeys(slot.variable for slot in optimizer.slots if slot.variable is not None)
    if paths:
        return tuple(_owner(path, by_path.get(path), optimizer) for path in paths)
    return tuple(named(v) for v in state.variables if v.trainable is not False)


def _owner(path: str, variable: ModelVariable | None, optimizer: OptimizerState) -> Named:
    """A variable with slots; of one that the artifact does not hold, they tell the shape."""
    if variable is not None:
        return named(variable)
    shape = max((s.tensor.shape for s in optimizer.slots if s.variable == path), key=len, default=())
    return Named(path, shape)


def trained_by(state: TrainingState, optimizer: OptimizerState | None) -> tuple[Named, ...]:
    """The variables that an optimizer trains: those of its slots, else the model's trainable ones."""
    if optimizer is not None and optimizer.slots and all(slot.variable for slot in optimizer.slots):
        return _trained(state, optimizer)
    return tuple(named(v) for v in state.variables if v.trainable is not False and v.tensor.place is not None)


def settings_of(optimizer: OptimizerState) -> Settings:
    """Which state variables an optimizer keeps, from what is there and what its configuration says."""
    hyper = optimizer.hyperparameters
    kinds = {
        slot.role for slot in optimizer.slots if slot.tensor.shape != (1,) or slot.role is not Role.MAX_SECOND_MOMENT
    }
    flags = {flag for role, flag in _FLAGS.items() if role in kinds}
    if optimizer.wrapper is not None and not optimizer.wrapper.scales_loss:
        flags.discard("use_ema")  # the average is that of the optimizer around
    for name in ("amsgrad", "centered", "use_ema"):
        if hyper.get(name) is True:
            flags.add(name)
    steps, momentum = hyper.get("gradient_accumulation_steps"), hyper.get("momentum")
    if isinstance(steps, int) and steps > 1:
        flags.add("gradient_accumulation")
    has_momentum = Role.MOMENTUM in kinds and optimizer.class_name in {"SGD", "RMSprop"}
    if has_momentum and _keeps_it_unused(optimizer):
        has_momentum = False
    if isinstance(momentum, (int, float)) and not isinstance(momentum, bool):
        has_momentum = momentum > 0
    if has_momentum:
        flags.add("momentum")
    if optimizer.schedule is not None or _scheduled(optimizer):
        flags.add("schedule")
    flags |= _declared(optimizer)
    return Settings(frozenset(flags))


def _declared(optimizer: OptimizerState) -> set[str]:
    """The settings of a declared class under which it keeps what is there, or that are on."""
    if optimizer.generation is None or optimizer.class_name in classes(optimizer.generation):
        return set()
    known = layouts(optimizer.class_name or "", optimizer.generation)
    names = {slot.name for slot in optimizer.slots}
    kinds = [kind for layout in known for kind in layout.kinds if kind.when and not kind.when.startswith("!")]
    on = {name for name in conditions(known) if is_on(optimizer.hyperparameters.get(name))}
    return on | {kind.when for kind in kinds if any(same_kind(name, kind) for name in names)}


def _keeps_it_unused(optimizer: OptimizerState) -> bool:
    """Whether momentum slots are only there because the class always makes them: then they are all zero."""
    if optimizer.class_name not in dialect(optimizer.generation).always_momentum:
        return False
    found = [statistics(slot.tensor) for slot in optimizer.slots if slot.role is Role.MOMENTUM]
    return all(each is not None and each.min == each.max == 0 for each in found)


def _scheduled(optimizer: OptimizerState) -> bool:
    """Whether the learning rate is a schedule that only the training code knows.

    Object graphs of every generation store any other; of the lists, those of Keras 3 do.
    """
    if optimizer.scheduled:
        return True
    if not dialect(optimizer.generation).rate_listed or not optimizer.has_state:
        return False
    stored = {other.name.lstrip("_") for other in optimizer.other}
    return "learning_rate" not in stored and not isinstance(
        optimizer.hyperparameters.get("learning_rate"), (int, float)
    )
