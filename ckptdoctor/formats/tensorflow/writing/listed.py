"""Optimizers of Keras 2.11 and later, and of Keras 3: one list `_variables`, and one for each kind of slot.

Source: `_trackable_children` of Keras 2 (keras/optimizers/optimizer.py, 2.11 to 2.15 and tf_keras) and of Keras 3
(keras/src/optimizers/base_optimizer.py, loss_scale_optimizer.py), and what TensorFlow 2.11 to 2.21 wrote with them.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptdoctor.containers.bundles.writing import NewTensor
from ckptdoctor.formats.tensorflow.writing.site import (
    Place,
    Site,
    add_loss_scale,
    count_tensor,
    loss_scale,
    note_unknown,
)
from ckptdoctor.optimizers.catalogue import Extent, PerVariable, Single, SlotKind
from ckptdoctor.optimizers.inference import snake_case
from ckptdoctor.optimizers.keras.config import CURRENT_RATE, Settings
from ckptdoctor.optimizers.lists.layout import ITERATION, LEARNING_RATE, Trained, blocks, expand
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedSlot
from ckptdoctor.state import Generation

_EMPTY_LISTS = frozenset({"Adafactor", "Muon"})
"""Classes of Keras 3 whose lists per slot kind are not tracked (they hold None, or are filled before tracking)."""


def build_keras2(site: Site) -> None:
    """An optimizer of Keras 2.11 to 2.15 or tf_keras."""
    optimizer = site.optimizer
    name = site.name(optimizer.class_name)
    prefix = "" if optimizer.wrapper is not None else f"{name}/"
    place = Place(site, site.node, site.path)
    listed = place.object("_variables")
    count = place.variable("_iterations", "iteration", count_tensor(optimizer.iterations))
    if not site.scheduled:
        _learning_rate(site, place, "learning_rate")
    elif (rate := _last_rate(optimizer)) is not None:
        place.variable(f"_{CURRENT_RATE}", CURRENT_RATE, site.number(rate))
    if optimizer.wrapper is not None:
        add_loss_scale(site, place)
    place.object("_index_dict")
    for each, value in optimizer.singles.items():
        place.variable(f"_{each}", f"{name}/Variable", site.number(value))
    position = 0
    if site.counted:
        listed.attach("0", count)
        position = 1
    lists = _Lists(site, place)
    for kind, slot in _in_order(site):
        if slot is not None and isinstance(kind, SlotKind):
            full = f"{prefix}{kind.name}/{site.full_name(slot.variable)}"
            lists.add(kind, slot, listed.variable(str(position), full, site.slot(slot)))
            position += 1
    lists.finish(prefix)


def build_keras3(site: Site) -> None:
    """An optimizer of Keras 3, in its wrapper if it has one."""
    own = site.name(snake_case(site.optimizer.class_name))
    if site.optimizer.wrapper is None:
        _keras3_optimizer(site, Place(site, site.node, site.path), own, "")
        return
    # The wrapper is an optimizer itself, with a count and a rate that it never uses (LossScaleOptimizer.build).
    values = site.optimizer.wrapper[1]
    name = "loss_scale_optimizer"
    place = Place(site, site.node, site.path)
    listed = place.object("_variables")
    _trained(site, place)
    listed.attach("0", place.variable(site.count_name, f"{name}/iteration", count_tensor(0)))
    listed.attach("1", place.variable("_learning_rate", f"{name}/learning_rate", site.number(0.0)))
    inner = place.object("inner_optimizer")
    steps, scale = loss_scale(site, values)
    listed.attach("2", place.variable("step_counter", f"{name}/step_counter", count_tensor(steps)))
    listed.attach("3", place.variable("dynamic_scale", f"{name}/dynamic_scale", site.number(scale)))
    _keras3_optimizer(site, inner, own, f"{name}/")


def _keras3_optimizer(site: Site, place: Place, name: str, outer: str) -> None:
    optimizer = site.optimizer
    listed = place.object("_variables")
    _trained(site, place)
    count = place.variable(site.count_name, f"{name}/iteration", count_tensor(optimizer.iterations))
    rate = None if site.scheduled else _learning_rate(site, place, f"{name}/learning_rate")
    product = {
        each: place.variable(f"_{each}", f"{outer or f'{name}/'}variable", site.number(value))
        for each, value in optimizer.singles.items()
    }
    lists = _Lists(site, place)
    for position, (kind, slot) in enumerate(_in_order(site)):
        if kind == ITERATION:
            listed.attach(str(position), count)
        elif kind == LEARNING_RATE:
            if rate is not None:  # not known: its place stays empty, and the program's own rate in force
                listed.attach(str(position), rate)
        elif slot is None:
            if kind.name in product:
                listed.attach(str(position), product[kind.name])
        elif isinstance(kind, SlotKind):
            path = site.full_name(slot.variable)
            full = f"{path.replace('/', '_')}_{kind.name}"
            if kind.extent in {Extent.ROWS, Extent.COLUMNS}:
                full = path.rpartition("/")[2]  # named as the variable itself (Adafactor.build)
            lists.add(kind, slot, listed.variable(str(position), f"{outer}{name}/{full}", site.slot(slot)))
    lists.finish("")


def _trained(site: Site, place: Place) -> None:
    trained = place.object("_trainable_variables")
    for position, path in enumerate(site.optimizer.trained):
        trained.attach(str(position), site.trained_node(path))
    place.object("_trainable_variables_indices")


class _Lists:
    """The lists of slot variables that an optimizer has beside `_variables`: index i is the i-th trained variable."""

    def __init__(self, site: Site, place: Place) -> None:
        self.site = site
        self.positions = {path: position for position, path in enumerate(site.optimizer.trained)}
        self.lists: dict[str, Place] = {}
        self.filled: set[tuple[str, int]] = set()
        layout, settings = site.optimizer.layout, site.optimizer.settings
        for block in blocks(layout):
            for kind in block.kinds if isinstance(block, PerVariable) else ():
                optional = kind.when == "amsgrad" or block not in layout.blocks
                if kind.attribute and kind.attribute not in self.lists and (not optional or settings.has(kind.when)):
                    self.lists[kind.attribute] = place.object(kind.attribute)

    def add(self, kind: SlotKind, slot: PlannedSlot, node: int) -> None:
        position = self.positions[slot.variable]
        layout = self.site.optimizer.layout
        untracked = layout.generation is Generation.KERAS3 and kind in layout.kinds and not layout.wrapped
        if kind.attribute not in self.lists or (untracked and self.site.optimizer.class_name in _EMPTY_LISTS):
            return
        self.lists[kind.attribute].attach(str(position), node)
        self.filled.add((kind.attribute, position))

    def finish(self, prefix: str) -> None:
        """Adds what stands in the lists only: a dummy for each vector's missing factors.

        Adafactor of Keras 2, and of Keras 3 inside a wrapper; Keras 3 counts its dummies in int32 and names them as the
        variable.
        """
        layout = self.site.optimizer.layout
        if layout.generation is not Generation.KERAS2 and not layout.wrapped:
            return
        for kind in layout.kinds:
            for path, position in self.positions.items():
                if kind.extent is not Extent.VARIABLE and (kind.attribute, position) not in self.filled:
                    name = self.site.full_name(path)
                    full = name.rpartition("/")[2] if layout.wrapped else f"{prefix}r/{name}"
                    dummy = NewTensor("int32" if layout.wrapped else self.site.placeholder, (), None)
                    self.lists[kind.attribute].variable(str(position), full, dummy)


def _in_order(site: Site) -> Iterator[tuple[SlotKind | Single, PlannedSlot | None]]:
    """Every element of the list that the layout predicts, with the slot that is planned for it."""
    optimizer = site.optimizer
    planned = {(slot.kind.name, slot.variable): slot for slot in optimizer.slots}
    trained = [Trained(path, site.shapes[path]) for path in optimizer.trained if site.trained_node(path) >= 0]
    flags = optimizer.settings.flags | {"schedule"} if site.scheduled else optimizer.settings.flags - {"schedule"}
    settings = Settings(flags, optimizer.settings.exclude_layers, optimizer.settings.exclude_embeddings)
    for each in expand(optimizer.layout, trained, settings):
        if not isinstance(each.kind, SlotKind) or each.variable is None:
            yield each.kind, None
            continue
        path = trained[each.variable].path
        empty = PlannedSlot(each.kind, path, each.shape, "float32", None)
        yield each.kind, planned.get((each.kind.name, path), empty)


def _learning_rate(site: Site, place: Place, full_name: str) -> int | None:
    rate = site.optimizer.learning_rate
    if rate is None:
        note_unknown(site, ["learning_rate"])
        return None
    return place.variable("_learning_rate", full_name, site.number(rate))


def _last_rate(optimizer: PlannedOptimizer) -> float | None:
    """What a schedule gave last; the rewritten optimizers keep it beside the schedule, and set it before every step."""
    rate = optimizer.hyperparameters.get(CURRENT_RATE)
    if not isinstance(rate, (int, float)) or isinstance(rate, bool):
        rate = optimizer.schedule.learning_rate if optimizer.schedule is not None else None
    return None if rate is None else float(rate)
