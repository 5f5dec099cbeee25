"""From two artifacts and a request to a plan, or to the reason why there is none. Nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping

from ckptdoctor.crossing.to_keras import as_keras, from_chain
from ckptdoctor.diagnosis.status import is_possible
from ckptdoctor.errors import GraftRefused, Unmatchable
from ckptdoctor.formats.registry import program, record
from ckptdoctor.grafting.options import Options, wishes_of
from ckptdoctor.grafting.plan import Plan
from ckptdoctor.grafting.planning.chains import chain_plan
from ckptdoctor.grafting.planning.classes import chosen_class, doubts, informed, read_as
from ckptdoctor.grafting.planning.completeness import (
    NOWHERE,
    Unused,
    keeps_slots,
    require_all,
    require_no_fewer,
    require_slots,
    unused_slots,
)
from ckptdoctor.grafting.planning.configuration import (
    check_recorded,
    configure,
    rate_warnings,
    require_place_for,
    settings_for,
)
from ckptdoctor.grafting.planning.donor import donor_side, require_one, require_same_wrapper
from ckptdoctor.grafting.planning.generations import generation_for
from ckptdoctor.grafting.planning.layouts import graph_layout, pick_layout
from ckptdoctor.grafting.planning.names import label_for, name_for, own_optimizer
from ckptdoctor.grafting.planning.pairing import Paired, pair, trained_by_place
from ckptdoctor.grafting.planning.slots import SlotMaker, Sources, other_betas
from ckptdoctor.grafting.planning.state_dicts import state_dict_plan
from ckptdoctor.matching.lists import is_unplaced, is_unrecorded, numbered
from ckptdoctor.matching.sides import Side, by_quantity, choose, make_side, settings_of, trained_by
from ckptdoctor.matching.variables import Match
from ckptdoctor.optimizers import translation
from ckptdoctor.optimizers.catalogue import Layout
from ckptdoctor.optimizers.declared import around
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.config import Settings
from ckptdoctor.optimizers.lists.layout import Trained
from ckptdoctor.optimizers.name_based import op_name
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedSlot
from ckptdoctor.state import OptimizerState, TrainingState


def make_plan(donor: TrainingState | None, target: TrainingState, output: str, options: Options | None = None) -> Plan:
    """Plans a graft.

    Args:
        donor: Where the state comes from; None if only the count is set.
        target: The artifact that is completed.
        output: The path to write.
        options: What is asked for.

    Raises:
        GraftRefused: The graft would be incompatible, ambiguous or incomplete; the message says what would settle it.
    """
    try:
        return _plan(donor, target, output, options or Options())
    except Unmatchable as error:
        raise GraftRefused(error.message, error.path) from error


def _plan(donor: TrainingState | None, target: TrainingState, output: str, options: Options) -> Plan:
    written = dialect(program(target))
    if written.chained:
        return chain_plan(donor, target, output, options)
    if written.by_parameter:
        return state_dict_plan(donor, target, output, options)
    own = own_optimizer(target, donor, options)
    if own is not None:
        require_one(own, "the target")
    if donor is None:
        return _count_only(target, own, output, options)
    if options.generation is not None and dialect(options.generation).by_parameter:
        raise GraftRefused("the target is one of Keras or TensorFlow, which load no optimizer of PyTorch", target.path)
    told: tuple[str, ...] = ()
    theirs = choose(donor, options.donor_optimizer, "the donor")
    if theirs is not None and dialect(theirs.generation).by_parameter and theirs.stored is not None:
        donor, _, told = as_keras(donor, theirs, target, wishes_of(options))
        options = options._replace(optimizer=None if own is None else f"={own.name}")
    elif theirs is not None and dialect(theirs.generation).chained and own is not None:
        donor, _, told = from_chain(donor, theirs, own, wishes_of(options))
        options = options._replace(optimizer=f"={own.name}")
    side = donor_side(donor, target, own, options)
    if "slots" not in options.only and (own is None or not own.has_state):
        raise GraftRefused(f"{_stateless(own)}: take the slots as well (--only slots, or no --only)", target.path)
    plan = _Planner(side, target, own, output, options).plan()
    return plan._replace(warnings=(*told, *plan.warnings))


def _count_only(target: TrainingState, own: OptimizerState | None, output: str, options: Options) -> Plan:
    """Sets the count of a target that has everything else."""
    if options.iterations is None:
        raise GraftRefused("there is neither a donor nor a count to set: give --from DONOR or --iterations N")
    if own is None or not own.has_state:
        raise GraftRefused(f"{_stateless(own)}, so there is no count to set: give a donor with --from", target.path)
    if own.class_name is None and options.optimizer_class is None:
        raise GraftRefused("nothing tells the class of the target's optimizer: name it with --optimizer-class")
    side = Side(target, own, {}, ())
    chosen = options._replace(only=frozenset({"iterations"}))
    return _Planner(side, target, own, output, chosen).plan()._replace(donor=None)


def _stateless(own: OptimizerState | None) -> str:
    """Why a target cannot keep its own slots beside something new."""
    if own is None:
        return "the target has no optimizer"
    return f"the target's {own.class_name or 'optimizer'} was compiled and never built: it holds no state of its own"


class _Planner:
    """One plan in the making."""

    def __init__(
        self, donor: Side, target: TrainingState, own: OptimizerState | None, output: str, options: Options
    ) -> None:
        self.donor = donor
        self.target = target
        self.own = own if own is not None and (own.has_state or own.recorded) else None
        require_same_wrapper(donor.optimizer, self.own, target)
        self.output = output
        self.options = options
        self.warnings: list[str] = []
        self.unmatched: list[tuple[str, str]] = []
        self.generation, told = generation_for(donor, target, self.own, options.generation)
        self.dialect = dialect(self.generation)
        self.warnings += told
        donor = informed(donor, self.own, trained_by(target, self.own))
        if self.own is not None:
            self.own = informed(make_side(target, self.own), donor.optimizer, donor.trained).optimizer
        asked = options.optimizer_class
        self.class_name = chosen_class(donor.optimizer, self.own, asked)
        if donor.state is not target:  # a count means the same to every class
            self.warnings += doubts(self.class_name, donor.optimizer, self.own, asked, target, self.generation)
        self.donor = donor = read_as(donor, self.class_name)
        if self.own is not None and is_unrecorded(target, self.own.name):
            self.own = read_as(make_side(target, self.own), self.class_name).optimizer
        self.layout = self._layout(settings_of(donor.optimizer))

    # ------------------------------------------------------------------------------------------------ what is written

    def plan(self) -> Plan:
        """The whole plan."""
        theirs = self.donor.optimizer
        slots_from_donor = "slots" in self.options.only
        settings = settings_for(theirs, self.own, self.class_name, self.layout, self.options)
        self.layout = self._layout(settings)
        paired = self._paired(settings) if slots_from_donor else self._kept(settings)
        variables, matches = paired.variables, paired.matches
        self.warnings += paired.warnings
        self.unmatched += paired.unmatched
        require_place_for(
            self.options.hyperparameters, self.class_name, self.generation, self.target.format,
            in_attribute=self._in_attribute(),
        )  # fmt: skip
        configured, told = configure(theirs, self.own, settings, self.class_name, self.generation, self.options)
        self.warnings += told
        iterations = self._iterations()
        if self.dialect.counts and not self.layout.counted and "iterations" in self.options.only:
            raise GraftRefused(
                f"Keras {self.layout.versions} keeps no count for {self.class_name}: write the layout of tf.keras with "
                "--as optimizer-v2, or leave the count out with --only slots --only hyperparameters"
            )
        numbers = translation.numbers_of(iterations, configured.hyperparameters, scheduled="schedule" in settings.flags)
        trained = [Trained(each.path, each.shape) for each in variables]
        stored = {variable.path: variable.tensor for variable in self.target.variables}
        mine = self._own_in_place()
        if slots_from_donor:
            sources = Sources(theirs, self.donor.slots, matches)
        else:
            sources = Sources(mine, by_quantity(mine), matches)
        maker = SlotMaker(
            self.class_name, self.generation, self.layout, self.donor.optimizer, partial=self.options.partial
        )
        if not slots_from_donor:
            maker.whose = "the target"
        slots = maker.slots(trained, settings, sources, numbers, stored, configured.hyperparameters)
        self.unmatched += maker.unmatched
        donor_generation = theirs.generation or self.generation
        self.warnings += translation.warnings(self.class_name, donor_generation, self.generation)
        if dialect(donor_generation).by_graph and not self.dialect.by_graph:
            self.warnings += other_betas(theirs, numbers)
        optimizer = PlannedOptimizer(
            name=self._name(),
            class_name=self.class_name,
            generation=self.generation,
            layout=self.layout,
            settings=settings,
            hyperparameters=configured.hyperparameters,
            schedule=configured.schedule,
            iterations=iterations,
            singles=maker.singles(numbers, self.own),
            trained=tuple(each.path for each in variables),
            slots=tuple(slots),
            wrapper=self._wrapper(),
            configured=configured.stays or self._in_attribute(),
            label=label_for(self.donor.optimizer, self.own, self.generation),
        )
        self.warnings += rate_warnings(optimizer, self.target.format)
        self.warnings += check_recorded(optimizer, self.target.format, self.donor, self.own)
        return Plan(
            donor=self.donor.state.path,
            target=self.target.path,
            output=self.output,
            format=self.target.format,
            optimizer=optimizer,
            unmatched=tuple(self.unmatched),
            unused=tuple(self._unused(sources, slots)),
            warnings=tuple(self.warnings),
            link=self.options.link,
            partial=self.options.partial,
        )

    def _in_attribute(self) -> bool:
        """Whether the optimizer is one that an archive's model has in an attribute, of which no configuration tells."""
        recording = record(self.target.format).configuration == "required"
        return recording and self.own is not None and is_unrecorded(self.target, self.own.name)

    def _layout(self, settings: Settings) -> Layout:
        if self.dialect.by_graph:
            return graph_layout(self.class_name, settings, self.generation)
        wrapper = (self.own if self.own is not None else self.donor.optimizer).wrapper
        version = self.target.producer.version
        nested = wrapper is not None and not wrapper.scales_loss
        wrapped = wrapper is not None and not nested
        found = pick_layout(self.class_name, self.generation, version, wrapped=wrapped, like=self.own)
        return around(wrapper.class_name, [found])[0] if wrapper is not None and nested else found

    def _name(self) -> str:
        default = op_name(self.class_name) if self.dialect.by_graph else None
        return name_for(self.donor, self.target, self.own, default, self.options)

    # ------------------------------------------------------------------------------------------------------- matching

    def _paired(self, settings: Settings) -> Paired:
        """The target's variables beside the donor's."""
        theirs = self.donor.optimizer
        due = keeps_slots(self.class_name, theirs, self.layout, settings)
        if due:
            require_slots("the donor", self.class_name, theirs, partial=self.options.partial)
        return pair(self.donor, self.target, self.own, self.options, due=due and theirs.iterations != 0)

    def _own_in_place(self) -> OptimizerState:
        """The target's own optimizer; a list that names no variables, with their places for names."""
        mine = self.own or self.donor.optimizer
        return numbered(mine) if is_unplaced(self.target, mine) else mine

    def _kept(self, settings: Settings) -> Paired:
        """The target's variables where its own slots stay."""
        mine = self._own_in_place()
        if not (mine.slots or mine.iterations or self.options.iterations or "iterations" in self.options.only):
            return Paired((), {})  # it never stepped, and will not have: the framework makes its slots
        if keeps_slots(self.class_name, mine, self.layout, settings):
            require_slots("the target", self.class_name, mine, partial=self.options.partial)
        in_place = is_unplaced(self.target, self.own or self.donor.optimizer)
        variables = trained_by_place(mine) if in_place else trained_by(self.target, self.own)
        return Paired(variables, {each.path: Match(each.path, "own") for each in variables})

    def _unused(self, sources: Sources, slots: list[PlannedSlot]) -> list[Unused]:
        """State that goes nowhere: of the donor, or of the target where its own stays.

        Raises:
            GraftRefused: It would be lost without --partial.
        """
        unused = unused_slots(sources.optimizer, slots, sources.matches, (self.class_name, self.generation))
        if not self.options.partial:
            require_all(unused)
            require_no_fewer(self.own, slots)
        nowhere = [each.variable for each in unused if each.variable is not None and each.reason == NOWHERE]
        told = {each.path for each in self.target.variables if each.trainable is not None}
        if nowhere and self.dialect.listed and not self.options.partial and not told.issuperset(sources.matches):
            raise GraftRefused(
                f"{len(nowhere)} donor variables have no counterpart in the target ({', '.join(nowhere[:4])}), "
                "which does not say whether it holds all that its model trains: the places in the optimizer's list "
                "would shift; leave them behind by --partial"
            )
        if nowhere:
            self.warnings.append(f"state of {len(nowhere)} donor variables goes nowhere: {', '.join(nowhere[:4])}")
        others = [each for each in unused if each.reason != NOWHERE]
        if others:
            self.warnings.append(
                f"slots are left behind: {', '.join(others[0].slots)} of {others[0].variable or 'an unknown variable'}"
                f"{f' and {len(others) - 1} more' if len(others) > 1 else ''} ({others[0].reason})"
            )
        return unused

    # ----------------------------------------------------------------------------------------------------- the pieces

    def _iterations(self) -> int:
        if self.options.iterations is not None:
            return self.options.iterations
        source = self.donor.optimizer if "iterations" in self.options.only or self.own is None else self.own
        if source.iterations is not None:
            if not is_possible(source.iterations):
                raise GraftRefused(
                    f"the count is {source.iterations:,}, which no training reaches: set it with --iterations N"
                )
            return source.iterations
        if source.recoverable is not None:
            self.warnings.append(
                f"the count is not stored; {source.recoverable.value} follows from {source.recoverable.source}"
            )
            return source.recoverable.value
        steps = self.donor.state.counters.get("global_step", self.donor.state.counters.get("step"))
        hint = f"; a counter beside it says {steps}" if steps is not None else ""
        side = "donor" if source is self.donor.optimizer else "target"
        raise GraftRefused(f"the {side} holds no iteration count{hint}: set it with --iterations N")

    def _wrapper(self) -> tuple[str, Mapping[str, float | int]] | None:
        """The target's own wrapper; where the target has no optimizer, the donor's."""
        source = self.own if self.own is not None else self.donor.optimizer
        if source.wrapper is None:
            return None
        donated = self.donor.optimizer.wrapper or source.wrapper
        values = {
            other.name: other.value
            for other in donated.variables
            if isinstance(other.value, (int, float)) and not isinstance(other.value, bool)
        }
        return source.wrapper.class_name, values
