"""Which of the target's variables get state, and from which of the donor's; or why that cannot be told."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.registry import record
from ckptdoctor.grafting.options import Options
from ckptdoctor.matching.lists import UNTRAINED, is_place, numbered
from ckptdoctor.matching.sides import Side, trained_by
from ckptdoctor.matching.variables import Match, Named, by_shape, explain_unmatched, map_lines, match, named
from ckptdoctor.matching.weights import by_weights, confirm
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.state import ModelVariable, OptimizerState, TrainingState
from ckptdoctor.words import enumerate_some


class Paired(NamedTuple):
    """The target's variables beside the donor's.

    Attributes:
        variables: What the result's optimizer trains, in its order.
        matches: Target path → the donor's variable.
        unmatched: Target variables that get no state, with the reason (only with `--partial`).
        warnings: What an engineer should know.
    """

    variables: tuple[Named, ...]
    matches: Mapping[str, Match]
    unmatched: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


def pair(donor: Side, target: TrainingState, own: OptimizerState | None, options: Options, *, due: bool) -> Paired:
    """Pairs the variables of a graft.

    Args:
        donor: The donor.
        target: The target.
        own: The target's optimizer.
        options: What is asked for.
        due: The optimizer keeps slots: a variable without a counterpart would lose them.

    Raises:
        GraftRefused: Variables have no counterpart, or their weights say that they have another.
        Unmatchable: What the user maps does not exist.
    """
    if record(target.format).holds == "bare-list":
        return _by_place(donor, own, options)
    return _Pairing(donor, target, own, options, due=due).paired()


def _by_place(donor: Side, own: OptimizerState | None, options: Options) -> Paired:
    """A list of arrays has no model: it is the donor's variables that it will be for, place by place."""
    variables = donor.trained
    if own is not None and own.slots and not options.partial:
        have = [each.shape for each in trained_by_place(own)]
        get = [each.shape for each in variables]
        if have != get:
            raise GraftRefused(
                f"the target's list is for {len(have)} variables of the shapes {_shapes(have)}, the donor's optimizer "
                f"holds state for {len(get)} of {_shapes(get)}: their places are not the same (--partial writes the "
                "donor's)"
            )
    how = {each.path: Match(each.path, "order" if is_place(each.path) else "path") for each in variables}
    return Paired(variables, how)


def trained_by_place(optimizer: OptimizerState) -> tuple[Named, ...]:
    """The variables of a list, by their places in it."""
    shapes: dict[str, tuple[int, ...]] = {}
    for slot in numbered(optimizer).slots:
        if slot.variable is not None:
            shapes[slot.variable] = max(shapes.get(slot.variable, ()), slot.tensor.shape, key=len)
    return tuple(Named(path, shape) for path, shape in shapes.items())


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return enumerate_some([str(list(each)) for each in shapes], 6)


class _Pairing:
    """One pairing in the making."""

    def __init__(
        self, donor: Side, target: TrainingState, own: OptimizerState | None, options: Options, *, due: bool
    ) -> None:
        self.donor = donor
        self.target = target
        self.own = own
        self.options = options
        self.due = due
        self.warnings: list[str] = []
        self._holds = record(target.format).holds
        self._mine = {variable.path: variable for variable in target.variables}
        trained = {each.path for each in donor.trained}
        self._theirs = {each.path: each for each in donor.state.variables if each.path in trained}

    def paired(self) -> Paired:
        """The whole of it."""
        variables = self._variables()
        found = match(variables, self.donor.trained, self.options.mapping)
        found.update(by_shape(found, variables, self.donor.trained))
        found.update(self._by_weights(variables, found))
        variables = self._trained_by_donor(variables, found)
        missing = [each for each in variables if each.path not in found]
        if missing and self.due and not self.options.partial:
            raise GraftRefused(
                f"{len(missing)} of {len(variables)} target variables have no counterpart in the donor: "
                f"{explain_unmatched(missing, self.donor.trained, found)}; or leave them without state by --partial"
            )
        found = self._confirmed(found)
        unmatched = tuple((each.path, "no counterpart in the donor") for each in missing) if self.due else ()
        return Paired(self._in_order(variables, found), found, unmatched, tuple(self.warnings))

    def _variables(self) -> tuple[Named, ...]:
        """What the target trains, as far as it says so."""
        told = self.own is not None and self.own.slots
        variables = tuple(
            each
            for each in self._not_anothers(trained_by(self.target, self.own))
            if told or self._is_trainable(each.path) or each.path.rpartition("/")[2] not in UNTRAINED
        )
        if self.due and not variables:
            stored = [each for each in self.target.variables if each.tensor.location is not None]
            why = (
                "every layer of the target is frozen: it trains no variable that could have slots"
                if stored
                else "the target holds no model variables that slots could be for: build and save it first"
            )
            raise GraftRefused(f"{why}; the count alone is set by --only iterations", self.target.path)
        return variables

    def _not_anothers(self, variables: tuple[Named, ...]) -> tuple[Named, ...]:
        """Beside the target's other optimizers: what they have slots for is theirs, unless the donor has some too."""
        if self.own is not None:
            return variables
        others = {slot.variable for each in self.target.optimizers for slot in each.slots}
        mine = {each.path for each in self.donor.trained}
        return tuple(each for each in variables if each.path in mine or each.path not in others)

    def _is_trainable(self, path: str) -> bool:
        variable = self._mine.get(path)
        return variable is not None and variable.trainable is True

    def _by_weights(self, variables: Sequence[Named], found: Mapping[str, Match]) -> dict[str, Match]:
        """Of what no name and no place matches, what equal weights do."""
        taken = {each.donor for each in found.values()}
        mine = [self._mine[each.path] for each in variables if each.path not in found and each.path in self._mine]
        free: list[ModelVariable] = [each for path, each in self._theirs.items() if path not in taken]
        if not mine or not free:
            return {}
        with kept_open():
            return by_weights(mine, free)

    def _trained_by_donor(self, variables: tuple[Named, ...], found: Mapping[str, Match]) -> tuple[Named, ...]:
        """Of a target that does not say what is trained, all but what the donor cannot have state for."""
        if self.own is not None and self.own.slots:
            return variables
        unsure = {v.path for v in self.target.variables if v.trainable is None}
        if not unsure or not self.donor.optimizer.slots:
            return variables
        taken = {each.donor for each in found.values()}
        free = Counter(each.shape for each in self.donor.trained if each.path not in taken)
        kept = tuple(
            each for each in variables if each.path in found or each.path not in unsure or free[each.shape] > 0
        )
        paths = {each.path for each in kept}
        if self.options.partial:
            paths |= self._new_to_donor([each for each in variables if each.path not in paths])
            kept = tuple(each for each in variables if each.path in paths)
        if not kept:
            return variables
        left = [each.path for each in variables if each.path not in paths]
        if left:
            self.warnings.append(
                f"{len(left)} variables of the target get no state, as the donor trains none like them and the target "
                f"does not say whether it does: {enumerate_some(left, 4)}"
            )
        return kept

    def _new_to_donor(self, variables: Sequence[Named]) -> set[str]:
        """Those that the donor's model does not have either, where it is there: a new layer, not a frozen one."""
        theirs = list(map(named, self.donor.state.variables))
        had = match(variables, theirs, {}) if theirs else {each.path: None for each in variables}
        return {each.path for each in variables if each.path not in had}

    def _in_order(self, variables: tuple[Named, ...], matches: Mapping[str, Match]) -> tuple[Named, ...]:
        """Layouts that go by index need the optimizer's order, which not every target without one tells.

        An object graph does not, nor the weights of a model whose structure only its code knows. Then the donor's is
        the best there is: its slots lie in the order in which its optimizer was built.
        """
        if self._tells_order(variables) or (self.own and self.own.slots):
            return variables
        if dialect(self.donor.optimizer.generation).by_graph:
            if self._holds == "list" and len({each.shape for each in variables}) < len(variables):
                self.warnings.append(
                    "neither side tells the order of the optimizer's list: it is written in the order in which the "
                    "target's file has its variables"
                )
            return variables
        places = {each.path: place for place, each in enumerate(self.donor.trained)}
        order: dict[str, int] = {}
        place = -1
        for each in variables:  # what the donor does not know stays behind the variable that it follows
            if each.path in matches:
                place = places.get(matches[each.path].donor, len(places))
            order[each.path] = place
        new = [each.path for each in variables if each.path not in matches]
        if new:
            self.warnings.append(
                f"the target does not tell its optimizer's order, which Keras 2.11 and later go by: {new[0]} is taken "
                "to come where the target stores it"
            )
        return tuple(sorted(variables, key=lambda each: order[each.path]))

    def _tells_order(self, variables: Sequence[Named]) -> bool:
        """Whether the target has the variables in the order in which its model trains them."""
        if self._holds == "list":  # only where there is a configuration of the model it tells the order
            mine = [self._mine[each.path] for each in variables if each.path in self._mine]
            return all(each.trainable is not None for each in mine)
        return self._holds != "linked"

    def _confirmed(self, found: dict[str, Match]) -> dict[str, Match]:
        """Equal weights confirm the matches; a permutation is refused; weights of another run are a warning."""
        with kept_open():
            weights = confirm(found, self._mine, self._theirs)
        wrong = {path: other for path, other in weights.contradicted.items() if found[path].how != "map"}
        if wrong:
            raise GraftRefused(self._contradiction(found, wrong))
        for path, other in weights.contradicted.items():
            self.warnings.append(
                f"--map gives {path} the state of {found[path].donor}, but its weights are those of {other}"
            )
        if weights.unsure:
            self.warnings.append(
                f"{len(weights.unsure)} variables are matched by order among equal shapes, which nothing proves: "
                f"{', '.join(weights.unsure[:4])}"
            )
        if weights.other_run:
            self.warnings.append(
                "the donor's weights are not the target's: these moments belong to another run or another moment of it"
            )
        return weights.matches

    def _contradiction(self, found: Mapping[str, Match], wrong: Mapping[str, str]) -> str:
        """What the weights say, and every `--map` that it takes to follow them."""
        path, other = next(iter(wrong.items()))
        how = "order" if found[path].how in {"order", "structure"} else "name"
        more = f", and so with {len(wrong) - 1} more" if len(wrong) > 1 else ""
        lines = map_lines([(theirs, ours) for ours, theirs in wrong.items()], self.donor.trained)
        return (
            f"by {how} {path} would get the state of {found[path].donor}, but its weights are those of {other}{more}: "
            f"settle it with {lines}"
        )
