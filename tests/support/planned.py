"""Plans for tests, where the planner is not what is tested."""

from __future__ import annotations

from ckptdoctor.optimizers.catalogue import Layout, PerVariable, SlotKind
from ckptdoctor.optimizers.keras.config import Settings
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedSlot
from ckptdoctor.state import Generation, TrainingState


def tf1(donor: TrainingState, name: str | None = None) -> PlannedOptimizer:
    """The one TensorFlow 1 optimizer of a donor as it is, for a target with the same variables."""
    (found,) = donor.optimizers
    kinds = {slot.name: SlotKind(slot.name, slot.role) for slot in found.slots}
    class_name = found.class_name or ""
    return PlannedOptimizer(
        name=name or found.name,
        class_name=class_name,
        generation=Generation.TF1,
        layout=Layout(class_name, Generation.TF1, (PerVariable(tuple(kinds.values())),)),
        settings=Settings(),
        hyperparameters={},
        schedule=None,
        iterations=found.iterations or 0,
        singles={each.name.rpartition("/")[2]: float(each.value or 0) for each in found.other},
        trained=tuple(dict.fromkeys(slot.variable or "" for slot in found.slots)),
        slots=tuple(
            PlannedSlot(
                kinds[slot.name],
                slot.variable or "",
                slot.tensor.shape,
                slot.tensor.dtype,
                slot.tensor,
                donor_variable=slot.variable,
            )
            for slot in found.slots
        ),
    )
