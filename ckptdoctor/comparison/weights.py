"""Whether the models' weights agree: a sample for information, or all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ckptdoctor.comparison.pairs import IN_A_COMPARISON
from ckptdoctor.comparison.results import Outcome, Place, WeightResult, Weights
from ckptdoctor.comparison.slots import compare_tensors
from ckptdoctor.comparison.values import Tell, Tolerance
from ckptdoctor.containers.tensors.dtypes import array_nbytes
from ckptdoctor.matching.variables import Match, match, named
from ckptdoctor.matching.weights import Likeness, likeness
from ckptdoctor.state import ModelVariable, TrainingState

_SAMPLE = 64
"""Variables whose weights are looked at where they were not asked for."""

_OUTCOMES = {
    Likeness.EQUAL: Outcome.EQUAL,
    Likeness.NEAR: Outcome.DIFFERENT,
    Likeness.OTHER: Outcome.DIFFERENT,
    Likeness.UNKNOWN: Outcome.NOT_COMPARED,
}


class WeightPlan:
    """The model variables of both sides, set side by side.

    Attributes:
        pairs: (A's, B's, how they were matched) for those that both have.
        only_a: A's that B lacks; only where both hold weights.
        only_b: B's that A lacks.
    """

    def __init__(self, a: TrainingState, b: TrainingState, mapping: Mapping[str, str]) -> None:
        mine, theirs = _stored(a), _stored(b)
        names_a = {name for each in mine.values() for name in (each.path, *each.aliases)}
        names_b = {name for each in theirs.values() for name in (each.path, *each.aliases)}
        # Names that are unknown here were complained about before, if they are unknown at all.
        known = {x: y for x, y in mapping.items() if x.endswith("/") or (x in names_a and y in names_b)}
        found: dict[str, Match] = match(
            list(map(named, theirs.values())), list(map(named, mine.values())), known, IN_A_COMPARISON
        )
        taken = {each.donor for each in found.values()}
        self.pairs = [(mine[each.donor], theirs[path], each) for path, each in found.items()]
        both = bool(mine and theirs)
        self.only_a = [each for path, each in mine.items() if both and path not in taken]
        self.only_b = [each for path, each in theirs.items() if both and path not in found]

    @property
    def read_bytes(self) -> int:
        """How many bytes comparing all of them reads."""
        refs = [each.tensor for a, b, _ in self.pairs for each in (a, b)]
        return sum(array_nbytes(ref.dtype, ref.shape) for ref in refs)

    def in_full(self, tolerance: Tolerance, tell: Tell | None = None) -> Weights:
        """Every value of every variable; a difference counts."""
        found = list(self._lone())
        for a, b, how in self.pairs:
            if "string" in {a.tensor.dtype, b.tensor.dtype}:
                found.append(_result(a, b, Outcome.NOT_COMPARED, how, "it holds text"))
                continue
            outcome, figures, detail = compare_tensors(a.tensor, b.tensor, tolerance, tell=tell)
            found.append(_result(a, b, outcome, how, detail)._replace(figures=figures))
        return Weights(tuple(found), counted=True, total=len(self.pairs))

    def sampled(self) -> Weights:
        """The beginnings of some variables, for information."""
        step = max(1, -(-len(self.pairs) // _SAMPLE))
        found = list(self._lone())
        for a, b, how in self.pairs[::step]:
            alike = likeness(a.tensor, b.tensor)
            found.append(_result(a, b, _OUTCOMES[alike], how, alike.value if alike is Likeness.NEAR else ""))
        return Weights(tuple(found), counted=False, total=len(self.pairs))

    def _lone(self) -> Iterator[WeightResult]:
        yield from (WeightResult(_place(each), None, Outcome.ONLY_A) for each in self.only_a)
        yield from (WeightResult(None, _place(each), Outcome.ONLY_B) for each in self.only_b)


def _stored(state: TrainingState) -> dict[str, ModelVariable]:
    return {each.path: each for each in state.variables if each.tensor.location is not None}


def _place(variable: ModelVariable) -> Place:
    ref = variable.tensor
    return Place(variable.path, variable.path, ref.key, ref.shape, ref.dtype)


def _result(a: ModelVariable, b: ModelVariable, outcome: Outcome, how: Match, detail: str) -> WeightResult:
    return WeightResult(_place(a), _place(b), outcome, how.how, None, detail)
