"""How the optimizer of the result is configured: the state it keeps, its hyperparameters, what nothing tells of it."""

import struct
from collections.abc import Mapping
from difflib import get_close_matches
from typing import NamedTuple

from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.registry import record
from ckptdoctor.grafting.options import Options
from ckptdoctor.matching.sides import Side, settings_of
from ckptdoctor.optimizers import translation
from ckptdoctor.optimizers.catalogue import Layout, PerVariable
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.config import CURRENT_RATE, Settings
from ckptdoctor.optimizers.keras.serialize import Form, assumed, require_agreement, to_config, vocabulary
from ckptdoctor.optimizers.lists.layout import blocks
from ckptdoctor.optimizers.numbers import finite
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Format, Generation, OptimizerState, Schedule
from ckptdoctor.words import enumerate_some

_SAID_BY_FLAG = ("amsgrad", "centered", "use_ema")
"""Flags that are a hyperparameter of the same name, and on if there is state for them."""
_LOOKING_ALIKE = frozenset({"use_ema", "gradient_accumulation"})
_LARGEST = 3.4e38
"""Rates are float32 in every artifact."""


class Configured(NamedTuple):
    """A configuration.

    Attributes:
        hyperparameters: In force in the result, under Keras 3's names.
        schedule: The learning-rate schedule; None if the rate is a number, or only the training code knows it.
        stays: The target's own configuration stays as it is.
    """

    hyperparameters: dict[str, object]
    schedule: Schedule | None
    stays: bool


def settings_for(
    donor: OptimizerState, own: OptimizerState | None, class_name: str, layout: Layout, options: Options
) -> Settings:
    """Which state variables the result keeps: the target's where that tells, else the donor's.

    Raises:
        GraftRefused: The two keep different state.
    """
    theirs = settings_of(donor)
    if options.learning_rate is not None:
        theirs = theirs._replace(flags=theirs.flags - {"schedule"})
    if own is None:
        return theirs
    mine = settings_of(own)
    relevant = {kind.when.lstrip("!") for b in blocks(layout) if isinstance(b, PerVariable) for kind in b.kinds}
    recorded = bool(own.slots) or (_has_configuration(own) and bool(own.hyperparameters))
    for flag in sorted(relevant - {"", "schedule"}):
        differs = (flag in mine.flags) != (flag in theirs.flags)
        if differs and recorded and "slots" in options.only:
            has, lacks = ("target", "donor") if flag in mine.flags else ("donor", "target")
            raise GraftRefused(
                f"the {has}'s {class_name} keeps state for {flag.replace('_', ' ')}, the {lacks}'s does not: "
                "they are not the same optimizer; compile the target as the donor was, and save it again"
            )
    flags = mine.flags if recorded else theirs.flags
    # Whether there is a variable for the rate: the target's structure tells, unless the donor's rate takes its place.
    rate_from_donor = "hyperparameters" in options.only and _rate_known(donor)
    if rate_from_donor or options.learning_rate is not None or not (recorded or own.has_state):
        scheduled = theirs.flags & {"schedule"}
    else:
        scheduled = mine.flags & {"schedule"}
    return Settings((flags - {"schedule"}) | scheduled, mine.exclude_layers, mine.exclude_embeddings)


def _has_configuration(optimizer: OptimizerState) -> bool:
    return optimizer.class_name is not None and not optimizer.class_inferred


def _rate_known(optimizer: OptimizerState) -> bool:
    return optimizer.schedule is not None or "learning_rate" in optimizer.hyperparameters


def configure(
    donor: OptimizerState,
    own: OptimizerState | None,
    settings: Settings,
    class_name: str,
    generation: Generation,
    options: Options,
) -> tuple[Configured, list[str]]:
    """The hyperparameters that will be in force, with warnings.

    Raises:
        GraftRefused: The generation cannot go on with them, or one is no number that can be stored.
    """
    warnings: list[str] = []
    stays = own is not None and _has_configuration(own) and bool(own.hyperparameters)
    if own is not None and ("hyperparameters" not in options.only or not donor.hyperparameters):
        merged, schedule = dict(own.hyperparameters), own.schedule
    else:
        merged, schedule = _merged(donor, own, class_name, generation)
        warnings = _about_rates(donor, own, schedule, settings)
    if options.learning_rate is not None:
        merged["learning_rate"], schedule, warnings = options.learning_rate, None, []
    if options.hyperparameters:
        merged.update(options.hyperparameters)
        for problem in translation.obstacles(class_name, generation, merged):
            raise GraftRefused(problem)
    rate = merged.get("learning_rate")
    if isinstance(rate, (int, float)) and not isinstance(rate, bool):
        known = finite(rate)
        if known is None or abs(known) > _LARGEST:
            raise GraftRefused(
                f"the learning rate is {_shown(rate)}, which no training uses: set another with --learning-rate"
            )
    if not dialect(generation).rate_of_schedule or "schedule" not in settings.flags:
        merged.pop(CURRENT_RATE, None)  # what a schedule gave last: it follows from the schedule
    for flag in _SAID_BY_FLAG:
        if flag in settings.flags and not dialect(generation).by_graph:
            merged[flag] = True
    same = own is not None and stays and schedule == own.schedule
    same = same and all(_same(own.hyperparameters.get(k), v) for k, v in merged.items()) if own is not None else False
    return Configured(merged, schedule, same), warnings


def _same(a: object, b: object) -> bool:
    """Whether two settings are the same to a framework: a trained optimizer's come from variables of float32."""
    numbers = [finite(each) for each in (a, b)]
    if a == b or None in numbers or any(isinstance(each, int) for each in (a, b)):
        return a == b
    return len({struct.pack("<f", each) for each in numbers if each is not None and abs(each) <= _LARGEST}) == 1


def _shown(rate: float) -> str:
    return f"{rate:g}" if isinstance(rate, float) else "a number of hundreds of digits"


def _merged(
    donor: OptimizerState, own: OptimizerState | None, class_name: str, generation: Generation
) -> tuple[dict[str, object], Schedule | None]:
    merged = dict(own.hyperparameters) if own is not None else {}
    merged.update({name: value for name, value in donor.hyperparameters.items() if value is not None})
    problems = translation.obstacles(class_name, generation, merged)
    if problems:
        raise GraftRefused(problems[0])
    if donor.schedule is None and own is not None and "learning_rate" not in donor.hyperparameters:
        return merged, own.schedule
    return merged, donor.schedule


def _about_rates(
    donor: OptimizerState, own: OptimizerState | None, schedule: Schedule | None, settings: Settings
) -> list[str]:
    """Where the target's learning rate is of another kind than the donor's."""
    if own is None or schedule is not None:
        return []
    if "learning_rate" in donor.hyperparameters and "schedule" in settings_of(own).flags:
        name = own.schedule.class_name if own.schedule is not None else "schedule"
        rate = donor.hyperparameters["learning_rate"]
        said = f"the target's {name} is replaced by the donor's constant learning rate {rate}"
        return [f"{said}; --only iterations --only slots keeps it"]
    if "schedule" in settings_of(donor).flags - settings.flags:
        said = "a schedule sets the donor's learning rate, which only its training code knows"
        return [f"{said}: the target's constant rate stays; compile the target with that schedule first to go on so"]
    return []


def require_place_for(
    by_hand: Mapping[str, object], class_name: str, generation: Generation, target: Format, *, in_attribute: bool
) -> None:
    """Refuses hyperparameters by hand that the class does not have, or that the result has no place for.

    Raises:
        GraftRefused: There is one.
    """
    if not by_hand:
        return
    known = vocabulary(class_name, generation) or frozenset(by_hand)
    for name in by_hand:
        if name not in known:
            near = get_close_matches(name, known, n=1) or sorted(known)
            raise GraftRefused(f"{class_name} has no {name!r}, which --set names: it has {', '.join(near)}")
    into = record(target)
    stored = into.holds == "linked" and dialect(generation).stores_settings
    if in_attribute or (into.configuration == "none" and not stored):
        raise GraftRefused(
            f"the target records no configuration of this optimizer, so there is no place for {', '.join(by_hand)}: "
            "set it in the program that loads the result, and leave --set out"
        )


def rate_warnings(optimizer: PlannedOptimizer, target: Format) -> list[str]:
    """What the training program has to do about a learning rate that the result does not hold."""
    into = record(target)
    if optimizer.schedule is not None or optimizer.learning_rate is not None or into.configuration == "required":
        return []
    if "schedule" in optimizer.settings.flags:
        says = "a schedule sets the learning rate, which only the training code knows"
        return [f"{says}: the program that loads the result has to have it, a constant rate keeps other variables"]
    if into.holds == "linked":
        return ["no learning rate is known: what the training program sets stays in force"]
    return ["no learning rate is known: the class's default will be in force (--learning-rate sets it)"]


def check_recorded(optimizer: PlannedOptimizer, target: Format, donor: Side, own: OptimizerState | None) -> list[str]:
    """Holds a configuration that has to be written against the state, and says what it takes from defaults.

    Raises:
        GraftRefused: The generation cannot express it, or a number is lacking that it needs.
    """
    into = record(target)
    if optimizer.configured or into.configuration == "none":
        return []
    if dialect(optimizer.generation).by_graph or not into.takes(optimizer.generation):
        return []  # the writer says which generations this format can hold
    try:
        _require_told_apart(optimizer, donor)
        require_agreement(to_config(optimizer, Form(into.config_form)), optimizer)
    except GraftRefused:
        if into.configuration == "required":
            raise
        return []  # a SavedModel goes without, and its writer says so
    if _has_configuration(donor.optimizer) or (own is not None and _has_configuration(own)):
        return []
    taken = assumed(optimizer, donor.optimizer.generation)
    return [_assumption(optimizer.class_name, taken)] if taken else []


def _require_told_apart(optimizer: PlannedOptimizer, donor: Side) -> None:
    """One more array for each variable in a list without names is an average or an accumulator: nothing tells which.

    Raises:
        GraftRefused: There is one, and a configuration would have to say it.
    """
    nameless = record(donor.state.format).is_nameless and donor.optimizer.class_inferred
    two = dialect(optimizer.generation).accumulates
    if nameless and two and len(optimizer.settings.flags & _LOOKING_ALIKE) == 1:
        raise GraftRefused(
            "the donor's list holds moving averages or accumulated gradients, and nothing tells which: compile the "
            "target as the donor was and save it again"
        )


def _assumption(class_name: str, taken: Mapping[str, object]) -> str:
    values = enumerate_some([f"{name} {value if value is not None else 'unset'}" for name, value in taken.items()], 24)
    return (
        f"nothing tells these of the donor, so the configuration has {class_name}'s defaults: {values}; say "
        "what the run had by --set NAME=VALUE"
    )
