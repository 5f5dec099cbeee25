"""The place in an object graph where an optimizer is built, and what every generation's builder needs."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ckptdoctor.containers.bundles.writing import NewTensor
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.tensorflow.writing.graph_editor import GraphEditor
from ckptdoctor.optimizers.catalogue import Extent
from ckptdoctor.optimizers.inference import class_of_name
from ckptdoctor.optimizers.keras.config import CURRENT_RATE
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedSlot

_INITIAL_SCALE = 2.0**15
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
        """A floating-point scalar.

        Raises:
            GraftRefused: Its type cannot hold it.
        """
        try:
            packed = struct.pack(_FLOATS[self.float_dtype], value)
        except OverflowError as error:
            raise GraftRefused(f"{value:g} is more than {self.float_dtype} can hold") from error
        return NewTensor(self.float_dtype, (), packed)

    def setting(self, value: float, *, as_given: bool) -> NewTensor:
        """A setting that is kept as a variable: a number, or of the type that TensorFlow makes of what it is given."""
        if as_given and isinstance(value, bool):
            return NewTensor("bool", (), bytes([value]))
        if as_given and isinstance(value, int) and -1 << 31 <= value < 1 << 31:
            return NewTensor("int32", (), struct.pack("<i", value))
        return self.number(float(value))

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
        return NewTensor(dtype, slot.shape, slot.content, slot.factor)

    @property
    def scheduled(self) -> bool:
        """A schedule sets the learning rate: it is configured, or known by the rate that it gave last."""
        optimizer = self.optimizer
        if optimizer.schedule is not None or "schedule" in optimizer.settings.flags:
            return True
        return "learning_rate" not in optimizer.hyperparameters and CURRENT_RATE in optimizer.hyperparameters

    def name(self, default: str) -> str:
        """The name in front of its variables: the old one if it is of the same class."""
        same = self.old_name and class_of_name(self.old_name) == self.optimizer.class_name
        return self.old_name if same else default


class Place:
    """One object whose children are set one by one, nodes of the old object with the same names being used again."""

    def __init__(self, site: Site, node: int, path: Sequence[str]) -> None:
        self.site = site
        self.node = node
        self.path = tuple(path)
        self._old = site.editor.old_children(node)
        self.links = site.editor.old_links(node)
        site.editor.clear(node)

    def spare(self, name: str) -> int | None:
        """The old object's child with this name."""
        return self._old.get(name)

    def variable(self, name: str, full_name: str, tensor: NewTensor) -> int:
        """Adds a child that is a variable; answers its node."""
        node = self.site.editor.take(self.spare(name))
        self.site.editor.set_value(node, full_name, (*self.path, name), tensor)
        return self.attach(name, node)

    def attach(self, name: str, node: int) -> int:
        """Makes a node a child, whatever else it is; answers it."""
        self.site.editor.attach(self.node, name, node)
        return node

    def object(self, name: str) -> Place:
        """Adds a child that is an object: a list, a dictionary, an inner optimizer."""
        node = self.site.editor.take(self.spare(name), emptied=False)
        self.attach(name, node)
        return Place(self.site, node, (*self.path, name))


def add_loss_scale(site: Site, place: Place) -> None:
    """The scale of a LossScaleOptimizer up to Keras 2 (`_DynamicLossScaleState`)."""
    wrapper = site.optimizer.wrapper
    steps, scale = loss_scale(site, wrapper[1] if wrapper is not None else {})
    holder = place.object("loss_scale")
    holder.variable("current_loss_scale", "current_loss_scale", NewTensor("float32", (), struct.pack("<f", scale)))
    holder.variable("good_steps", "good_steps", count_tensor(steps))


def loss_scale(site: Site, values: Mapping[str, float | int]) -> tuple[int, float]:
    """Steps since the last change of the loss scale, and the scale; both by the names of either generation."""
    steps = values.get("step_counter", values.get("good_steps"))
    scale = values.get("dynamic_scale", values.get("current_loss_scale", values.get("loss_scale")))
    if scale is None:
        site.notes.append(f"the loss scale is not known: it starts again at {_INITIAL_SCALE:g}")
    return int(steps or 0), float(_INITIAL_SCALE if scale is None else scale)


def note_unknown(site: Site, names: Sequence[str]) -> None:
    """Says which hyperparameters the result does not hold."""
    if names:
        site.notes.append(
            f"{', '.join(names)}: not known, so not in the result; what the training program sets stays in force"
        )


def count_tensor(value: int) -> NewTensor:
    """A whole number, as counts are stored."""
    return NewTensor("int64", (), struct.pack("<q", value))
