"""The rules: each a code, a name, a severity and a pure function from a training state to messages.

Codes never change meaning. The first letter is the family: I integrity, S structure, V values, L loading, P packaging,
X what is unsafe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from enum import Enum
from typing import NamedTuple

from ckptdoctor.diagnosis.status import covered, enumerate_some, lost_all_slots, title
from ckptdoctor.optimizers.catalogue import Extent, SlotKind, layouts
from ckptdoctor.optimizers.layout import slot_shape
from ckptdoctor.state import OptimizerState, TrainingState


class Severity(str, Enum):
    """How much a finding weighs."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Finding(NamedTuple):
    """What a rule found.

    Attributes:
        code: The rule.
        severity: Its weight.
        message: What is the case, with figures and names.
        hint: What to do about it; "" if there is nothing to do.
    """

    code: str
    severity: Severity
    message: str
    hint: str = ""


class Rule(NamedTuple):
    """A rule: `find` answers (message, hint) for each thing that it finds in a state."""

    code: str
    name: str
    severity: Severity
    find: Callable[[TrainingState], Iterator[tuple[str, str]]]


_SAVE_BOTH = (
    "a legacy optimizer's slots are saved only together with its model: "
    "tf.train.Checkpoint(model=model, optimizer=optimizer)"
)


def _no_optimizer_state(state: TrainingState) -> Iterator[tuple[str, str]]:
    if any(each.has_state for each in state.optimizers):
        return
    because = next((f" ({each.message})" for each in state.oddities if each.code == "S001"), "")
    named = next((each.class_name for each in state.optimizers if each.class_name), None)
    what = f"{named} is configured, but none of its state is here" if named else "no optimizer state is here"
    yield (
        f"{what}: training would start with a new optimizer{because}",
        (
            "save the optimizer with the model: tf.train.Checkpoint(model=model, optimizer=optimizer), or "
            "model.save('model.keras') of a compiled model"
        ),
    )


def _iterations_missing(state: TrainingState) -> Iterator[tuple[str, str]]:
    for each in state.optimizers:
        if each.slots and each.iterations is None:
            source = each.recoverable
            hint = (
                f"set it to {source.value}, which follows from {source.source}"
                if source
                else "set it by hand before resuming"
            )
            yield (
                f"{title(each)} has slots but no iteration count: schedules and bias correction would start over",
                hint,
            )


def _slots_missing(state: TrainingState) -> Iterator[tuple[str, str]]:
    for each in state.optimizers:
        if each.missing:
            have, total = covered(each)
            names = list(dict.fromkeys(item.variable for item in each.missing))
            kinds = ", ".join(dict.fromkeys(item.name for item in each.missing))
            yield f"{total - have:,} of {total:,} variables lack {kinds}: {enumerate_some(names, 8)}", ""
        elif lost_all_slots(each):
            yield (
                f"{title(each)} is at iteration {each.iterations:,}, but holds no slot variables",
                _SAVE_BOTH,
            )


def _never_stepped(state: TrainingState) -> Iterator[tuple[str, str]]:
    for each in state.optimizers:
        if each.iterations == 0:
            yield f"{title(each)} never stepped: its count is 0", ""


def _orphan_slots(state: TrainingState) -> Iterator[tuple[str, str]]:
    for each in state.optimizers:
        lone = [slot for slot in each.slots if slot.variable is None and slot.mapping == "name"]
        if lone and state.variables:
            names = enumerate_some([slot.tensor.key for slot in lone])
            yield f"{len(lone):,} slots belong to variables that are not in the artifact: {names}", ""


def _slot_mismatch(state: TrainingState) -> Iterator[tuple[str, str]]:
    has_slots = any(each.slots for each in state.optimizers)
    shapes = {path: tensor.shape for path, tensor, _, _ in state.variables} if has_slots else {}
    for each in state.optimizers:
        kinds = _kinds(each)
        before, shape = None, None
        for name, _, variable, (_, _, own, _), _ in each.slots:
            if variable is not before:
                before, shape = variable, shapes.get(variable or "")
            if shape is None or own == shape or (kind := kinds.get(name)) is None:
                continue
            if kind.extent is Extent.VARIABLE or slot_shape(kind, shape) != own:
                yield f"{name} of {variable} has shape {list(own)}, its variable {list(shape)}", ""


def _kinds(optimizer: OptimizerState) -> dict[str, SlotKind]:
    if optimizer.class_name is None or optimizer.generation is None:
        return {}
    found: dict[str, SlotKind] = {}
    for layout in layouts(optimizer.class_name, optimizer.generation):
        for kind in layout.kinds:
            # Where a class has a dummy and a real slot of one name, any shape may be right.
            found[kind.name] = (
                kind if kind.name not in found or found[kind.name].extent is kind.extent else found[kind.name]
            )
    return {name: kind for name, kind in found.items() if kind.name != "vhat" or optimizer.generation.value != "keras1"}


def _mapping_ambiguous(state: TrainingState) -> Iterator[tuple[str, str]]:
    for each in state.optimizers:
        guessed = [slot for slot in each.slots if slot.mapping == "order" and slot.variable is not None]
        shapes = Counter(variable.tensor.shape for variable in state.variables) if guessed else {}
        unsure = [slot for slot in guessed if shapes.get(slot.tensor.shape, 0) > 1]
        if unsure:
            count = f"{len(unsure):,} of {len(each.slots):,} slots"
            yield f"{count} are known by position only, among equal shapes: the artifact cannot prove their order", ""


def _schedule_restarts(state: TrainingState) -> Iterator[tuple[str, str]]:
    for each in state.optimizers:
        schedule = each.schedule
        if schedule is None or schedule.learning_rate_if_lost is None or each.iterations is not None:
            continue
        if each.has_state or each.recorded:
            rate = f"{schedule.learning_rate_if_lost:.6g}"
            yield f"{schedule.class_name} would restart: the next learning rate would be {rate}, as at step 0", ""


RULES: tuple[Rule, ...] = (
    Rule("S001", "no-optimizer-state", Severity.ERROR, _no_optimizer_state),
    Rule("S002", "iterations-missing", Severity.ERROR, _iterations_missing),
    Rule("S003", "slots-missing", Severity.ERROR, _slots_missing),
    Rule("S004", "never-stepped", Severity.WARNING, _never_stepped),
    Rule("S007", "orphan-slot", Severity.WARNING, _orphan_slots),
    Rule("S008", "slot-mismatch", Severity.ERROR, _slot_mismatch),
    Rule("S010", "mapping-ambiguous", Severity.INFO, _mapping_ambiguous),
    Rule("L001", "schedule-restarts", Severity.ERROR, _schedule_restarts),
)
"""Every rule that judges a state."""

ODDITIES: dict[str, Severity] = {
    "I005": Severity.WARNING,
    "I007": Severity.WARNING,
    "P001": Severity.ERROR,
    "P003": Severity.INFO,
    "P004": Severity.WARNING,
    "S009": Severity.ERROR,
    "S012": Severity.INFO,
    "X001": Severity.WARNING,
    "X002": Severity.ERROR,
    "X003": Severity.ERROR,
    "X004": Severity.ERROR,
}
"""Codes of what a reader itself notices while it reads, with their severities."""


def judge(state: TrainingState) -> tuple[Finding, ...]:
    """Runs every rule over a state."""
    found = [Finding(rule.code, rule.severity, message, hint) for rule in RULES for message, hint in rule.find(state)]
    known = {rule.code for rule in RULES}
    found.extend(
        Finding(each.code, ODDITIES.get(each.code, Severity.INFO), each.message)
        for each in state.oddities
        if each.code not in known
    )
    return tuple(found)
