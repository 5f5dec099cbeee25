"""What values say of which tensor is whose, where an artifact does not: read from the beginning of each."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from ckptdoctor.containers.tensors.values import ordered_chunks
from ckptdoctor.references import TensorRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLE = 64 << 10
_NEAR = 0.25


def sample(ref: TensorRef) -> NDArray[Any]:
    """The first values of a tensor, as float64."""
    import numpy as np

    return np.concatenate([np.asarray(each, np.float64).ravel() for each in islice(ordered_chunks(ref, _SAMPLE), 1)])


def are_near(pairs: Iterable[tuple[TensorRef, TensorRef]]) -> bool:
    """Whether tensors follow others as averages do, or copies: apart by less than half of what those are long."""
    apart = long = 0.0
    for one, other in pairs:
        value = sample(other)
        apart += float(((sample(one) - value) ** 2).sum())
        long += float((value**2).sum())
    return apart < _NEAR * long


def exchanged(one: tuple[NDArray[Any], NDArray[Any]], other: tuple[NDArray[Any], NDArray[Any]]) -> bool:
    """Whether two pairs of a variable and what follows it clearly fit the other way round."""

    def apart(first: NDArray[Any], second: NDArray[Any]) -> float:
        return float(((first - second) ** 2).sum())

    across = apart(one[0], other[1]) + apart(other[0], one[1])
    return across < _NEAR * (apart(*one) + apart(*other))
