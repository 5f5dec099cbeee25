"""Values of two tensors, read side by side in pieces: memory does not grow with them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptdoctor.comparison.results import Figures
from ckptdoctor.containers.tensors.values import paired_chunks
from ckptdoctor.references import TensorRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 4 << 20
_ROUNDINGS = 4
"""Units in the last place that two translations, there and back, may lose."""


class Tolerance(NamedTuple):
    """By how much values may differ: |a - b| <= atol + rtol max(|a|, |b|)."""

    rtol: float = 0.0
    atol: float = 0.0


Tell = Callable[[int], None]
"""Is told how many bytes more have been read."""


def compare_values(
    a: TensorRef, b: TensorRef, tolerance: Tolerance, *, factor: float = 1.0, tell: Tell | None = None
) -> Figures:
    """Compares two tensors of one shape, element by element; NaN equals NaN.

    Args:
        a: A tensor.
        b: Another.
        tolerance: By how much they may differ. Where `factor` is not 1 a few roundings of the type are allowed as well.
        factor: What `b` is multiplied by first.
        tell: Is told how far reading is.

    Raises:
        UnreadableArtifact: The bytes of one are not there.
    """
    elements = differing = 0
    largest = relative = 0.0
    for mine, theirs in paired_chunks(a, b, _CHUNK):
        elements += mine.size
        if factor != 1.0 or not _identical(mine, theirs):
            found = _differences(mine, theirs, tolerance, factor)
            differing += found[0]
            largest, relative = _worse(largest, found[1]), _worse(relative, found[2])
        if tell is not None:
            tell(mine.nbytes + theirs.nbytes)
    return Figures(elements, differing, largest, relative)


def _worse(one: float, other: float) -> float:
    return other if other > one or other != other else one  # noqa: PLR0124 - NaN, the worst of all


def _identical(mine: "NDArray[Any]", theirs: "NDArray[Any]") -> bool:
    """The same bytes of one type: as fast as memory is read."""
    if mine.dtype != theirs.dtype:
        return False
    import numpy as np

    size = mine.dtype.itemsize
    bits = f"u{size}" if size in {1, 2, 4, 8} else "u1"
    return bool(np.array_equal(np.ascontiguousarray(mine).view(bits), np.ascontiguousarray(theirs).view(bits)))


def _differences(
    mine: "NDArray[Any]", theirs: "NDArray[Any]", tolerance: Tolerance, factor: float
) -> tuple[int, float, float]:
    """(how many differ, the largest absolute, the largest relative difference)."""
    import numpy as np

    wide = np.complex128 if "c" in {mine.dtype.kind, theirs.dtype.kind} else np.float64
    one, other = mine.astype(wide), theirs.astype(wide)
    rtol, atol = tolerance
    if factor != 1.0:
        other *= factor
        epsilon, least = _finest(mine)
        rtol, atol = rtol + _ROUNDINGS * epsilon, atol + _ROUNDINGS * least
    # Whole numbers above 2^53 are no longer exact in float64.
    exact = factor == 1.0 and {mine.dtype.kind, theirs.dtype.kind} <= {"i", "u"}
    same = np.asarray(mine == theirs) if exact else np.asarray(one == other)
    same |= np.isnan(one) & np.isnan(other)
    with np.errstate(all="ignore"):
        gap = np.abs(one - other)
        if exact:
            gap[~same] = np.maximum(gap[~same], 1.0)
        greater = np.maximum(np.abs(one), np.abs(other))
        within = same | (np.isfinite(gap) & (gap <= atol + rtol * greater))
        shares = np.where(same, 0.0, gap / greater)
    gap[same] = 0.0
    return int(within.size - np.count_nonzero(within)), float(gap.max()), float(shares.max())


def _finest(values: "NDArray[Any]") -> tuple[float, float]:
    """The relative distance between neighbours of a type of numbers, and its least number; 0 for whole numbers."""
    import ml_dtypes

    if values.dtype.kind in "iub":
        return 0.0, 0.0
    limits: Any = ml_dtypes.finfo(values.dtype)  # type: ignore[no-untyped-call]
    return float(limits.eps), float(limits.smallest_subnormal)
