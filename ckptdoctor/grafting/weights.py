"""The donor's model weights beside the target's: equal ones confirm a match, others say what the moments belong to."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from ckptdoctor.grafting.match import Match
from ckptdoctor.state import FileRange, ModelVariable, TensorRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLE = 1 << 20
"""Bytes of each variable that are compared; more would not tell more, and a graft need not read every weight twice."""
_EQUAL = 1e-6
_NEAR = 0.5


class Likeness(Enum):
    """How two variables' values relate."""

    EQUAL = "equal"
    NEAR = "near"
    OTHER = "other"
    UNKNOWN = "unknown"


def likeness(first: TensorRef, second: TensorRef) -> Likeness:
    """Compares the beginnings of two tensors of one shape."""
    if first.location is None or second.location is None or first.shape != second.shape or not first.size:
        return Likeness.UNKNOWN
    if _checksums_agree(first, second):
        return Likeness.EQUAL
    import numpy as np

    one, two = _head(first), _head(second)
    if one is None or two is None:
        return Likeness.UNKNOWN
    size = min(one.size, two.size)
    one, two = one[:size], two[:size]
    if np.array_equal(one, two):
        return Likeness.EQUAL
    one, two = one.astype(np.float64), two.astype(np.float64)
    norm, distance = _norm(two), _norm(one - two)
    if distance <= _EQUAL * norm:
        return Likeness.EQUAL
    if norm == 0:
        return Likeness.UNKNOWN
    return Likeness.NEAR if distance < _NEAR * norm else Likeness.OTHER


def _checksums_agree(first: TensorRef, second: TensorRef) -> bool:
    """Whether two checkpoints' indexes have the same checksum for them: then nothing has to be read."""
    one, two = first.location, second.location
    if first.dtype != second.dtype or not isinstance(one, FileRange) or not isinstance(two, FileRange):
        return False
    return one.crc32c is not None and one.crc32c == two.crc32c and one.big_endian == two.big_endian


def _norm(values: NDArray[Any]) -> float:
    """As numpy.linalg.norm, which wakes a thread on every core for it and takes ten times as long."""
    import numpy as np

    return float(np.sqrt(np.square(values).sum()))


def _head(ref: TensorRef) -> NDArray[Any] | None:
    """The first elements of a tensor; None where they are no numbers."""
    import numpy as np

    from ckptdoctor.containers.values import ordered_chunks

    for chunk in ordered_chunks(ref, _SAMPLE):
        return None if chunk.dtype.kind in "OSU" else np.asarray(chunk)
    return None


def compare(
    matches: Mapping[str, Match], target: Mapping[str, ModelVariable], donor: Mapping[str, ModelVariable]
) -> dict[str, Likeness]:
    """Compares the weights of each matched pair whose values both sides hold: target path → likeness."""
    found: dict[str, Likeness] = {}
    for path, each in matches.items():
        mine, other = target.get(path), donor.get(each.donor)
        if mine is not None and other is not None:
            found[path] = likeness(other.tensor, mine.tensor)
    return found


def permutation(
    likenesses: Mapping[str, Likeness],
    matches: Mapping[str, Match],
    target: Mapping[str, ModelVariable],
    donor: Mapping[str, ModelVariable],
) -> dict[str, str]:
    """Matches that the weights contradict: target path → the donor variable whose weights are equal to its own."""
    suspects = [path for path, each in likenesses.items() if each is not Likeness.EQUAL]
    found: dict[str, str] = {}
    for path in suspects:
        mine = target[path]
        for other in donor.values():
            same = other.tensor.shape == mine.tensor.shape and other.path != matches[path].donor
            if same and likeness(other.tensor, mine.tensor) is Likeness.EQUAL and _tells(mine):
                found[path] = other.path
                break
    return found


def _tells(variable: ModelVariable) -> bool:
    """Whether its values could not be another's by chance: fresh biases are all zero."""
    import numpy as np

    head = _head(variable.tensor)
    return head is not None and head.size > 1 and bool(np.any(head != head[0]))
