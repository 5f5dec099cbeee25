"""Slots that the optimizer itself links to their variables: OptimizerV2, and TF1 optimizers in object graphs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from ckptdoctor.errors import LimitExceeded
from ckptdoctor.formats.tensorflow.optimizer_reading import Reading
from ckptdoctor.optimizers import inference
from ckptdoctor.optimizers.catalogue import EMA, Extent, classes, layouts
from ckptdoctor.optimizers.keras.config import Settings, is_on
from ckptdoctor.optimizers.name_based import TF1_OPTIMIZERS
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, MissingSlot, ModelVariable, Role, Slot

_Linked: TypeAlias = tuple[str, ModelVariable | None, TensorRef | None]
"""A slot's name, its variable and its value, as far as they are in the artifact."""

MOST_KINDS = 100
"""Kinds of slots of one optimizer; those of Keras have five at most."""


def read_linked(reading: Reading) -> inference.Inference:
    """Reads slots by the optimizer node's `slot_variables`: variable, name and slot in one record."""
    objects = reading.objects
    links = objects.node(reading.node.number).slots
    names = sorted({name for _, name, _ in links})
    if len(names) > MOST_KINDS:
        # Each variable would lack most of them: what is missing would grow as the square of the file.
        raise LimitExceeded(f"an optimizer links slots of {len(names):,} kinds: the object graph is corrupt or hostile")
    if reading.generation is Generation.TF1:
        inferred = _tf1_class(names, reading.singles)
    else:
        inferred = inference.by_slots(reading.generation, names, scalars=reading.singles, hint=reading.hint)
    nodes, stored, owner_of = objects.graph.nodes, objects.bundle.tensors, objects.by_node.get
    # As `Objects.tensor`, without its call: this runs once per slot.
    linked = [(name, owner_of(owner), stored.get(nodes[slot].key or "")) for owner, name, slot in links]
    inferred = _with_shapes(reading, inferred, linked)
    class_name = reading.config.class_name if reading.config else inferred.class_name
    roles = dict.fromkeys(names, Role.OTHER) | _roles(reading.generation, class_name)
    new = tuple.__new__  # what the named tuple's constructor calls: this runs once per slot
    for name, variable, ref in linked:
        if ref is not None:
            reading.slots.append(new(Slot, (name, roles[name], variable.path if variable else None, ref, "name")))
        elif variable is not None:
            reading.missing.append(MissingSlot(name, roles[name], variable.path))
    if reading.slots:
        _complete(reading, [*names, *_lost_kinds(reading, class_name, names)], roles)
    return inferred


def _lost_kinds(reading: Reading, class_name: str | None, names: Sequence[str]) -> list[str]:
    """Kinds that a class keeps for every variable, as far as settings tell, and that no variable has."""
    due: list[set[str]] = []
    for layout in layouts(class_name or "", reading.generation):
        stored = [(each.setting, reading.singles.get(each.name)) for each in layout.hypers]
        on = frozenset(setting for setting, each in stored if each is not None and is_on(each.value))
        if reading.config is None and class_name in classes(reading.generation):
            on = frozenset()  # what switches Keras' own slots on is an argument, and its variable may say otherwise
        settings = reading.config.settings if reading.config else Settings(on)
        due.append({kind.name for kind in layout.kinds if not kind.when.startswith("!") and settings.has(kind.when)})
    return sorted(set.intersection(*due).difference(names)) if due else []


def _with_shapes(reading: Reading, inferred: inference.Inference, linked: Iterable[_Linked]) -> inference.Inference:
    """Keeps a class only if it keeps one number for a whole variable where that is what is there (NovoGrad)."""
    known = layouts(inferred.class_name or "", reading.generation)
    scalar = {kind.name for layout in known for kind in layout.kinds if kind.extent is Extent.SCALAR}
    kinds: dict[str, set[bool]] = {}
    for name, variable, ref in linked:
        if ref is not None and variable is not None and variable.tensor.shape:
            kinds.setdefault(name, set()).add(not ref.shape)
    wrong = any(all(each) for name, each in kinds.items() if name not in scalar)
    wrong = wrong or any(not all(each) for name, each in kinds.items() if name in scalar)
    return inference.Inference(None) if wrong else inferred


def _complete(reading: Reading, names: Sequence[str], roles: Mapping[str, Role]) -> None:
    """Adds what is missing: kinds of slots that a trained variable lacks and others have.

    Nothing in a plain checkpoint says which variables are trained. In a layer whose other variables have slots those
    are that Keras' own layers train, by their names; a layer without any may be frozen, or another optimizer's.
    """
    have: dict[str, set[str | None]] = {name: set() for name in names}
    for slot in reading.slots:
        have[slot.name].add(slot.variable)
    for each in reading.missing:
        have[each.name].add(each.variable)
    whole = set.intersection(*have.values())
    lacking = [each for each in reading.objects.variables if each.path not in whole and each.trainable is not False]
    if not lacking:
        return
    from ckptdoctor.formats.keras.layers import TRAINED_NAMES

    touched = set.union(*have.values())
    layers = {each.rpartition("/")[0] for each in touched if each} - {""}
    for path, _, trainable, _ in lacking:
        layer, _, last = path.rpartition("/")
        if path in touched or ((trainable or last in TRAINED_NAMES) and layer in layers):
            reading.missing.extend(
                MissingSlot(name, roles.get(name, Role.OTHER), path) for name in names if path not in have[name]
            )


def _roles(generation: Generation, class_name: str | None) -> dict[str, Role]:
    if generation is Generation.TF1:
        return {kind.name: kind.role for each in TF1_OPTIMIZERS if each.class_name == class_name for kind in each.slots}
    kinds = (EMA, *(kind for layout in layouts(class_name or "", generation) for kind in layout.kinds))
    return {kind.name: kind.role for kind in kinds}


def _tf1_class(names: Sequence[str], scalars: Mapping[str, object]) -> inference.Inference:
    powers = tuple(name for name in ("beta1_power", "beta2_power") if name in scalars)
    found = [
        each.class_name
        for each in TF1_OPTIMIZERS
        if {kind.name for kind in each.slots} == set(names) and each.beta_powers == powers
    ]
    ordered = list(dict.fromkeys(found))
    return inference.Inference(ordered[0], tuple(ordered[1:])) if ordered else inference.Inference(None)
