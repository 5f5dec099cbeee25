"""Plans for writers' tests: a donor's optimizer for a target's variables, matched by order. No planner is involved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ckptdoctor.optimizers.catalogue import Layout, Single, SlotKind, layouts
from ckptdoctor.optimizers.keras.config import Settings
from ckptdoctor.optimizers.lists.layout import Trained, blocks, expand
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedSlot
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, ModelVariable, OptimizerState, Role, Schedule, TrainingState


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


_BY_ROLE = {
    Role.MAX_SECOND_MOMENT: "amsgrad",
    Role.MEAN_GRADIENT: "centered",
    Role.MOVING_AVERAGE: "use_ema",
    Role.GRADIENT_ACCUMULATOR: "gradient_accumulation",
    Role.MOMENTUM: "momentum",
}


def itself(state: TrainingState, *, configured: bool = True) -> PlannedOptimizer | None:
    """The one optimizer of an artifact, planned as it is; None where its slots cannot all be placed."""
    own = state.optimizers[0]
    if own.class_name is None or own.generation is None or own.iterations is None:
        return None
    if any(slot.variable is None for slot in own.slots):
        return None
    by_path = {each.path: each for each in state.variables}
    order = list(dict.fromkeys(slot.variable for slot in own.slots if slot.variable is not None))
    targets = [Trained(path, by_path[path].tensor.shape) for path in order if path in by_path]
    flags = {_BY_ROLE[slot.role] for slot in own.slots if slot.role in _BY_ROLE}
    if own.generation is Generation.KERAS3 and all(each.name != "learning_rate" for each in own.other):
        flags.add("schedule")
    settings = Settings(frozenset(flags))
    listed = [(slot.role, slot.variable, slot.tensor.shape) for slot in own.slots]
    known = layouts(own.class_name, own.generation)
    for layout in (*known, *(each._replace(early=True) for each in known)):
        slots = [
            (one, targets[one.variable].path)
            for one in expand(layout, targets, settings)
            if isinstance(one.kind, SlotKind) and one.variable is not None
        ]
        if [(one.kind.role, path, one.shape) for one, path in slots if isinstance(one.kind, SlotKind)] != listed:
            continue
        plan = planned(own, [by_path[path] for path in order], own.generation, configured=configured)
        return plan._replace(
            layout=layout,
            settings=settings,
            slots=tuple(
                PlannedSlot(one.kind, path, one.shape, slot.tensor.dtype, slot.tensor)
                for (one, path), slot in zip(slots, own.slots, strict=True)
                if isinstance(one.kind, SlotKind)
            ),
            singles={each.name: float(each.value) for each in own.other if isinstance(each.value, (int, float))},
        )
    return None
