"""The list that an optimizer saves, element by element: `optimizer_weights`, `optimizer/vars` and dumps hold it."""

import re
import struct
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ckptdoctor.containers.tensors.shard_data import Constant
from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers.catalogue import PerVariable, Single
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.serialize import default_rate
from ckptdoctor.optimizers.lists.layout import ITERATION, LEARNING_RATE, blocks, head
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedSlot
from ckptdoctor.references import TensorRef

_NUMBERS = re.compile(r"[0-9]{1,9}(?![0-9])")
_STEP_COUNTER = "step_counter"
_DYNAMIC_SCALE = "dynamic_scale"
_INITIAL_SCALE = 2.0**15


class Element(NamedTuple):
    """One element of the list.

    Attributes:
        label: The slot's kind, or the scalar's name.
        variable: Path of the slot's model variable; None for scalars.
        dtype: Its type.
        shape: Its shape.
        content: A tensor, the bytes of a scalar, one number for every element, or None for zeros.
        factor: What the donor's values are multiplied by.
    """

    label: str
    variable: str | None
    dtype: str
    shape: tuple[int, ...]
    content: TensorRef | bytes | Constant | None
    factor: float = 1.0


def elements(optimizer: PlannedOptimizer) -> tuple[Element, ...]:
    """The optimizer's own list, in the order of `optimizer.variables` and `get_weights()`.

    Raises:
        GraftRefused: A scalar that belongs to it is not known.
    """
    return tuple(_elements(optimizer))


def require_listable(optimizer: PlannedOptimizer) -> None:
    """Raises what making the list would.

    Raises:
        GraftRefused: A scalar that belongs to it is not known.
    """
    for _ in (*wrapper_elements(optimizer), *elements(optimizer)):
        pass


def _elements(optimizer: PlannedOptimizer) -> Iterator[Element]:
    for single in head(optimizer.layout, optimizer.settings):
        if single is LEARNING_RATE:
            yield float_element(single.name, _rate(optimizer))
        elif single is ITERATION:
            yield count_element(single.name, optimizer.iterations)
    waiting = deque(optimizer.slots)
    for block in blocks(optimizer.layout):
        if isinstance(block, PerVariable):
            while waiting and waiting[0].kind in block.kinds:
                yield _slot(waiting.popleft())
        else:
            value = optimizer.singles.get(block.name)
            if value is None:
                raise GraftRefused(f"the value of {optimizer.class_name}'s {block.name!r} is not known")
            yield float_element(block.name, value)
    if waiting:
        raise GraftRefused(
            f"{len(waiting)} planned slots are not in the order of {optimizer.class_name}'s list, from "
            f"{waiting[0].kind.name} of {waiting[0].variable} on"
        )


def _slot(slot: PlannedSlot) -> Element:
    return Element(slot.kind.name, slot.variable, slot.dtype, slot.shape, slot.content, slot.factor)


def position(key: str) -> int:
    """An element's place in its list, the last number of its key (`[3]`, `arr_3`, `optimizer/vars/3`); -1 for none."""
    numbers = _NUMBERS.findall(key)
    return int(numbers[-1]) if numbers else -1


def count_element(label: str, value: int) -> Element:
    """A count: int64, as every Keras on TensorFlow keeps it; others cast it when they load."""
    return Element(label, None, "int64", (), struct.pack("<q", value))


def float_element(label: str, value: float) -> Element:
    """A float32 scalar.

    Raises:
        GraftRefused: No float32 can hold it.
    """
    try:
        packed = struct.pack("<f", value)
    except OverflowError as error:
        raise GraftRefused(f"{label} is {value:g}, which is more than its type (float32) can hold") from error
    return Element(label, None, "float32", (), packed)


def _rate(optimizer: PlannedOptimizer) -> float:
    rate = optimizer.learning_rate
    if rate is None:
        rate = default_rate(optimizer.class_name, optimizer.generation)
    if rate is None:
        raise GraftRefused("the learning rate is not known, and Keras 3 keeps it among the optimizer's variables")
    return rate


def notes(optimizer: PlannedOptimizer) -> tuple[str, ...]:
    """What an engineer should know of the list, whatever file it goes into."""
    found = (_assumed_rate(optimizer), _lost_product(optimizer))
    return tuple(note for note in found if note is not None)


def _lost_product(optimizer: PlannedOptimizer) -> str | None:
    """Keras 2.11 to 2.15 and wrappers of Keras 3 keep Nadam's `_u_product` out of `variables`, and so of every file."""
    has_product = any(isinstance(block, Single) for block in optimizer.layout.blocks)
    if optimizer.class_name != "Nadam" or has_product or dialect(optimizer.generation).nadam != "fast":
        return None
    return (
        "this Keras never saves Nadam's product of momentum decays (_u_product), and starts it at 1 again after "
        "loading: the moments are exact, the following updates differ from those of a run without interruption"
    )


def _assumed_rate(optimizer: PlannedOptimizer) -> str | None:
    """The learning rate had to be the class's default, as neither donor nor target tells it."""
    if LEARNING_RATE not in head(optimizer.layout, optimizer.settings) or optimizer.learning_rate is not None:
        return None
    return (
        f"neither donor nor target tells the learning rate: {_rate(optimizer):g}, {optimizer.class_name}'s default, "
        "was written, and loading sets it; assign model.optimizer.learning_rate afterwards if yours was another"
    )


def wrapper_elements(optimizer: PlannedOptimizer) -> tuple[Element, ...]:
    """What a Keras 3 LossScaleOptimizer keeps before the list of the optimizer in it; its own count never advances.

    In every other generation it saves the inner optimizer's list only.
    """
    if optimizer.wrapper is None or not dialect(optimizer.generation).rate_listed:
        return ()
    own: Mapping[str, float | int] = optimizer.wrapper[1]
    scale = own.get(_DYNAMIC_SCALE, own.get("initial_scale", _INITIAL_SCALE))
    return (
        count_element(ITERATION.name, int(own.get(ITERATION.name, 0))),
        float_element(LEARNING_RATE.name, float(own.get(LEARNING_RATE.name, 0.0))),
        count_element(_STEP_COUNTER, int(own.get(_STEP_COUNTER, 0))),
        float_element(_DYNAMIC_SCALE, float(scale)),
    )
