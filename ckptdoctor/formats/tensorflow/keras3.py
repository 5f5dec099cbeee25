"""Keras 3 optimizers in object graphs: one list `_variables`, and beside it the list of the variables they train."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ckptdoctor.containers.tensors.dtypes import INTEGRAL
from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.formats.tensorflow.optimizer_reading import Reading, kinds_by_attribute
from ckptdoctor.optimizers import inference
from ckptdoctor.optimizers.catalogue import LAYOUTS, SlotKind, layouts
from ckptdoctor.optimizers.lists.layout import Assigned, Fit, Item, Trained, expand, fit
from ckptdoctor.optimizers.lists.state import StateVariable, read_state
from ckptdoctor.references import TensorRef
from ckptdoctor.state import MissingSlot, ModelVariable, Role, Slot

Items = Sequence[tuple[int, TensorRef]]


def read_keras3(reading: Reading) -> inference.Inference:
    """Reads slots by their place in `_variables`, which the class, its settings and the trained variables predict.

    The lists per slot kind are empty up to Keras 3.9, and for some classes later; where they are filled they agree.
    """
    known = {kind.attribute for each in LAYOUTS if each.generation is reading.generation for kind in each.kinds} - {""}
    known |= reading.slot_lists().keys()  # a list that no class of Keras has is another class's
    inferred = inference.by_slots(
        reading.generation,
        [name for name in reading.children if name in known],
        attributes=True,
        scalars=reading.children,
        hint=reading.hint,
    )
    trained = [reading.objects.by_node.get(child) for _, child in reading.listed("_trainable_variables")]
    variables = [each for each in trained if each is not None]
    stored = [(child, reading.objects.tensor(child)) for _, child in reading.listed("_variables")]
    items: Items = [(child, ref) for child, ref in stored if ref is not None]
    class_name = reading.config.class_name if reading.config else inferred.class_name
    shapes = [Trained(variable.path, variable.tensor.shape) for variable in variables]
    found = _fit(reading, items, class_name, shapes) if len(variables) == len(trained) else None
    if found is None:
        return _by_lists(reading, items, variables, inferred)
    _assign(reading, items, found.assigned, variables)
    _add_missing(reading, expand(found.layout, shapes, found.settings), variables)
    return inferred


def _fit(reading: Reading, items: Items, class_name: str | None, shapes: Sequence[Trained]) -> Fit | None:
    stored = [Item(ref.shape, ref.dtype in INTEGRAL) for _, ref in items]
    names = [reading.objects.node(child).full_name for child, _ in items]

    def named_so(assigned: Sequence[Assigned]) -> bool:
        # Adafactor's r and c are the only slots whose names do not end in their kind.
        return all(
            not isinstance(each.kind, SlotKind) or each.kind.name in {"r", "c"} or name.endswith(each.kind.name)
            for each, name in zip(assigned, names, strict=True)
        )

    settings = reading.config.settings if reading.config else None
    choices = layouts(class_name or "", reading.generation)
    return fit(stored, choices, shapes, settings, accept=named_so) or fit(stored, choices, shapes, settings)


def _assign(reading: Reading, items: Items, assigned: Sequence[Assigned], variables: Sequence[ModelVariable]) -> None:
    attributes = {child: name for name, child in reading.children.items()}
    for (child, ref), each in zip(items, assigned, strict=True):
        if isinstance(each.kind, SlotKind):
            path = variables[each.variable].path if each.variable is not None else None
            # The graph itself holds the list of trained variables: a place in it is a link, not a guess.
            reading.slots.append(Slot(each.kind.name, each.kind.role, path, ref, "name"))
        elif child not in attributes:
            reading.keep(each.kind.name, ref)


def _add_missing(reading: Reading, expected: Iterable[Assigned], variables: Sequence[ModelVariable]) -> None:
    have = {(slot.name, slot.variable) for slot in reading.slots}
    for each in expected:
        if isinstance(each.kind, SlotKind) and each.variable is not None:
            path = variables[each.variable].path
            if (each.kind.name, path) not in have:
                reading.missing.append(MissingSlot(each.kind.name, each.kind.role, path))


def _by_lists(
    reading: Reading, items: Items, variables: Sequence[ModelVariable], inferred: inference.Inference
) -> inference.Inference:
    """State that the catalogue does not predict: by the lists where they are filled, else by names and shapes."""
    kinds = kinds_by_attribute(reading.generation, reading.config.class_name if reading.config else inferred.class_name)
    seen = set(reading.children.values())
    for attribute, members in reading.slot_lists().items():
        kind = kinds.get(attribute)
        name, role = (kind.name, kind.role) if kind else (attribute.lstrip("_"), Role.OTHER)
        for position, child in members:
            ref = reading.objects.tensor(child)
            path = variables[position].path if position < len(variables) else None
            if ref is not None and child not in seen:
                seen.add(child)
                reading.slots.append(Slot(name, role, path, ref, "name"))
            elif ref is None and path is not None:
                reading.missing.append(MissingSlot(name, role, path))
    if not reading.slots:
        state = [
            StateVariable(ref, read_scalar(ref) if ref.shape == () else None, reading.objects.node(child).full_name)
            for child, ref in items
        ]
        read = read_state(state, variables, config=reading.config, generation=reading.generation)
        reading.slots.extend(read.slots)
        reading.missing.extend(read.missing)
        return inference.Inference(read.class_name, read.class_candidates) if inferred.class_name is None else inferred
    for child, ref in items:
        if child in seen:
            continue
        name = reading.objects.node(child).full_name.rpartition("/")[2]
        if ref.shape == ():
            reading.keep(name, ref)
        else:
            reading.slots.append(Slot(name.rpartition("_")[2] or name, Role.OTHER, None, ref, "order"))
    return inferred
