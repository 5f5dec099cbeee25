"""What two tensors are compared by: a norm and a few elements, of the beginning of each."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.containers.tensors.values import kept_open, numpy_dtype, ordered_chunks
from ckptdoctor.references import TensorRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 1 << 20
"""Elements of a tensor that are looked at; more would tell no more."""
_PICKS = 16
TOLERANCE = 1e-6
"""Both sides are summed alike, in float64, after the artifact's were cast as the framework casts."""


class Fingerprint(NamedTuple):
    """The beginning of a tensor.

    Attributes:
        size: How many elements were looked at.
        norm: Their norm.
        picks: Some of them.
    """

    size: int
    norm: float
    picks: tuple[float, ...]

    def is_like(self, other: "Fingerprint") -> bool:
        """Whether both are of the same values."""
        one, two = (self.norm, *self.picks), (other.norm, *other.picks)
        return self.size == other.size and all(map(_close, one, two))


def _close(one: float, other: float) -> bool:
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-37)


def of_array(values: "NDArray[Any]") -> Fingerprint:
    """The fingerprint of an array, which is the beginning of a tensor."""
    import numpy as np

    flat = values.reshape(-1)[:MOST].astype(np.float64)
    step = max(1, flat.size // _PICKS)
    with np.errstate(all="ignore"):
        norm = float(np.linalg.norm(flat))
    return Fingerprint(flat.size, norm, tuple(map(float, flat[::step][:_PICKS])))


def of_tensor(ref: TensorRef, dtype: str) -> Fingerprint:
    """The fingerprint of a tensor in an artifact.

    Args:
        ref: The tensor.
        dtype: The type that the framework keeps it in.

    Raises:
        UnreadableArtifact: Its bytes are not there.
    """
    import numpy as np

    parts: list[NDArray[Any]] = []
    size = 0
    for chunk in ordered_chunks(ref, MOST * ITEMSIZE.get(ref.dtype, 1)):
        parts.append(chunk[: MOST - size])
        size += parts[-1].size
        if size >= MOST:
            break
    values: NDArray[Any] = np.concatenate(parts) if parts else np.empty(0)
    if dtype != ref.dtype and "float" in dtype and "float" in ref.dtype:
        with np.errstate(all="ignore"):
            values = values.astype(numpy_dtype(dtype))
    return of_array(values)


def of_tensors(wanted: tuple[tuple[TensorRef, str], ...]) -> tuple[Fingerprint, ...]:
    """The same of several, each with the type that the framework keeps it in."""
    with kept_open():
        return tuple(of_tensor(ref, dtype) for ref, dtype in wanted)


def spread(count: int, most: int) -> list[int]:
    """At most so many of `range(count)`, from its first to its last, evenly."""
    if count <= most:
        return list(range(count))
    if most == 1:
        return [0]
    return [number * (count - 1) // (most - 1) for number in range(most)]
