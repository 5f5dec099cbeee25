"""An optimizer as it will be: what a graft plans and what writers write. Pure data."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from ckptdoctor.containers.tensors.dtypes import array_nbytes
from ckptdoctor.containers.tensors.shard_data import Constant
from ckptdoctor.optimizers.catalogue import Layout, SlotKind
from ckptdoctor.optimizers.keras.config import Settings
from ckptdoctor.optimizers.numbers import finite
from ckptdoctor.references import TensorRef, TreeLeaf
from ckptdoctor.state import NOTHING, Generation, Schedule, StateDict, Wrapper

Matched: TypeAlias = Literal["map", "path", "name", "structure", "order", "weights", "equal", "own"]
"""How a donor's variable was found for a target's.

`weights`: by order, and equal weights confirm it; `equal`: by equal weights alone; `own`: the target's own state, which
stays.
"""


class PlannedSlot(NamedTuple):
    """One slot variable of the result.

    Attributes:
        kind: What it is, in the generation that is written.
        variable: Path of the target's model variable.
        shape: Its shape.
        dtype: Its type: that of the model variable.
        source: The donor's tensor; None where it has none.
        factor: What the values are multiplied by.
        formula: The same for people; "" if they are copied as they are.
        donor_variable: The donor's name for the variable.
        matched: How it was found; None where nothing was.
        start: Without a source: the number, or the tensor, that an optimizer begins with.
    """

    kind: SlotKind
    variable: str
    shape: tuple[int, ...]
    dtype: str
    source: TensorRef | None
    factor: float = 1.0
    formula: str = ""
    donor_variable: str | None = None
    matched: Matched | None = None
    start: float | TensorRef = 0.0

    @property
    def content(self) -> TensorRef | Constant | None:
        """Where its values come from; None: zeros."""
        if self.source is not None:
            return self.source
        if isinstance(self.start, TensorRef):
            return self.start
        return Constant(self.start) if self.start else None

    @property
    def nbytes(self) -> int:
        """Bytes of its values in the result."""
        return array_nbytes(self.dtype, self.shape)


class PlannedStateDict(NamedTuple):
    """A state_dict of PyTorch, as it will be.

    Attributes:
        stored: Its groups and states.
        variables: The target's name of each parameter; None where nothing tells it.
        schedulers: What the target calls a scheduler, or None for one that is new to it → its state_dict.
        keys: Under which keys a model and an optimizer are put where there is no dictionary yet.
    """

    stored: StateDict
    variables: tuple[str | None, ...]
    schedulers: tuple[tuple[str | None, Mapping[Any, Any]], ...] = ()
    keys: Mapping[str, str] = NOTHING


class PlannedOptimizer(NamedTuple):
    """The optimizer as it will be in the result.

    Attributes:
        name: Its name or attribute path in the result (`optimizer`, `model/optimizer`).
        class_name: The Keras class.
        generation: The generation that is written.
        layout: The catalogue's entry for the list that is written.
        settings: Which state variables it keeps.
        hyperparameters: In force in the result, under Keras 3's names.
        schedule: The learning-rate schedule; None if the rate is a number.
        iterations: The count as it is stored.
        singles: Scalars that belong to no variable (`u_product`, `beta1_power`), by the target's name.
        trained: Paths of the target's variables that it trains, in its order.
        slots: Every slot, in the order of the layout (`layout.expand`).
        wrapper: Class of a wrapper around it, with the wrapper's own scalars; None if there is none.
        configured: The target's own configuration of the optimizer stays as it is.
        label: What its program calls it, where that is no automatic name.
        tree: The leaves of its state, and of the count beside it, in the target's tree: of a chain of optax.
        state_dict: The whole of it, of PyTorch.
        beside: It is new beside those that the target has.
    """

    name: str
    class_name: str
    generation: Generation
    layout: Layout
    settings: Settings
    hyperparameters: Mapping[str, object]
    schedule: Schedule | None
    iterations: int
    singles: Mapping[str, float]
    trained: tuple[str, ...]
    slots: tuple[PlannedSlot, ...]
    wrapper: tuple[str, Mapping[str, float | int]] | None = None
    configured: bool = False
    label: str | None = None
    tree: tuple[TreeLeaf, ...] = ()
    state_dict: PlannedStateDict | None = None
    beside: bool = False

    @property
    def around(self) -> str | None:
        """A wrapper that keeps slots of its own: they stand first in the layout."""
        return None if self.wrapper is None or Wrapper(self.wrapper[0]).scales_loss else self.wrapper[0]

    @property
    def sources(self) -> Iterator[TensorRef]:
        """The tensors that its values come from; of a state_dict also those that are no slots, such as counts."""
        yield from (slot.source for slot in self.slots if slot.source is not None)
        for state in () if self.state_dict is None else self.state_dict.stored.states:
            yield from (each for each in (state or {}).values() if isinstance(each, TensorRef))

    @property
    def learning_rate(self) -> float | None:
        """The constant learning rate; None where a schedule sets it or none is known."""
        return None if self.schedule is not None else finite(self.hyperparameters.get("learning_rate"))
