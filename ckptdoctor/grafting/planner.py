"""From two artifacts and a request to a plan, or to the reason why there is none. Nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping

from ckptdoctor.diagnosis.status import is_possible
from ckptdoctor.errors import GraftRefused, Unmatchable
from ckptdoctor.grafting.completeness import (
    NOWHERE,
    Unused,
    keeps_slots,
    require_all,
    require_no_fewer,
    require_slots,
    unused_slots,
)
from ckptdoctor.grafting.donor import donor_side
from ckptdoctor.grafting.layouts import pick_layout, tf1_layout, tf1_op_name
from ckptdoctor.grafting.options import Options
from ckptdoctor.grafting.pairing import Paired, pair, trained_by_place
from ckptdoctor.grafting.plan import Plan
from ckptdoctor.grafting.slots import SlotMaker, Sources, other_betas
from ckptdoctor.matching.lists import is_unplaced, numbered
from ckptdoctor.matching.sides import Side, choose, settings_of, trained_by
from ckptdoctor.matching.variables import Match
from ckptdoctor.optimizers import translation
from ckptdoctor.optimizers.catalogue import Layout, PerVariable
from ckptdoctor.optimizers.config import Settings
from ckptdoctor.optimizers.layout import Trained, blocks
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedSlot
from ckptdoctor.state import Format, Generation, OptimizerState, Schedule, TrainingState

_LISTED = frozenset({Generation.KERAS2, Generation.KERAS3})
"""Generations whose optimizers keep a list that goes by place, in every format."""
_MUST_AGREE = ("amsgrad", "momentum", "centered", "use_ema", "gradient_accumulation")


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
    own = choose(target, options.optimizer if len(target.optimizers) > 1 else None, "the target")
    if donor is None:
        return _count_only(target, own, output, options)
    side = donor_side(donor, target, own, options)
    if "slots" not in options.only and (own is None or not own.has_state):
        raise GraftRefused(f"{_stateless(own)}: take the slots as well (--only slots, or no --only)", target.path)
    return _Planner(side, target, own, output, options).plan()


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
        self.output = output
        self.options = options
        self.warnings: list[str] = []
        self.unmatched: list[tuple[str, str]] = []
        self.class_name = self._class()
        self.generation = self._generation()
        self.layout = self._layout(settings_of(donor.optimizer))

    # ------------------------------------------------------------------------------------------------ what is written

    def _class(self) -> str:
        theirs = self.donor.optimizer
        name = self.options.optimizer_class or theirs.class_name
        if name is None:
            raise GraftRefused("nothing tells the class of the donor's optimizer: name it with --optimizer-class")
        if self.own is not None and self.own.class_name is not None:
            mine = {self.own.class_name, *self.own.class_candidates}
            if not mine & {name, *(theirs.class_candidates if theirs.class_inferred else ())}:
                raise GraftRefused(
                    f"the donor's optimizer is {name}, the target's {self.own.class_name}: their state means "
                    "different things"
                )
            if not self.own.class_inferred:
                name = self.own.class_name
        return name

    def _generation(self) -> Generation:
        asked = self.options.generation
        if asked is not None:
            return asked
        if self.own is not None and self.own.generation is not None:
            return self.own.generation
        written = _by_producer(self.target)
        found = written or self.donor.optimizer.generation
        if found is None:
            raise GraftRefused("nothing tells which generation of optimizers to write: say it with --as")
        return found

    def plan(self) -> Plan:
        """The whole plan."""
        theirs = self.donor.optimizer
        slots_from_donor = "slots" in self.options.only
        settings = self._settings()
        self.layout = self._layout(settings)
        paired = self._paired(settings) if slots_from_donor else self._kept()
        variables, matches = paired.variables, paired.matches
        self.warnings += paired.warnings
        self.unmatched += paired.unmatched
        hyperparameters, schedule, configured = self._hyperparameters()
        iterations = self._iterations()
        if not self.layout.counted and self.generation is Generation.KERAS1 and "iterations" in self.options.only:
            raise GraftRefused(
                f"Keras {self.layout.versions} keeps no count for {self.class_name}: write the layout of tf.keras with "
                "--as optimizer-v2, or leave the count out with --only slots --only hyperparameters"
            )
        numbers = translation.numbers_of(iterations, hyperparameters, scheduled=schedule is not None)
        trained = [Trained(each.path, each.shape) for each in variables]
        dtypes = {variable.path: variable.tensor.dtype for variable in self.target.variables}
        mine = self._own_in_place()
        if slots_from_donor:
            sources = Sources(theirs, self.donor.slots, matches)
        else:
            own_slots = {(slot.variable, slot.role): slot for slot in mine.slots if slot.variable is not None}
            sources = Sources(mine, own_slots, matches)
        maker = SlotMaker(
            self.class_name, self.generation, self.layout, self.donor.optimizer, partial=self.options.partial
        )
        if not slots_from_donor:
            maker.whose = "the target"
        slots = maker.slots(trained, settings, sources, numbers, dtypes)
        self.unmatched += maker.unmatched
        donor_generation = theirs.generation or self.generation
        self.warnings += translation.warnings(self.class_name, donor_generation, self.generation)
        if donor_generation is Generation.TF1 and self.generation is not Generation.TF1:
            self.warnings += other_betas(theirs, numbers)
        optimizer = PlannedOptimizer(
            name=self._name(),
            class_name=self.class_name,
            generation=self.generation,
            layout=self.layout,
            settings=settings,
            hyperparameters=hyperparameters,
            schedule=schedule,
            iterations=iterations,
            singles=maker.singles(numbers),
            trained=tuple(each.path for each in variables),
            slots=tuple(slots),
            wrapper=self._wrapper(),
            configured=configured,
        )
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

    def _layout(self, settings: Settings) -> Layout:
        if self.generation is Generation.TF1:
            return tf1_layout(self.class_name, settings)
        wrapped = (self.own if self.own is not None else self.donor.optimizer).wrapper is not None
        return pick_layout(self.class_name, self.generation, self.target.producer.version, wrapped=wrapped)

    def _name(self) -> str:
        """The optimizer's name in the result: the target's; in TensorFlow 1 it names the slots."""
        if self.own is not None and self.own.name:
            return self.own.name
        if self.generation is not Generation.TF1:
            return "optimizer"
        donor = self.donor.optimizer
        return donor.name if donor.generation is Generation.TF1 and donor.name else tf1_op_name(self.class_name)

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

    def _kept(self) -> Paired:
        """The target's variables where its own slots stay."""
        mine = self._own_in_place()
        if not (mine.slots or mine.iterations or self.options.iterations or "iterations" in self.options.only):
            return Paired((), {})  # it never stepped, and will not have: the framework makes its slots
        if keeps_slots(self.class_name, mine, self.layout, self._settings()):
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
        if nowhere and self.generation in _LISTED and not self.options.partial and not told.issuperset(sources.matches):
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

    def _settings(self) -> Settings:
        theirs = settings_of(self.donor.optimizer)
        if self.own is None or not (self.own.slots or self.own.hyperparameters):
            return theirs
        mine = settings_of(self.own)
        relevant = {
            kind.when.lstrip("!") for b in blocks(self.layout) if isinstance(b, PerVariable) for kind in b.kinds
        }
        recorded = not self.own.class_inferred or bool(self.own.slots)
        for flag in _MUST_AGREE:
            differs = (flag in mine.flags) != (flag in theirs.flags)
            if flag in relevant and differs and recorded and "slots" in self.options.only:
                has, lacks = ("target", "donor") if flag in mine.flags else ("donor", "target")
                raise GraftRefused(
                    f"the {has}'s {self.class_name} keeps state for {flag.replace('_', ' ')}, the {lacks}'s does not: "
                    "they are not the same optimizer"
                )
        flags = set(mine.flags if recorded else theirs.flags)
        if "hyperparameters" in self.options.only and self._schedule_known():
            flags = (flags - {"schedule"}) | (theirs.flags & {"schedule"})
        return Settings(frozenset(flags), mine.exclude_layers, mine.exclude_embeddings)

    def _schedule_known(self) -> bool:
        optimizer = self.donor.optimizer
        return optimizer.schedule is not None or "learning_rate" in optimizer.hyperparameters

    def _hyperparameters(self) -> tuple[dict[str, object], Schedule | None, bool]:
        """(hyperparameters, schedule, whether the target's own configuration stays)."""
        theirs, mine = self.donor.optimizer, self.own
        has_config = mine is not None and not mine.class_inferred and bool(mine.hyperparameters)
        if mine is not None and ("hyperparameters" not in self.options.only or not theirs.hyperparameters):
            return dict(mine.hyperparameters), mine.schedule, has_config
        merged = dict(mine.hyperparameters) if mine is not None else {}
        merged.update({name: value for name, value in theirs.hyperparameters.items() if value is not None})
        schedule = theirs.schedule
        if schedule is None and mine is not None and "learning_rate" not in theirs.hyperparameters:
            schedule = mine.schedule
        if "learning_rate" not in merged and schedule is None:
            self.warnings.append("no learning rate is known: the class's default will be in force")
        if mine is not None and mine.schedule is not None and schedule is None:
            rate = merged.get("learning_rate")
            self.warnings.append(
                f"the target's {mine.schedule.class_name} is replaced by the donor's constant learning rate {rate}; "
                "--only iterations --only slots keeps it"
            )
        problems = translation.obstacles(self.class_name, self.generation, merged)
        if problems:
            raise GraftRefused(problems[0])
        same = has_config and mine is not None and all(mine.hyperparameters.get(k) == v for k, v in merged.items())
        return merged, schedule, same

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


def _by_producer(target: TrainingState) -> Generation | None:
    """The generation that the target's own framework reads, where that is no choice: `.keras` and the like."""
    version = target.producer.version or ""
    if target.format in {Format.KERAS_ARCHIVE, Format.KERAS_WEIGHTS} and version:
        return Generation.KERAS3 if version.startswith("3.") else Generation.KERAS2
    return None
