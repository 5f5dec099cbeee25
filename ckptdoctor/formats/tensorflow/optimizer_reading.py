"""One optimizer of an object graph while it is read: what every way of lying there has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.formats.tensorflow.objects import Objects, OptimizerNode
from ckptdoctor.optimizers.catalogue import ACCUMULATION, EMA, SlotKind, layouts
from ckptdoctor.optimizers.keras.config import OptimizerConfig
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, MissingSlot, ModelVariable, OtherVariable, Slot

NOT_SLOTS = frozenset({"_variables", "_trainable_variables", "_trainable_variables_indices", "_index_dict"})


class Reading:
    """What is known of an optimizer so far.

    Attributes:
        objects: The classified graph.
        node: The optimizer.
        config: Its configuration, where the artifact records one.
        generation: The generation of its layout.
        hint: The class that its variables' names suggest.
        singles: Its own scalars, by attribute.
        slots: Its slots.
        missing: Slots that the graph says should be there.
        unstored: Model variables that slots name and the checkpoint lacks.
    """

    def __init__(
        self,
        objects: Objects,
        node: OptimizerNode,
        config: OptimizerConfig | None,
        generation: Generation,
        hint: str | None,
        singles: dict[str, OtherVariable],
    ) -> None:
        self.objects, self.node, self.config = objects, node, config
        self.generation, self.hint, self.singles = generation, hint, singles
        self.slots: list[Slot] = []
        self.missing: list[MissingSlot] = []
        self.unstored: list[ModelVariable] = []

    @property
    def children(self) -> Mapping[str, int]:
        """The optimizer node's children."""
        return self.objects.node(self.node.number).children

    def listed(self, name: str) -> list[tuple[int, int]]:
        """The numbered children of one of the optimizer's lists: (index, node)."""
        child = self.children.get(name)
        return [] if child is None else list(self.objects.graph.listed(child))

    def slot_lists(self) -> dict[str, Sequence[tuple[int, int]]]:
        """The optimizer's lists of slot variables that are filled, by attribute."""
        lists: dict[str, Sequence[tuple[int, int]]] = {}
        for name, child in self.children.items():
            if name not in NOT_SLOTS and not self.objects.node(child).is_variable:
                items = [each for each in self.listed(name) if self.objects.node(each[1]).is_variable]
                if items:
                    lists[name] = items
        return lists

    def keep(self, name: str, ref: TensorRef) -> None:
        """Keeps a scalar that no slot kind explains."""
        self.singles[name] = OtherVariable(name, ref, read_scalar(ref))


def scalars(objects: Objects, index: int) -> dict[str, OtherVariable]:
    """The scalar variables that hang on a node, by attribute name."""
    found: dict[str, OtherVariable] = {}
    for name, child in objects.node(index).children.items():
        ref = objects.tensor(child)
        if ref is not None and ref.shape == ():
            found[name] = OtherVariable(name, ref, read_scalar(ref))
    return found


def kinds_by_attribute(generation: Generation, class_name: str | None) -> dict[str, SlotKind]:
    """List attribute → slot kind, for one class."""
    found = {EMA.attribute: EMA, ACCUMULATION.attribute: ACCUMULATION}
    for layout in layouts(class_name or "", generation):
        found.update({kind.attribute: kind for kind in layout.kinds if kind.attribute})
    return found
