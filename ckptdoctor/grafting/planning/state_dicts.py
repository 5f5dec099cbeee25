"""Grafts into PyTorch's files: an optimizer's state_dict whose parameters are put into the target's order and groups.

`load_state_dict` compares nothing but the sizes of groups (torch/optim/optimizer.py), so what could be exchanged here
without a word is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ckptdoctor.crossing.to_torch import as_torch
from ckptdoctor.diagnosis.status import is_possible
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.registry import program, record
from ckptdoctor.grafting.options import Options, wishes_of
from ckptdoctor.grafting.plan import Plan
from ckptdoctor.grafting.planning.completeness import NOWHERE, Unused
from ckptdoctor.grafting.planning.divisions import Dividing, Division, Side
from ckptdoctor.grafting.planning.groups import same_division, settings
from ckptdoctor.grafting.planning.names import own_optimizer
from ckptdoctor.grafting.planning.places import Place, Source, places
from ckptdoctor.grafting.planning.schedulers import moved, stays
from ckptdoctor.matching.sides import choose
from ckptdoctor.optimizers.catalogue import Layout, SlotKind
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.config import Settings
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedSlot, PlannedStateDict
from ckptdoctor.optimizers.torch.catalogue import COUNTED_IN_GROUPS
from ckptdoctor.optimizers.torch.steps import STEP, step_of, step_tensor
from ckptdoctor.references import TensorRef
from ckptdoctor.state import OptimizerState, Role, StateDict, TrainingState
from ckptdoctor.words import counted, enumerate_some

State = Mapping[Any, Any]
_ONE_RULE = frozenset({"Adam", "AdamW"})
"""Classes that keep the same; the target's setting says which of them it is."""


def state_dict_plan(donor: TrainingState | None, target: TrainingState, output: str, options: Options) -> Plan:
    """Plans a graft into a file of PyTorch.

    Args:
        donor: Where the state comes from; None if only the count is set.
        target: The artifact that is completed.
        output: The path to write.
        options: What is asked for.

    Raises:
        GraftRefused: It would be incompatible, ambiguous or incomplete.
        Unmatchable: There are several optimizers and nothing says which.
    """
    own = own_optimizer(target, donor, options)
    mine = _side(target, own, "target") if own is not None and own.stored is not None else None
    if donor is None:
        if options.iterations is None:
            raise GraftRefused("there is neither a donor nor a count to set: give --from DONOR or --iterations N")
        if mine is None or not any(mine.stored.states):
            raise GraftRefused("the target holds no optimizer state, so there is no count to set: give --from DONOR")
        return _Planner(mine, mine, target, output, options).plan()
    theirs = choose(donor, options.donor_optimizer, "the donor")
    if theirs is None or not (theirs.has_state or theirs.stored):
        raise GraftRefused("the donor holds no optimizer state", donor.path)
    if options.generation is not None and not dialect(options.generation).by_parameter:
        raise GraftRefused(
            "the target is a file of PyTorch, whose optimizers are PyTorch's: leave --as out", target.path
        )
    told: tuple[str, ...] = ()
    if not dialect(theirs.generation).by_parameter:
        donor, theirs, told = as_torch(donor, theirs, own, wishes_of(options))
    plan = _Planner(_side(donor, theirs, "donor"), mine, target, output, options).plan()
    return plan._replace(warnings=(*told, *plan.warnings))


def _side(state: TrainingState, optimizer: OptimizerState, what: str) -> Side:
    if optimizer.stored is None:
        name = optimizer.class_name or "optimizer"
        raise GraftRefused(
            f"the {what}'s {name} keeps its state in a form of its own, which has no place in a state_dict of PyTorch",
            state.path,
        )
    return Side(state, optimizer, optimizer.stored, places(state, optimizer))


class _Planner:
    """One plan in the making."""

    def __init__(self, donor: Side, own: Side | None, target: TrainingState, output: str, options: Options) -> None:
        self.donor, self.own, self.target, self.output, self.options = donor, own, target, output, options
        self.warnings: list[str] = []
        self.is_own = own is donor
        generation = donor.optimizer.generation or program(target)
        assert generation is not None  # noqa: S101 - the target's format is the framework's own
        self.generation = generation

    def plan(self) -> Plan:
        """The whole plan."""
        class_name = self._class()
        if self.own is None and "slots" not in self.options.only:
            raise GraftRefused("the target has no optimizer: take the slots as well (no --only)", self.target.path)
        stateless = self.own is not None and not any(self.own.stored.states)
        if stateless and "slots" not in self.options.only and "iterations" in self.options.only:
            raise GraftRefused(
                "the target's optimizer never stepped, and PyTorch keeps a count in each parameter's state: take the "
                "slots as well (no --only)",
                self.target.path,
            )
        divided = Dividing(self.donor, self.own, self.target, self.options).divided()
        unused = self._unused(divided)
        whose = None if self.own is None or self.options.groups == "keep" else self.own.stored
        groups = settings(self.donor.stored, whose, divided.pairs, self.options)
        states = [self._state(goal, divided.found.get(goal.number)) for goal in divided.goals]
        groups, states = self._counted(groups, states)
        if whose is not None and not same_division(divided.pairs):
            self.warnings.append(
                "donor and target divide their parameters into different groups: the target's groups are written, with "
                "the settings that tell them apart as they were (--groups keep writes the donor's)"
            )
        if self.own is None:
            self._require_groups(len(groups))
        count = _count(groups, states)
        stored = StateDict(tuple(groups), divided.sizes, tuple(states))
        slots = tuple(self._slots(divided, states))
        planned = PlannedOptimizer(
            name=self._name(),
            class_name=class_name,
            generation=self.generation,
            layout=Layout(class_name, self.generation, (), counted=count is not None),
            settings=Settings(),
            hyperparameters=self.donor.optimizer.hyperparameters,
            schedule=None,
            iterations=count or 0,
            singles={},
            trained=tuple(goal.label for goal in divided.goals),
            slots=slots,
            beside=self.own is None and bool(self.target.optimizers),
            state_dict=PlannedStateDict(
                stored, tuple(goal.name for goal in divided.goals), self._schedulers(), self.options.keys
            ),
        )
        return Plan(
            donor=None if self.is_own else self.donor.state.path,
            target=self.target.path,
            output=self.output,
            format=self.target.format,
            optimizer=planned,
            unmatched=tuple((each.label, "no counterpart in the donor") for each in divided.new),
            unused=tuple(unused),
            warnings=tuple(self.warnings),
            link=self.options.link,
            partial=self.options.partial,
        )

    def _require_groups(self, found: int) -> None:
        """Of a target without groups: says that the donor's are written, and refuses what its program does not make.

        Raises:
            GraftRefused: It makes more or fewer.
        """
        usual, asked = record(self.target.format).groups, self.options.groups == "keep"
        if usual and found != usual and not asked:
            raise GraftRefused(
                f"the target's program makes {counted(usual, 'group')} of parameters, and the donor has {found}: graft "
                "into a checkpoint that has an optimizer, or say --groups keep if the program hands over its own",
                self.target.path,
            )
        if found > 1 and not usual and not asked and self.donor.state.format is not self.target.format:
            self.warnings.append(
                f"nothing tells the groups of the target's program: the donor's {found} are written, and "
                "load_state_dict takes them where the program makes as many"
            )

    # ---------------------------------------------------------------------------------------------------------- class

    def _class(self) -> str:
        """The class of the result: what both sides can be.

        Raises:
            GraftRefused: They keep state of different meaning, or nothing tells what it is and the target has another.
        """
        theirs, asked = _classes(self.donor.optimizer), self.options.optimizer_class
        if asked is not None and theirs and not _compatible({asked}, theirs):
            raise GraftRefused(f"the donor's state is of {enumerate_some(sorted(theirs), 6)}, not of {asked}")
        mine = _classes(self.own.optimizer) if self.own is not None else set()
        if mine and theirs and not _compatible(mine, theirs):
            raise GraftRefused(
                f"the donor's optimizer is {enumerate_some(sorted(theirs), 4)}, the target's "
                f"{enumerate_some(sorted(mine), 4)}: their state means different things"
            )
        own = self.own.optimizer.class_name if self.own is not None else None
        return asked or own or self.donor.optimizer.class_name or "an optimizer of unknown class"

    # ------------------------------------------------------------------------------------------------------- parameters

    def _unused(self, division: Division) -> list[Unused]:
        """Donor's parameters with state that goes nowhere.

        Raises:
            GraftRefused: It would be lost without --partial.
        """
        used = {each.place.number for each in division.found.values()}
        left = [each for each in self.donor.places if each.number not in used and self.donor.stored.states[each.number]]
        if left and not self.options.partial:
            raise GraftRefused(
                f"{len(left)} of the donor's parameters have no counterpart in the target "
                f"({enumerate_some([each.label for each in left], 4)}): leave their state behind by --partial"
            )
        if left:
            names = enumerate_some([each.label for each in left], 4)
            self.warnings.append(f"state of {len(left)} donor parameters goes nowhere: {names}")
        return [
            Unused(each.name, tuple(map(str, self.donor.stored.states[each.number] or ())), NOWHERE) for each in left
        ]

    # ------------------------------------------------------------------------------------------------------------ state

    def _state(self, goal: Place, source: Source | None) -> State | None:
        """A parameter's state."""
        only = self.options.only
        own = self.own.stored.states[goal.number] if self.own is not None else None
        theirs = self.donor.stored.states[source.place.number] if source is not None else None
        if source is None or ("slots" not in only and "iterations" not in only):
            return own if source is not None or "slots" not in only else None
        if "slots" not in only:
            return {**own, STEP: theirs[STEP]} if own and theirs and STEP in theirs and STEP in own else own
        if theirs is None:
            return None
        found = dict(theirs)
        if "iterations" not in only and own and STEP in own:
            found[STEP] = own[STEP]
        elif STEP in found:
            found[STEP] = self._step_as_target(found[STEP])
        for name, each in found.items():
            if isinstance(each, TensorRef) and each.location is None and each.size:
                raise GraftRefused(f"the values of {name} of {source.place.label} ({each.dtype}) cannot be read")
        return found

    def _step_as_target(self, step: object) -> object:
        """The count in the form that the target's version has: a number before 1.12, a tensor since."""
        mine = self.own.stored.states if self.own is not None else ()
        form = next((each[STEP] for each in mine if each and STEP in each), None)
        value = step_of(step)
        if form is None or value is None or isinstance(form, TensorRef) == isinstance(step, TensorRef):
            return step
        return step_tensor(value) if isinstance(form, TensorRef) else value

    def _counted(
        self, groups: list[Mapping[Any, Any]], states: list[State | None]
    ) -> tuple[list[Mapping[Any, Any]], list[State | None]]:
        """With the count that is asked for.

        Raises:
            GraftRefused: The class keeps none, or what is stored is none.
        """
        asked = self.options.iterations
        if asked is None:
            count = _count(groups, states)
            if count is not None and not is_possible(count):
                raise GraftRefused(f"the count is {count:,}, which no training reaches: set it with --iterations N")
            return groups, states
        if _count(groups, states) is None:
            raise GraftRefused("this optimizer keeps no count, so there is none to set: leave --iterations out")
        if asked >= 1 << 24:
            self.warnings.append(f"a count of {asked:,} is beyond what float32, PyTorch's type of it, holds exactly")
        told = [
            None
            if each is None
            else {**each, STEP: step_tensor(asked) if isinstance(each[STEP], TensorRef) else asked}
            if STEP in each
            else each
            for each in states
        ]
        numbers = [
            {name: asked if name in COUNTED_IN_GROUPS and type(each) is int else each for name, each in group.items()}
            for group in groups
        ]
        return list(numbers), told

    def _slots(self, division: Division, states: Sequence[State | None]) -> Iterator[PlannedSlot]:
        roles = {slot.name: slot.role for slot in self.donor.optimizer.slots}
        for goal, state in zip(division.goals, states, strict=True):
            source = division.found.get(goal.number)
            for name, ref in (state or {}).items():
                if isinstance(ref, TensorRef) and name != STEP:
                    kind = SlotKind(str(name), roles.get(str(name), Role.OTHER))
                    how = "own" if self.is_own or "slots" not in self.options.only else source.how if source else None
                    label = source.place.label if source is not None else None
                    yield PlannedSlot(kind, goal.label, ref.shape, ref.dtype, ref, 1.0, "", label, how)

    # ------------------------------------------------------------------------------------------------- what is beside

    def _schedulers(self) -> tuple[tuple[str | None, State], ...]:
        """The donor's schedulers in place of the target's."""
        if self.is_own or "hyperparameters" not in self.options.only:
            self.warnings += stays(self.target) if self.options.iterations is not None or not self.is_own else ()
            return ()
        found = moved(
            (self.donor.state, self.donor.optimizer), self.target, self.own.optimizer if self.own is not None else None
        )
        self.warnings += found.warnings
        return found.schedulers

    def _name(self) -> str:
        """What the result calls it: as the target does, or the user; else as a donor of its kind, or of several."""
        if self.own is not None:
            return self.own.optimizer.name
        if self.options.target_optimizer is not None:
            return self.options.target_optimizer
        asked, donor = self.options.keys.get("optimizer"), self.donor.state
        alike = donor.format is self.target.format or len(donor.optimizers) > 1
        return asked if asked is not None else self.donor.optimizer.name if alike else "optimizer"


def _classes(optimizer: OptimizerState) -> set[str]:
    names = {optimizer.class_name, *optimizer.class_candidates} - {None}
    return {name for name in names if name is not None}


def _compatible(one: set[str], other: set[str]) -> bool:
    return bool(one & other) or bool(one & _ONE_RULE and other & _ONE_RULE)


def _count(groups: Sequence[Mapping[Any, Any]], states: Sequence[State | None]) -> int | None:
    """The greatest count; None if none is kept."""
    steps = [step_of(each[STEP]) for each in states if each and STEP in each]
    if not steps:
        steps = [group[name] for group in groups for name in COUNTED_IN_GROUPS if type(group.get(name)) is int]
    return max((each for each in steps if each is not None), default=None)
