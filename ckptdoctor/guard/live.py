"""What a running program holds of an optimizer: its count, its rates, and each slot, none of them copied."""

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ckptdoctor.guard.fingerprints import MOST, Fingerprint, of_array
from ckptdoctor.state import NOTHING

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LiveSlot(NamedTuple):
    """A slot of a running program.

    Attributes:
        shape: Its dimensions.
        dtype: numpy's or ml_dtypes' name of its type.
        value: The framework's variable or tensor.
    """

    shape: tuple[int, ...]
    dtype: str
    value: Any


class LiveVariable(NamedTuple):
    """What an optimizer trains: its name, "" where nothing tells, and its shape."""

    path: str
    shape: tuple[int, ...]


class Live(NamedTuple):
    """An optimizer of a running program.

    Attributes:
        family: Whose it is.
        class_name: Its class.
        iterations: How many steps it has taken; None where it does not count.
        rates: The learning rate of each of its groups; Keras has one.
        variables: What it trains, in its order.
        slots: (what it is, place of its variable) → the slot. PyTorch's go by name, Keras' by role.
        sharded: Other processes hold parts of it: its slots cannot be compared.
        optimizer: The optimizer itself.
        numbered: Place of a slot in the list of all its variables, by which Keras saves them → the slot.
    """

    family: Literal["torch", "keras"]
    class_name: str
    iterations: int | None
    rates: tuple[float | None, ...]
    variables: tuple[LiveVariable, ...]
    slots: Mapping[tuple[str, int], LiveSlot]
    sharded: bool = False
    optimizer: Any = None
    numbered: Mapping[int, tuple[str, int]] = NOTHING


def fingerprint(slot: LiveSlot) -> Fingerprint:
    """That of the slot's beginning, the only part that is copied."""
    return of_array(to_numpy(_beginning(slot.value, slot.shape)))


def _beginning(value: Any, shape: tuple[int, ...]) -> Any:
    """The first rows of a tensor, or what its first row begins with; whatever indexes like an array can give them."""
    while len(shape) > 1 and prod(shape[1:]) >= MOST:
        value, shape = value[0], shape[1:]
    if not shape or prod(shape) <= MOST:
        return value
    return value[: -(-MOST // max(1, prod(shape[1:])))]


def to_numpy(value: Any) -> "NDArray[Any]":
    """A small tensor of any framework in the memory of numpy."""
    import numpy as np

    from ckptdoctor.verification.child import snapshot

    if hasattr(value, "detach"):
        value = value.detach()
        if "bfloat16" in str(value.dtype):
            value = value.float()  # numpy has no such type, and loses nothing by this one
        return np.asarray(value.cpu().numpy())
    return np.asarray(snapshot.to_numpy(value))


def number(value: Any) -> float | None:
    """A number that may be a tensor of one element."""
    if value is None or isinstance(value, (int, float)):
        return value
    return float(to_numpy(value).reshape(-1)[0])
