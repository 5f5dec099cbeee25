"""The nodes of an optimizer in a trackable object graph, as each generation lays them out.

Sources: `_trackable_children` of OptimizerV2 (keras/optimizers/optimizer_v2/optimizer_v2.py), of the rewritten
optimizers (keras/optimizers/optimizer.py, 2.11 to 2.15 and tf_keras) and of Keras 3 (keras/src/optimizers/
base_optimizer.py, loss_scale_optimizer.py), and what TensorFlow 2.3 to 2.21 wrote with each.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ckptdoctor.artifacts.graph_editor import GraphEditor
from ckptdoctor.containers.bundle_writer import NewTensor
from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers.catalogue import Extent, PerVariable, Single, SlotKind
from ckptdoctor.optimizers.config import Settings
from ckptdoctor.optimizers.inference import class_of_name, snake_case
from ckptdoctor.optimizers.layout import ITERATION, LEARNING_RATE, Trained, blocks, expand
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedSlot
from ckptdoctor.state import Generation

_V2_SCALARS: Mapping[str, tuple[str, ...]] = {
    "Adam": ("beta_1", "beta_2", "decay", "learning_rate"),
    "Adamax": ("beta_1", "beta_2", "decay", "learning_rate"),
    "Nadam": ("beta_1", "beta_2", "decay", "learning_rate"),
    "SGD": ("decay", "learning_rate", "momentum"),
    "RMSprop": ("decay", "learning_rate", "momentum", "rho"),
    "Adagrad": ("decay", "learning_rate"),
    "Adadelta": ("decay", "learning_rate", "rho"),
    "Ftrl": (
        "beta", "decay", "l1_regularization_strength", "l2_regularization_strength", "learning_rate",
        "learning_rate_power",
    ),
}  # fmt: skip
"""Hyperparameters that OptimizerV2 keeps as variables (`_set_hyper`), in the order in which it creates them."""
_OFF_UNLESS_SET = frozenset({"decay", "momentum"})
_EMPTY_LISTS = frozenset({"Adafactor", "Muon"})
"""Classes of Keras 3 whose lists per slot kind are not tracked (they hold None, or are filled before tracking)."""
_INITIAL_SCALE = 2.0**15
_CURRENT_RATE = "current_learning_rate"
_FLOATS = {"float32": "<f", "float64": "<d"}


@dataclass
class Site:
    """Where an optimizer is built, and what was there before.

    Attributes:
        editor: The graph.
        optimizer: The optimizer.
        node: Its node.
        path: The path to it.
        variables: Path of a model variable → its node.
        shapes: Path of a model variable → its shape.
        float_dtype: The type of scalars.
        old_name: The name in front of the old optimizer's variables.
        counted: `_variables` begins with the count (not so in `optimizers.experimental` of 2.9 and 2.10).
        notes: What the user should know.
    """

    editor: GraphEditor
    optimizer: PlannedOptimizer
    node: int
    path: tuple[str, ...]
    variables: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]
    float_dtype: str = "float32"
    old_name: str = ""
    count_name: str = "_iterations"
    counted: bool = True
    placeholder: str = "int32"
    notes: list[str] = field(default_factory=list)

    def number(self, value: float) -> NewTensor:
        """A floating-point scalar."""
        return NewTensor(self.float_dtype, (), struct.pack(_FLOATS[self.float_dtype], value))

    def trained_node(self, path: str) -> int:
        """The node of a model variable.

        Raises:
            GraftRefused: The graph has none.
        """
        if path not in self.variables:
            raise GraftRefused(f"the target's object graph has no variable {path!r}")
        return self.variables[path]

    def full_name(self, path: str) -> str:
        """A model variable's own name."""
        attribute = self.editor.attribute(self.trained_node(path))
        return (attribute.full_name if attribute is not None else "") or path

    def slot(self, slot: PlannedSlot) -> NewTensor:
        """The values of a slot."""
        dtype = slot.dtype
        if slot.kind.extent in {Extent.ROWS, Extent.COLUMNS} and slot.shape == () and slot.source is None:
            dtype = self.placeholder
        return NewTensor(dtype, slot.shape, slot.source, slot.factor)

    @property
    def scheduled(self) -> bool:
        """A schedule sets the learning rate: it is configured, or known by the rate that it gave last."""
        optimizer = self.optimizer
        if optimizer.schedule is not None or "schedule" in optimizer.settings.flags:
            return True
        return "learning_rate" not in optimizer.hyperparameters and _CURRENT_RATE in optimizer.hyperparameters

    def name(self, default: str) -> str:
        """The name in front of its variables: the old one if it is of the same class."""
        same = self.old_name and class_of_name(self.old_name) == self.optimizer.class_name
        return self.old_name if same else default


class _Place:
    """One object whose children are set one by one, nodes of the old object with the same names being used again."""

    def __init__(self, site: Site, node: int, path: Sequence[str]) -> None:
        self.site = site
        self.node = node
        self.path = tuple(path)
        self._old = site.editor.old_children(node)
        self.links = site.editor.old_links(node)
        site.editor.clear(node)

    def spare(self, name: str) -> int | None:
        return self._old.get(name)

    def variable(self, name: str, full_name: str, tensor: NewTensor) -> int:
        node = self.site.editor.take(self.spare(name))
        self.site.editor.set_value(node, full_name, (*self.path, name), tensor)
        return self.attach(name, node)

    def attach(self, name: str, node: int) -> int:
        self.site.editor.attach(self.node, name, node)
        return node

    def object(self, name: str) -> _Place:
        node = self.site.editor.take(self.spare(name), emptied=False)
        self.attach(name, node)
        return _Place(self.site, node, (*self.path, name))


def build(site: Site) -> None:
    """Builds the optimizer at its node.

    Raises:
        GraftRefused: Its generation has no object graph.
    """
    generation = site.optimizer.generation
    if generation is Generation.OPTIMIZER_V2:
        _optimizer_v2(site)
    elif generation is Generation.TF1:
        _tf1(site)
    elif generation is Generation.KERAS2:
        _keras2(site)
    elif generation is Generation.KERAS3:
        _keras3(site)
    else:
        raise GraftRefused("optimizers of standalone Keras 1 and 2 were never part of a TensorFlow checkpoint")


# ------------------------------------------------------------------------------------------------------- OptimizerV2


def _optimizer_v2(site: Site) -> None:
    optimizer = site.optimizer
    name = site.name(optimizer.class_name)
    place = _Place(site, site.node, site.path)
    if optimizer.wrapper is not None:
        _loss_scale(site, place)
        place.object("base_optimizer")  # a node without children: its state is on this one
    place.variable("iter", f"{name}/iter", _count(optimizer.iterations))
    unknown: list[str] = []
    for each in _V2_SCALARS.get(optimizer.class_name, ("decay", "learning_rate")):
        value = _hyperparameter(optimizer, each)
        if each == "learning_rate" and site.scheduled:
            continue
        if value is None:
            unknown.append(each)
        else:
            place.variable(each, f"{name}/{each}", site.number(value))
    _note_unknown(site, unknown)
    for each, value in optimizer.singles.items():
        place.variable(each, f"{name}/{each}", site.number(value))
    _link_slots(site, place, lambda slot: f"{name}/{site.full_name(slot.variable)}/{slot.kind.name}")


def _tf1(site: Site) -> None:
    """A tf.compat.v1.train optimizer in a tf.train.Checkpoint: beta powers and linked slots, no count."""
    place = _Place(site, site.node, site.path)
    for each, value in site.optimizer.singles.items():
        place.variable(each, each, site.number(value))
    counts: dict[str, int] = {}

    def full_name(slot: PlannedSlot) -> str:
        number = counts[slot.variable] = counts.get(slot.variable, -1) + 1
        owner = f"{site.full_name(slot.variable)}/{site.optimizer.class_name}"
        return f"{owner}_{number}" if number else owner

    _link_slots(site, place, full_name)
    site.notes.append(
        "TensorFlow 1 optimizers keep no count in an object graph: the training loop's own step is left as it was"
    )


def _link_slots(site: Site, place: _Place, full_name: Callable[[PlannedSlot], str]) -> None:
    """Slots that the optimizer's node links to their variables; they are nobody's children."""
    for slot in site.optimizer.slots:
        variable = site.trained_node(slot.variable)
        node = site.editor.take(place.links.get((variable, slot.kind.name)))
        where = (site.path, slot.kind.name)
        site.editor.set_slot(node, full_name(slot), variable, where, site.slot(slot))
        site.editor.link(site.node, variable, slot.kind.name, node)


# ---------------------------------------------------------------------------------------- Keras 2.11 to 2.15, tf_keras


def _keras2(site: Site) -> None:
    optimizer = site.optimizer
    name = site.name(optimizer.class_name)
    prefix = "" if optimizer.wrapper is not None else f"{name}/"
    place = _Place(site, site.node, site.path)
    listed = place.object("_variables")
    count = place.variable("_iterations", "iteration", _count(optimizer.iterations))
    if not site.scheduled:
        _learning_rate(site, place, "learning_rate")
    elif (rate := _last_rate(optimizer)) is not None:
        place.variable(f"_{_CURRENT_RATE}", _CURRENT_RATE, site.number(rate))
    if optimizer.wrapper is not None:
        _loss_scale(site, place)
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


# --------------------------------------------------------------------------------------------------------------- Keras 3


def _keras3(site: Site) -> None:
    own = site.name(snake_case(site.optimizer.class_name))
    if site.optimizer.wrapper is None:
        _keras3_optimizer(site, _Place(site, site.node, site.path), own, "")
        return
    # The wrapper is an optimizer itself, with a count and a rate that it never uses (LossScaleOptimizer.build).
    values = site.optimizer.wrapper[1]
    name = "loss_scale_optimizer"
    place = _Place(site, site.node, site.path)
    listed = place.object("_variables")
    _trained(site, place)
    listed.attach("0", place.variable(site.count_name, f"{name}/iteration", _count(0)))
    listed.attach("1", place.variable("_learning_rate", f"{name}/learning_rate", site.number(0.0)))
    inner = place.object("inner_optimizer")
    steps, scale = _scale(site, values)
    listed.attach("2", place.variable("step_counter", f"{name}/step_counter", _count(steps)))
    listed.attach("3", place.variable("dynamic_scale", f"{name}/dynamic_scale", site.number(scale)))
    _keras3_optimizer(site, inner, own, f"{name}/")


def _keras3_optimizer(site: Site, place: _Place, name: str, outer: str) -> None:
    optimizer = site.optimizer
    listed = place.object("_variables")
    _trained(site, place)
    count = place.variable(site.count_name, f"{name}/iteration", _count(optimizer.iterations))
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


def _trained(site: Site, place: _Place) -> None:
    trained = place.object("_trainable_variables")
    for position, path in enumerate(site.optimizer.trained):
        trained.attach(str(position), site.trained_node(path))
    place.object("_trainable_variables_indices")


# ----------------------------------------------------------------------------------------------------- common to several


class _Lists:
    """The lists of slot variables that an optimizer has beside `_variables`: index i is the i-th trained variable."""

    def __init__(self, site: Site, place: _Place) -> None:
        self.site = site
        self.positions = {path: position for position, path in enumerate(site.optimizer.trained)}
        self.lists: dict[str, _Place] = {}
        self.filled: set[tuple[str, int]] = set()
        layout, settings = site.optimizer.layout, site.optimizer.settings
        for block in blocks(layout):
            for kind in block.kinds if isinstance(block, PerVariable) else ():
                optional = kind.when == "amsgrad" or block not in layout.blocks
                if kind.attribute and kind.attribute not in self.lists and (not optional or settings.has(kind.when)):
                    self.lists[kind.attribute] = place.object(kind.attribute)

    def add(self, kind: SlotKind, slot: PlannedSlot, node: int) -> None:
        position = self.positions[slot.variable]
        untracked = self.site.optimizer.generation is Generation.KERAS3 and kind in self.site.optimizer.layout.kinds
        if kind.attribute not in self.lists or (untracked and self.site.optimizer.class_name in _EMPTY_LISTS):
            return
        self.lists[kind.attribute].attach(str(position), node)
        self.filled.add((kind.attribute, position))

    def finish(self, prefix: str) -> None:
        """Adds what stands in the lists only: a dummy for each vector's missing factors (Keras 2's Adafactor)."""
        if self.site.optimizer.generation is not Generation.KERAS2:
            return
        for kind in self.site.optimizer.layout.kinds:
            for path, position in self.positions.items():
                if kind.extent is not Extent.VARIABLE and (kind.attribute, position) not in self.filled:
                    full = f"{prefix}r/{self.site.full_name(path)}"
                    dummy = NewTensor(self.site.placeholder, (), None)
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


def _learning_rate(site: Site, place: _Place, full_name: str) -> int | None:
    rate = site.optimizer.learning_rate
    if rate is None:
        _note_unknown(site, ["learning_rate"])
        return None
    return place.variable("_learning_rate", full_name, site.number(rate))


def _last_rate(optimizer: PlannedOptimizer) -> float | None:
    """What a schedule gave last; the rewritten optimizers keep it beside the schedule, and set it before every step."""
    rate = optimizer.hyperparameters.get(_CURRENT_RATE)
    if not isinstance(rate, (int, float)) or isinstance(rate, bool):
        rate = optimizer.schedule.learning_rate if optimizer.schedule is not None else None
    return None if rate is None else float(rate)


def _loss_scale(site: Site, place: _Place) -> None:
    """The scale of a LossScaleOptimizer up to Keras 2 (`_DynamicLossScaleState`)."""
    wrapper = site.optimizer.wrapper
    steps, scale = _scale(site, wrapper[1] if wrapper is not None else {})
    holder = place.object("loss_scale")
    holder.variable("current_loss_scale", "current_loss_scale", NewTensor("float32", (), struct.pack("<f", scale)))
    holder.variable("good_steps", "good_steps", _count(steps))


def _scale(site: Site, values: Mapping[str, float | int]) -> tuple[int, float]:
    """Steps since the last change of the loss scale, and the scale; both by the names of either generation."""
    steps = values.get("step_counter", values.get("good_steps"))
    scale = values.get("dynamic_scale", values.get("current_loss_scale", values.get("loss_scale")))
    if scale is None:
        site.notes.append(f"the loss scale is not known: it starts again at {_INITIAL_SCALE:g}")
    return int(steps or 0), float(_INITIAL_SCALE if scale is None else scale)


def _hyperparameter(optimizer: PlannedOptimizer, name: str) -> float | None:
    value = optimizer.hyperparameters.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return 0.0 if value is None and name in _OFF_UNLESS_SET and name not in optimizer.settings.flags else None


def _note_unknown(site: Site, names: Sequence[str]) -> None:
    if names:
        site.notes.append(
            f"{', '.join(names)}: not known, so not in the result; what the training program sets stays in force"
        )


def _count(value: int) -> NewTensor:
    return NewTensor("int64", (), struct.pack("<q", value))
