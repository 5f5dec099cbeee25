"""The rewritten optimizers of Keras 2.11 to 2.15 and tf_keras: one list a slot kind, index i = i-th trained variable.

Nothing links a slot to its variable but the variable's name inside the slot's full name (`Adam/m/dense/kernel`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ckptdoctor.formats.keras.optimizer_groups import resembles
from ckptdoctor.formats.tensorflow.optimizer_reading import Reading, kinds_by_attribute
from ckptdoctor.formats.tensorflow.training_order import in_order_of_training
from ckptdoctor.optimizers import inference
from ckptdoctor.optimizers.catalogue import Extent, SlotKind
from ckptdoctor.optimizers.keras.naming import MOST_PARTS
from ckptdoctor.references import TensorRef
from ckptdoctor.state import MissingSlot, ModelVariable, Role, Slot

Lists = Mapping[str, Sequence[tuple[int, int]]]
Owners = dict[int, str]
"""List index → path of the model variable."""
Named = dict[tuple[str, tuple[int, ...]], list[ModelVariable]]
"""Full name and shape → the model variables."""
Options = Mapping[int, Sequence[ModelVariable]]
"""List index → the variables that it may be."""


class _Trained:
    """What the slots at one index say of their variable: its shape, and the full names that contain its name."""

    __slots__ = ("names", "shape")

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.names: list[tuple[str, SlotKind | None]] = []


def read_listed(reading: Reading) -> inference.Inference:
    """Reads slots by the optimizer's lists."""
    lists = reading.slot_lists()
    inferred = inference.by_slots(
        reading.generation, list(lists), attributes=True, scalars=reading.children, hint=reading.hint
    )
    kinds = kinds_by_attribute(reading.generation, reading.config.class_name if reading.config else inferred.class_name)
    owners, by_order = _owners(reading, lists, kinds)
    for attribute, items in lists.items():
        kind = kinds.get(attribute)
        name, role = (kind.name, kind.role) if kind else (attribute.lstrip("_"), Role.OTHER)
        for position, child in items:
            ref = reading.objects.tensor(child)
            variable = owners.get(position)
            if ref is not None:
                reading.slots.append(Slot(name, role, variable, ref, "order" if position in by_order else "name"))
            elif variable is not None:
                reading.missing.append(MissingSlot(name, role, variable))
    _add_unlisted(reading, lists)
    return inferred


def _add_unlisted(reading: Reading, lists: Lists) -> None:
    """State in `_variables` that no list holds: still state, though of a kind that is not known."""
    seen = {child for items in lists.values() for _, child in items} | set(reading.children.values())
    for position, child in reading.listed("_variables"):
        ref = reading.objects.tensor(child)
        if child in seen or ref is None:
            continue
        if ref.shape == ():
            reading.keep(f"_variables/{position}", ref)
        else:
            name = reading.objects.node(child).full_name.rpartition("/")[2] or str(position)
            reading.slots.append(Slot(name, Role.OTHER, None, ref, "order"))


def _owners(reading: Reading, lists: Lists, kinds: Mapping[str, SlotKind]) -> tuple[Owners, set[int]]:
    """Which variable the slots at each index belong to, and the indices of which only the order tells."""
    trained = _trained(reading, lists, kinds)
    named: Named = {}
    for index, variable in reading.objects.by_node.items():
        named.setdefault((reading.objects.node(index).full_name, variable.tensor.shape), []).append(variable)
    options = {position: _by_name(each, named) for position, each in trained.items()}
    owners: Owners = {position: found[0].path for position, found in options.items() if len(found) == 1}
    shared = {position: found for position, found in options.items() if len(found) > 1}
    ordered: Owners = {}
    if shared:
        owners.update(_by_model(reading, shared))
        ordered = _by_order(reading, {position: each for position, each in shared.items() if position not in owners})
        owners.update(ordered)
    if not named or all(not found for found in options.values()):
        owners.update(_unstored(reading, trained))
    return owners, set(ordered)


def _trained(reading: Reading, lists: Lists, kinds: Mapping[str, SlotKind]) -> dict[int, _Trained]:
    found: dict[int, _Trained] = {}
    for attribute, items in lists.items():
        kind = kinds.get(attribute)
        for position, child in items:
            ref: TensorRef | None = reading.objects.tensor(child)
            full = reading.objects.node(child).full_name
            if ref is None:
                continue
            each = found.setdefault(position, _Trained(ref.shape))
            if kind is None or kind.extent is Extent.VARIABLE:
                each.shape = ref.shape
            if full:
                each.names.append((full, kind))
    return found


def _by_name(trained: _Trained, named: Named) -> list[ModelVariable]:
    """The variables whose name ends one of the slots' full names: the longest such name, and the shapes agree."""
    for full, _ in trained.names:
        parts = full.split("/")
        for start in range(max(1, len(parts) - MOST_PARTS), len(parts)):
            found = named.get(("/".join(parts[start:]), trained.shape))
            if found:
                return found
    return []


def _by_order(reading: Reading, shared: Options) -> Owners:
    """Variables of one full name and shape, all of which the optimizer holds: in the order in which Keras 2 trains."""
    positions: dict[str, list[int]] = {}  # by the first candidate: a name and a shape have the same ones everywhere
    for position, found in sorted(shared.items()):
        positions.setdefault(found[0].path, []).append(position)
    nodes = {variable.path: index for index, variable in reading.objects.by_node.items()}
    owners: Owners = {}
    for path, alike in positions.items():
        found = shared[alike[0]]
        if len(found) != len(alike):
            continue  # some are not trained: nothing tells which
        placed = in_order_of_training(reading.objects, reading.objects.node(nodes[path]).full_name, found)
        owners.update({at: each.path for at, each in zip(alike, placed, strict=True) if each is not None})
    return owners


def _by_model(reading: Reading, shared: Options) -> Owners:
    """Two models with the same layer names (a GAN): the model that the optimizer's attribute resembles is its own."""
    paths = reading.objects.object_paths
    roots = {paths[variable.path].partition("/")[0] for found in shared.values() for variable in found} - {""}
    own = reading.node.path.rpartition("/")[2].lower()
    alike = [root for root in roots if resembles(root.lower(), own)]
    # The longest: "generator" is part of a name that also says "regenerator".
    best = max(alike, key=len, default=None)
    owners: Owners = {}
    for position, found in shared.items():
        mine = [variable for variable in found if paths[variable.path].partition("/")[0] == best]
        if len(mine) == 1:
            owners[position] = mine[0].path
    return owners


def _unstored(reading: Reading, trained: Mapping[int, _Trained]) -> Owners:
    """A checkpoint of the optimizer alone: its slots still name their variables, which are somewhere else."""
    owners: Owners = {}
    taken: set[str] = set()
    for position, each in trained.items():
        for full, kind in each.names:
            # `Adam/m/dense/kernel`, or `m/dense/kernel` inside a LossScaleOptimizer.
            tag = f"/{kind.name}/" if kind else ""
            name = f"/{full}".partition(tag)[2] if tag else ""
            if name and name not in taken:
                owners[position] = name
                taken.add(name)
                reading.unstored.append(ModelVariable(name, TensorRef("", "", each.shape, None), trainable=True))
                break
    return owners
