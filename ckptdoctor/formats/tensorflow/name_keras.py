"""Keras optimizers in name-based checkpoints: in a Saver's, and in those of TensorFlow 2's Estimators.

Their variables keep their own names: `Adam/iter`, `training/Ftrl/learning_rate`, and a slot's before or after the
variable's (`Adam/dense/kernel/m`, `Adam/m/dense/kernel`). An Estimator makes its global step the optimizer's count, so
that there may be none of its own; every OptimizerV2 has a `decay`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.optimizers import inference
from ckptdoctor.optimizers.catalogue import LAYOUTS, Extent, SlotKind, classes, layouts
from ckptdoctor.optimizers.lists.as_is import gaps
from ckptdoctor.optimizers.lists.layout import slot_shape
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, ModelVariable, OptimizerState, OtherVariable, Role, Slot

COUNTS = frozenset({"iter", "iterations", "iteration"})
_ALWAYS = "decay"
_SCALARS = frozenset(
    {
        "lr", "learning_rate", "decay", "beta_1", "beta_2", "rho", "momentum", "momentum_cache", "beta",
        "l1_regularization_strength", "l2_regularization_strength", "learning_rate_power",
    }
)  # fmt: skip
_UNNAMED = re.compile(r"Variable(_\d+)?")


def keras_optimizers(
    left: dict[str, TensorRef],
    scalars: Iterable[str],
    tensors: Mapping[str, TensorRef],
    steps: tuple[str, int] | None,
) -> list[OptimizerState]:
    """Takes the state of every Keras optimizer out of `left`.

    Args:
        left: What nobody has taken.
        scalars: The names of scalars.
        tensors: Everything.
        steps: The global step: its name, and its value.
    """
    counts: dict[str, str | None] = {}
    for name in scalars:
        prefix, _, last = name.rpartition("/")
        if name in left and last in COUNTS:
            counts[prefix] = name
        elif name in left and last == _ALWAYS and prefix:
            counts.setdefault(prefix, None)
    found = (_optimizer(prefix, count, left, tensors, steps) for prefix, count in counts.items())
    return [each for each in found if each is not None]


def _optimizer(
    prefix: str,
    count: str | None,
    left: dict[str, TensorRef],
    tensors: Mapping[str, TensorRef],
    steps: tuple[str, int] | None,
) -> OptimizerState | None:
    """The optimizer whose variables' names begin so; None if what begins so is no optimizer's."""
    own: dict[str, OtherVariable] = {}
    slots: list[Slot] = []
    generation = Generation.OPTIMIZER_V2
    hint = inference.class_of_name(prefix) if prefix else None
    kinds = {**_KINDS, **_declared_kinds(hint)}
    for name, inner in _below(prefix, left):
        ref = left[name]
        head, _, tail = inner.partition("/")
        stem, _, last = inner.rpartition("/")
        if name == count:
            continue
        if ref.shape == () and inner in _SCALARS:
            own[inner] = OtherVariable(inner, ref, read_scalar(ref))
        elif stem in tensors and last in kinds and slot_shape(kinds[last], tensors[stem].shape) == ref.shape:
            slots.append(Slot(last, kinds[last].role, stem, ref, "name"))
        elif tail in tensors and head in kinds and slot_shape(kinds[head], tensors[tail].shape) == ref.shape:
            generation = Generation.KERAS2
            slots.append(Slot(head, kinds[head].role, tail, ref, "name"))
        elif _UNNAMED.fullmatch(inner):
            generation = Generation.KERAS1
            slots.append(Slot(inner, Role.OTHER, None, ref, "order"))
    if count is None and not (slots or "learning_rate" in own):
        return None
    for taken in (*(slot.tensor for slot in slots), *(each.tensor for each in own.values())):
        del left[taken.key]
    counter = left.pop(count) if count is not None else None
    value = inference.count_of(read_scalar(counter)) if counter is not None else steps[1] if steps else None
    inferred = inference.by_slots(generation, {slot.name for slot in slots}, scalars=own, hint=hint)
    owners = {slot.variable: slot for slot in slots if slot.variable is not None}
    return OptimizerState(
        name=prefix or "optimizer",
        class_name=inferred.class_name,
        generation=generation,
        class_inferred=inferred.class_name is not None,
        class_candidates=inferred.candidates,
        iterations=value,
        iterations_key=count if count is not None else steps[0] if steps else None,
        iterations_tensor=counter,
        hyperparameters={name: each.value for name, each in own.items() if each.value is not None},
        slots=tuple(slots),
        missing=gaps(slots, (ModelVariable(path, slot.tensor) for path, slot in owners.items()), ()),
        other=tuple(own.values()),
    )


_KINDS = {
    kind.name: kind._replace(extent=Extent.VARIABLE)
    for layout in LAYOUTS
    if layout.generation is not Generation.KERAS3
    for kind in layout.kinds
}


def _declared_kinds(class_name: str | None) -> dict[str, SlotKind]:
    """What a class keeps that is not Keras' own: its kinds of slots, by name."""
    known = (each for each in (Generation.OPTIMIZER_V2, Generation.KERAS2) if class_name not in classes(each))
    return {kind.name: kind for each in known for layout in layouts(class_name or "", each) for kind in layout.kinds}


def _below(prefix: str, left: Mapping[str, TensorRef]) -> list[tuple[str, str]]:
    """What begins with the optimizer's name, with or without Keras' `training/` before it, and how it goes on."""
    roots = {prefix, prefix.removeprefix("training/"), f"training/{prefix}"} - {""}
    return [
        (name, name[len(root) + 1 :])
        for name in left
        for root in roots
        if name.startswith(f"{root}/") and len(name) > len(root) + 1
    ]
