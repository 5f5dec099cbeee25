"""The donor's model weights beside the target's: equal ones confirm a match, others say what the moments belong to."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from math import inf, isfinite, nextafter
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptdoctor.containers.tensors.raw_places import RawPlaces
from ckptdoctor.matching.variables import Match
from ckptdoctor.references import FileRange, TensorRef
from ckptdoctor.state import ModelVariable

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SAMPLE = 1 << 20
"""Bytes of each variable that are compared; more would not tell more, and nobody need read every weight for it."""
_EQUAL = 1e-6
_NEAR = 0.5


class Likeness(Enum):
    """How two variables' values relate."""

    EQUAL = "equal"
    NEAR = "near"
    OTHER = "other"
    UNKNOWN = "unknown"


def likeness(first: TensorRef, second: TensorRef, places: RawPlaces | None = None) -> Likeness:
    """Compares the beginnings of two tensors of one shape.

    Args:
        first: A tensor.
        second: Another.
        places: Where the same bytes tell that values are equal without an array of them.
    """
    if first.location is None or second.location is None or first.shape != second.shape or not first.size:
        return Likeness.UNKNOWN
    if _checksums_agree(first, second):
        return Likeness.EQUAL
    if places is not None and first.dtype != "string" and places.same(first, second, _SAMPLE):
        return Likeness.EQUAL
    import numpy as np

    one, two = _head(first), _head(second)
    if one is None or two is None:
        return Likeness.UNKNOWN
    size = min(one.size, two.size)
    one, two = one[:size], two[:size]
    if np.array_equal(one, two):  # the rule, and sooner known than a norm
        return Likeness.EQUAL
    with np.errstate(all="ignore"):  # weights may be infinite, or NaN
        norm = float(np.linalg.norm(two))
        distance = float(np.linalg.norm(one - two))
    if not isfinite(distance):
        return Likeness.EQUAL if np.array_equal(one, two, equal_nan=True) else Likeness.OTHER
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


def _head(ref: TensorRef) -> "NDArray[Any] | None":
    import numpy as np

    from ckptdoctor.containers.tensors.values import ordered_chunks

    for chunk in ordered_chunks(ref, _SAMPLE):
        if chunk.dtype.kind in "OSU":
            return None
        values: NDArray[Any] = np.asarray(chunk).astype(np.float64)
        return values
    return None


def compare(
    matches: Mapping[str, Match], target: Mapping[str, ModelVariable], donor: Mapping[str, ModelVariable]
) -> dict[str, Likeness]:
    """Compares the weights of each matched pair whose values both sides hold: target path → likeness."""
    found: dict[str, Likeness] = {}
    with RawPlaces() as places:
        for path, each in matches.items():
            mine, other = target.get(path), donor.get(each.donor)
            if mine is not None and other is not None:
                found[path] = likeness(other.tensor, mine.tensor, places)
    return found


class Confirmation(NamedTuple):
    """What the weights say about matches.

    Attributes:
        matches: The matches, those by order that equal weights prove marked so.
        likeness: Target path → how its weights and its counterpart's relate.
        contradicted: Matches that cannot be: target path → the donor variable whose weights it has.
        unsure: Target paths that are matched by order among equal shapes, which nothing proves.
    """

    matches: dict[str, Match]
    likeness: dict[str, Likeness]
    contradicted: dict[str, str]
    unsure: tuple[str, ...]

    @property
    def other_run(self) -> bool:
        """Whether most weights are another run's, or of another moment of it, and none are another variable's."""
        known = [
            each
            for path, each in self.likeness.items()
            if each is not Likeness.UNKNOWN and path not in self.contradicted
        ]
        return bool(known) and 2 * sum(each is Likeness.OTHER for each in known) > len(known)


def confirm(
    matches: Mapping[str, Match], target: Mapping[str, ModelVariable], donor: Mapping[str, ModelVariable]
) -> Confirmation:
    """Holds matches against the weights: equal ones prove a match by order, and expose a permutation."""
    found = compare(matches, target, donor)
    swapped = permutation(found, matches, target, donor)
    proven = {
        path: each._replace(how="weights", ambiguous=False)
        if each.ambiguous and found.get(path) is Likeness.EQUAL
        else each
        for path, each in matches.items()
    }
    return Confirmation(
        matches=proven,
        likeness=found,
        contradicted=swapped,
        unsure=tuple(path for path, each in proven.items() if each.ambiguous),
    )


def permutation(
    likenesses: Mapping[str, Likeness],
    matches: Mapping[str, Match],
    target: Mapping[str, ModelVariable],
    donor: Mapping[str, ModelVariable],
) -> dict[str, str]:
    """Matches that the weights contradict: target path → the donor variable whose weights are equal to its own."""
    suspects = [path for path, each in likenesses.items() if each is not Likeness.EQUAL]
    if not suspects:
        return {}
    candidates = _Candidates(donor.values())
    found: dict[str, str] = {}
    for path in suspects:
        mine = target[path]
        for other in candidates.near(mine.tensor):
            if other.path == matches[path].donor:
                continue
            if likeness(other.tensor, mine.tensor) is Likeness.EQUAL and _tells(mine):
                found[path] = other.path
                break
    return found


def by_weights(target: Iterable[ModelVariable], donor: Iterable[ModelVariable]) -> dict[str, Match]:
    """Matches variables whose weights are equal, where no other of either side has them too: target path → match."""
    candidates = _Candidates(donor)
    found: dict[str, list[str]] = {}
    owners: dict[str, list[str]] = {}
    for mine in target:
        if mine.tensor.location is None or not _tells(mine):
            continue
        for other in candidates.near(mine.tensor):
            if likeness(other.tensor, mine.tensor) is Likeness.EQUAL:
                found.setdefault(mine.path, []).append(other.path)
                owners.setdefault(other.path, []).append(mine.path)
    return {
        path: Match(others[0], "equal")
        for path, others in found.items()
        if len(others) == 1 and len(owners[others[0]]) == 1
    }


class _Candidates:
    """Variables, found by what equal ones have in common: shape, type, and the norm of what is compared of them.

    Each is read once, however many others it is held against.
    """

    def __init__(self, variables: Iterable[ModelVariable]) -> None:
        self._by_shape: dict[tuple[str, tuple[int, ...]], list[tuple[float, int, ModelVariable]]] = {}
        for number, each in enumerate(variables):
            norm = _norm(each.tensor)
            if norm is not None:
                kind = each.tensor.dtype, each.tensor.shape
                self._by_shape.setdefault(kind, []).append((norm, number, each))
        for listed in self._by_shape.values():
            listed.sort()

    def near(self, ref: TensorRef) -> Iterator[ModelVariable]:
        """Those that may be equal to a tensor."""
        norm = _norm(ref)
        for (dtype, shape), listed in self._by_shape.items():
            if norm is None or shape != ref.shape:
                continue
            if dtype != ref.dtype:  # of other types another part is compared
                yield from (each for *_, each in listed)
                continue
            margin = 2 * _EQUAL * norm
            start, end = (bisect_left(listed, (bound, 0)) for bound in (norm - margin, nextafter(norm + margin, inf)))
            yield from (each for *_, each in listed[start:end])


def _norm(ref: TensorRef) -> float | None:
    """The norm of what is compared of a tensor; None where there is nothing to compare."""
    import numpy as np

    head = _head(ref) if ref.location is not None and ref.size else None
    with np.errstate(all="ignore"):
        norm = np.nan if head is None else float(np.linalg.norm(head))
    return norm if isfinite(norm) else None  # what is not finite tells no variable from another


def _tells(variable: ModelVariable) -> bool:
    """Whether its values could not be another's by chance: fresh biases are all zero."""
    import numpy as np

    head = _head(variable.tensor)
    return head is not None and head.size > 1 and bool(np.any(head != head[0]))
