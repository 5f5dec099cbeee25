"""Plans for writers' tests: a donor's optimizer for a target's variables, matched by order. No planner is involved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ckptdoctor.optimizers.catalogue import Layout, Single, SlotKind, layouts
from ckptdoctor.optimizers.config import Settings
from ckptdoctor.optimizers.layout import Trained, blocks, expand
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedSlot
from ckptdoctor.state import Generation, ModelVariable, OptimizerState, Role, Schedule, TensorRef, TrainingState


def settings_of(hyperparameters: Mapping[str, Any], schedule: Schedule | None) -> Settings:
    """The flags that a configuration sets."""
    flags = {name for name in ("amsgrad", "centered", "use_ema") if hyperparameters.get(name) is True}
    flags |= {"momentum"} if hyperparameters.get("momentum") else set()
    flags |= {"gradient_accumulation"} if hyperparameters.get("gradient_accumulation_steps") else set()
    return Settings(frozenset(flags | ({"schedule"} if schedule else set())))


def trained(state: TrainingState) -> tuple[ModelVariable, ...]:
    """The target's variables that an optimizer trains."""
    return tuple(each for each in state.variables if each.trainable is not False)


def planned(
    donor: OptimizerState,
    variables: Sequence[ModelVariable],
    generation: Generation,
    *,
    hyperparameters: Mapping[str, object] | None = None,
    configured: bool = False,
) -> PlannedOptimizer:
    """The donor's optimizer for these variables, in a generation."""
    assert donor.class_name is not None
    hyper = dict(donor.hyperparameters) | dict(hyperparameters or {})
    settings = settings_of(hyper, donor.schedule)
    layout = _layout(donor, generation)
    by_role: dict[Role, list[TensorRef]] = defaultdict(list)
    for slot in donor.slots:
        by_role[slot.role].append(slot.tensor)
    targets = [Trained(each.path, each.tensor.shape) for each in variables]
    slots = []
    for one in expand(layout, targets, settings):
        if isinstance(one.kind, SlotKind) and one.variable is not None:
            sources = by_role[one.kind.role]
            dtype = variables[one.variable].tensor.dtype
            source = sources.pop(0) if sources else None
            slots.append(PlannedSlot(one.kind, targets[one.variable].path, one.shape, dtype, source))
    singles = {
        block.name: float(each.value)
        for block in blocks(layout)
        if isinstance(block, Single)
        for each in donor.other
        if each.name in {"u_product", "momentum_cache", "m_schedule"} and each.value is not None
    }
    own = donor.wrapper.variables if donor.wrapper else ()
    return PlannedOptimizer(
        name="optimizer",
        class_name=donor.class_name,
        generation=generation,
        layout=layout,
        settings=settings,
        hyperparameters=hyper,
        schedule=donor.schedule,
        iterations=donor.iterations or 0,
        singles=singles,
        trained=tuple(each.path for each in targets),
        slots=tuple(slots),
        wrapper=(donor.wrapper.class_name, _numbers(own)) if donor.wrapper else None,
        configured=configured,
    )


def _numbers(own: Sequence[Any]) -> dict[str, float | int]:
    return {each.name: each.value for each in own if isinstance(each.value, (int, float))}


def _layout(donor: OptimizerState, generation: Generation) -> Layout:
    assert donor.class_name is not None
    known = layouts(donor.class_name, generation)
    wrapped = [each for each in known if each.wrapped] if donor.wrapper else []
    return (wrapped or [each for each in known if not each.wrapped])[0]
