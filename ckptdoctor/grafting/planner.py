"""From two artifacts and a request to a plan, or to the reason why there is none. Nothing is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ckptdoctor.containers.values import kept_open
from ckptdoctor.diagnosis.status import is_possible
from ckptdoctor.errors import GraftRefused, Unmatchable
from ckptdoctor.grafting.classes import chosen_class, doubts, informed, read_as
from ckptdoctor.grafting.configuration import check_recorded, configure, rate_warnings, settings_for
from ckptdoctor.grafting.donor import donor_side
from ckptdoctor.grafting.generations import generation_for
from ckptdoctor.grafting.layouts import pick_layout, tf1_layout, tf1_op_name
from ckptdoctor.grafting.names import name_for, own_optimizer
from ckptdoctor.grafting.options import Options
from ckptdoctor.grafting.plan import Plan
from ckptdoctor.grafting.slots import SlotMaker, Sources, other_betas
from ckptdoctor.matching.sides import Side, make_side, settings_of, trained_by
from ckptdoctor.matching.variables import Match, Named, explain_unmatched, match
from ckptdoctor.matching.weights import confirm
from ckptdoctor.optimizers import translation
from ckptdoctor.optimizers.catalogue import Layout
from ckptdoctor.optimizers.config import Settings
from ckptdoctor.optimizers.layout import Trained
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Format, Generation, OptimizerState, TrainingState

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
    own = own_optimizer(target, donor, options)
    if donor is None:
        return _count_only(target, own, output, options)
    side = donor_side(donor, target, options)
    if not options.only >= {"slots"} and (own is None or not own.has_state):
        raise GraftRefused("the target has no optimizer state of its own that could keep its slots", target.path)
    return _Planner(side, target, own, output, options).plan()


def _count_only(target: TrainingState, own: OptimizerState | None, output: str, options: Options) -> Plan:
    """Sets the count of a target that has everything else."""
    if options.iterations is None:
        raise GraftRefused("there is neither a donor nor a count to set: give --from DONOR or --iterations N")
    if own is None or not own.has_state:
        raise GraftRefused("the target has no optimizer state whose count could be set", target.path)
    side = Side(target, own, {}, ())
    chosen = options._replace(only=frozenset({"iterations"}))
    return _Planner(side, target, own, output, chosen).plan()._replace(donor=None)


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
        self.generation, told = generation_for(donor, target, self.own, options.generation)
        self.warnings += told
        donor = informed(donor, self.own, trained_by(target, self.own))
        if self.own is not None:
            self.own = informed(make_side(target, self.own), donor.optimizer, donor.trained).optimizer
        asked = options.optimizer_class
        self.class_name = chosen_class(donor.optimizer, self.own, asked)
        self.warnings += doubts(self.class_name, donor.optimizer, self.own, asked, target, self.generation)
        self.donor = donor = read_as(donor, self.class_name)
        if self.own is not None and target.format is Format.KERAS_WEIGHTS:
            self.own = read_as(make_side(target, self.own), self.class_name).optimizer
        self.layout = self._layout(settings_of(donor.optimizer))

    # ------------------------------------------------------------------------------------------------ what is written

    def plan(self) -> Plan:
        """The whole plan."""
        theirs = self.donor.optimizer
        slots_from_donor = "slots" in self.options.only
        if self.target.format is Format.OPTIMIZER_DUMP and slots_from_donor:
            # A list of arrays has no model: it is the donor's variables that it will be for.
            variables = self.donor.trained
            matches = {each.path: Match(each.path, "path") for each in variables}
        else:
            variables = self._not_anothers(trained_by(self.target, self.own))
            if slots_from_donor:
                variables = self._trained_by_donor(variables)
            matches = self._matches(variables) if slots_from_donor else {}
        variables = self._in_order(variables, matches)
        settings = settings_for(theirs, self.own, self.class_name, self.layout, self.options)
        self.layout = self._layout(settings)
        configured, told = configure(theirs, self.own, settings, self.class_name, self.generation, self.options)
        self.warnings += told
        iterations = self._iterations()
        if not self.layout.counted and self.generation is Generation.KERAS1 and "iterations" in self.options.only:
            raise GraftRefused(
                f"Keras {self.layout.versions} keeps no count for {self.class_name}: write the layout of tf.keras with "
                "--as optimizer-v2, or leave the count out with --only slots --only hyperparameters"
            )
        numbers = translation.numbers_of(iterations, configured.hyperparameters, scheduled="schedule" in settings.flags)
        trained = [Trained(each.path, each.shape) for each in variables]
        dtypes = {variable.path: variable.tensor.dtype for variable in self.target.variables}
        if slots_from_donor:
            sources = Sources(theirs, self.donor.slots, matches)
        else:
            mine = self.own or theirs
            identity = {each.path: Match(each.path, "own") for each in variables}
            own_slots = {(slot.variable, slot.role): slot for slot in mine.slots if slot.variable is not None}
            sources = Sources(mine, own_slots, identity)
        maker = SlotMaker(
            self.class_name, self.generation, self.layout, self.donor.optimizer, partial=self.options.partial
        )
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
            hyperparameters=configured.hyperparameters,
            schedule=configured.schedule,
            iterations=iterations,
            singles=maker.singles(numbers),
            trained=tuple(each.path for each in variables),
            slots=tuple(slots),
            wrapper=self._wrapper(),
            configured=configured.stays,
        )
        self.warnings += rate_warnings(optimizer, self.target.format)
        self.warnings += check_recorded(optimizer, self.target.format, self.donor, self.own)
        used = {each.donor for each in matches.values()}
        unused = tuple(each.path for each in self.donor.trained if each.path not in used) if slots_from_donor else ()
        if unused and theirs.slots:
            self.warnings.append(f"state of {len(unused)} donor variables goes nowhere: {', '.join(unused[:4])}")
        return Plan(
            donor=self.donor.state.path,
            target=self.target.path,
            output=self.output,
            format=self.target.format,
            optimizer=optimizer,
            unmatched=tuple(self.unmatched),
            unused=unused if theirs.slots else (),
            warnings=tuple(self.warnings),
            link=self.options.link,
        )

    def _layout(self, settings: Settings) -> Layout:
        if self.generation is Generation.TF1:
            return tf1_layout(self.class_name, settings)
        wrapped = (self.own if self.own is not None else self.donor.optimizer).wrapper is not None
        return pick_layout(self.class_name, self.generation, self.target.producer.version, wrapped=wrapped)

    def _name(self) -> str:
        tf1 = tf1_op_name(self.class_name) if self.generation is Generation.TF1 else None
        return name_for(self.donor, self.target, self.own, tf1, self.options)

    # ------------------------------------------------------------------------------------------------------- matching

    def _not_anothers(self, variables: tuple[Named, ...]) -> tuple[Named, ...]:
        """Beside the target's other optimizers: what they have slots for is theirs, unless the donor has some too."""
        if self.own is not None:
            return variables
        others = {slot.variable for each in self.target.optimizers for slot in each.slots}
        mine = {each.path for each in self.donor.trained}
        return tuple(each for each in variables if each.path in mine or each.path not in others)

    def _trained_by_donor(self, variables: tuple[Named, ...]) -> tuple[Named, ...]:
        """Of a target that does not say what is trained, what the donor has state for (by name)."""
        if self.own is not None and self.own.slots:
            return variables
        unsure = {v.path for v in self.target.variables if v.trainable is None}
        if not unsure or not self.donor.optimizer.slots:
            return variables
        found = match(variables, self.donor.trained, self.options.mapping)
        return tuple(each for each in variables if each.path in found or each.path not in unsure) or variables

    def _in_order(self, variables: tuple[Named, ...], matches: Mapping[str, Match]) -> tuple[Named, ...]:
        """Layouts that go by index need the optimizer's order, which an object graph without one does not tell.

        Then the donor's is the best there is: its slots lie in the order in which its optimizer was built.
        """
        told = self.target.format not in {Format.TF_CHECKPOINT, Format.SAVED_MODEL} or (self.own and self.own.slots)
        if told or self.donor.optimizer.generation is Generation.TF1:
            return variables
        places = {each.path: place for place, each in enumerate(self.donor.trained)}
        last = len(places)
        return tuple(
            sorted(
                variables, key=lambda each: places.get(matches[each.path].donor, last) if each.path in matches else last
            )
        )

    def _matches(self, variables: Sequence[Named]) -> dict[str, Match]:
        donors = self.donor.trained
        found = match(variables, donors, self.options.mapping)
        keeps = bool(self.donor.optimizer.slots)
        missing = [each for each in variables if each.path not in found]
        if missing and keeps and not self.options.partial:
            raise GraftRefused(
                f"{len(missing)} of {len(variables)} target variables have no counterpart in the donor: "
                f"{explain_unmatched(missing, donors, found)}; or leave them without state by --partial"
            )
        self.unmatched += [(each.path, "no counterpart in the donor") for each in missing] if keeps else []
        self._check_weights(found)
        return found

    def _check_weights(self, found: dict[str, Match]) -> None:
        """Equal weights confirm the matches; a permutation is refused; weights of another run are a warning."""
        mine = {variable.path: variable for variable in self.target.variables}
        theirs = {variable.path: variable for variable in self.donor.state.variables}
        with kept_open():
            weights = confirm(found, mine, theirs)
        if weights.contradicted:
            path, other = next(iter(weights.contradicted.items()))
            raise GraftRefused(
                f"by order {path} would get the state of {found[path].donor}, but its weights are those of {other}: "
                f"settle it with --map {other}={path}"
            )
        found.update(weights.matches)
        if weights.unsure:
            self.warnings.append(
                f"{len(weights.unsure)} variables are matched by order among equal shapes, which nothing proves: "
                f"{', '.join(weights.unsure[:4])}"
            )
        if weights.other_run:
            self.warnings.append(
                "the donor's weights are not the target's: these moments belong to another run or another moment of it"
            )

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
                f"the count is not stored in the donor; {source.recoverable.value} follows from "
                f"{source.recoverable.source}"
            )
            return source.recoverable.value
        steps = self.donor.state.counters.get("global_step", self.donor.state.counters.get("step"))
        hint = f"; a counter beside it says {steps}" if steps is not None else ""
        raise GraftRefused(f"the donor holds no iteration count{hint}: set it with --iterations N")

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
