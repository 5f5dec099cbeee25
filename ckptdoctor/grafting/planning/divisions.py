"""How a graft divides a target's parameters into groups, and where the state of each comes from."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.errors import GraftRefused
from ckptdoctor.grafting.options import Options
from ckptdoctor.grafting.planning.places import Place, Source, bare, in_model, of_model, sources, trainable, untied
from ckptdoctor.state import OptimizerState, StateDict, TrainingState
from ckptdoctor.words import enumerate_some


class Side(NamedTuple):
    """An optimizer with its parameters."""

    state: TrainingState
    optimizer: OptimizerState
    stored: StateDict
    places: list[Place]


class Division(NamedTuple):
    """The result's parameters.

    Attributes:
        goals: In the result's order.
        sizes: How many each group has.
        found: Number of a goal → where its state comes from.
        new: Goals that the donor does not have.
        pairs: (group of the result, group of the donor) of each that both have.
    """

    goals: list[Place]
    sizes: tuple[int, ...]
    found: Mapping[int, Source]
    new: list[Place]
    pairs: list[tuple[int, int]]


class Dividing:
    """The division of one graft."""

    def __init__(self, donor: Side, own: Side | None, target: TrainingState, options: Options) -> None:
        self.donor, self.own, self.target, self.options = donor, own, target, options

    def divided(self) -> Division:
        """The result's parameters, in its order.

        Raises:
            GraftRefused: Some have no counterpart, or nothing says which.
        """
        mapping = self.options.mapping
        if self.own is not None:
            goals = self.own.places
            found = (
                {each.number: Source(each, "own") for each in goals}
                if self.own is self.donor
                else sources((self.donor.state, self.donor.places), (self.target, goals), mapping, in_place=False)
            )
            if self.options.groups == "keep":
                return self._in_donors_groups(goals, found)
            return self._checked(Division(goals, self.own.stored.sizes, found, [], self._pairs(goals, found)))
        names = self._of_same_model()
        if names is not None and not mapping:
            goals = [each._replace(name=names.get(each.name)) if each.name else each for each in self.donor.places]
            found = {each.number: Source(each, "path") for each in self.donor.places}
            return self._checked(Division(goals, self.donor.stored.sizes, found, [], self._pairs(goals, found)))
        goals = trainable(self.target)
        found = sources(
            (self.donor.state, self.donor.places), (self.target, goals), mapping, in_place=not self.target.ordered
        )
        goals = self._trained(goals, found)
        if not self.target.ordered:  # its file sorts names; the donor's order is the best there is
            goals.sort(key=lambda each: found[each.number].place.number if each.number in found else len(found))
        return self._in_donors_groups(goals, found)

    def _of_same_model(self) -> Mapping[str, str] | None:
        """Names of the donor's variables → the target's, if all are there, in the same order as far as one is known."""
        theirs = untied(of_model(self.donor.state))
        mine = {bare(each.path): each for each in self.target.variables}
        names = [bare(each.path) for each in theirs]
        if not names or any(
            name not in mine or mine[name].tensor.shape != each.tensor.shape
            for name, each in zip(names, theirs, strict=True)
        ):
            return None
        known = set(names)
        order = [bare(each.path) for each in untied(self.target.variables) if bare(each.path) in known]
        both_ordered = self.donor.state.ordered and self.target.ordered
        everything = {bare(each.path) for each in of_model(self.donor.state)}
        if not mine.keys() <= everything or (both_ordered and names != order):
            return None
        return {each.path: mine[bare(each.path)].path for each in theirs}

    def _trained(self, goals: list[Place], found: Mapping[int, Source]) -> list[Place]:
        """Of a target that does not say what it trains, all but what the donor has and does not train."""
        trains = {form for each in self.donor.places if each.name is not None for form in _forms(each.name)}
        left = {form for each in of_model(self.donor.state) for form in _forms(each.path)} - trains
        return [each for each in goals if each.number in found or not left.intersection(_forms(each.name or ""))]

    def _in_donors_groups(self, goals: list[Place], found: Mapping[int, Source]) -> Division:
        """The target's parameters in the donor's groups; what is new comes last."""
        group_of = groups_of(self.donor.stored)
        new = [each for each in goals if each.number not in found]
        groups = [
            [each for each in goals if each.number in found and group_of[found[each.number].place.number] == number]
            for number in range(len(self.donor.stored.groups))
        ]
        if groups:
            groups[-1] += new
        sizes = tuple(map(len, groups))
        ordered = [each for group in groups for each in group]
        pairs = [(number, number) for number in range(len(groups))]
        return self._checked(Division(ordered, sizes, found, [], pairs))

    def _pairs(self, goals: Sequence[Place], found: Mapping[int, Source]) -> list[tuple[int, int]]:
        mine = groups_of(self.own.stored) if self.own is not None else groups_of(self.donor.stored)
        theirs = groups_of(self.donor.stored)
        return [(mine[each.number], theirs[found[each.number].place.number]) for each in goals if each.number in found]

    def _checked(self, division: Division) -> Division:
        """Refuses what would leave a parameter without the state that others have.

        Raises:
            GraftRefused: The target has parameters that the donor lacks, or nothing fits.
        """
        new = [each for each in division.goals if each.number not in division.found]
        if not division.found and division.goals:
            nameless = all(each.name is None for each in self.donor.places)
            why = "names no parameters, and has not their shapes in their order" if nameless else "is for none of them"
            raise GraftRefused(
                f"the target has {len(division.goals)} parameters, and the donor's optimizer {why}: give the "
                "checkpoint that has the donor's model too, or say which is which with --map OLD=NEW"
            )
        if not division.goals:
            raise GraftRefused("the target holds no variables that an optimizer could be for", self.target.path)
        due = any(self.donor.stored.states) and "slots" in self.options.only
        if new and due and not self.options.partial:
            raise GraftRefused(
                f"{len(new)} of {len(division.goals)} target parameters have no counterpart in the donor "
                f"({enumerate_some([each.label for each in new], 4)}): say which they are with --map OLD=NEW, or leave "
                "them without state by --partial"
            )
        return division._replace(new=new if due else [])


def _forms(name: str) -> tuple[str, str, str]:
    """A name as it is, as one dictionary of all models has it, and within its model."""
    own = bare(name)
    return own, own.replace("/", "."), in_model(own)


def groups_of(stored: StateDict) -> list[int]:
    """The group of each parameter."""
    return [number for number, size in enumerate(stored.sizes) for _ in range(size)]
