"""Hyperparameters and learning-rate schedules, compared as the frameworks keep them: in float32."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from ckptdoctor.comparison.results import Item, Layer, Outcome, Said
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.inference import settings_kept
from ckptdoctor.optimizers.keras.defaults import OPTIONAL, defaults_of
from ckptdoctor.state import OptimizerState, Schedule

_NADAM_SCHEDULE = "schedule_decay"
_NO_PART = frozenset({"is_legacy_optimizer", "jit_compile", "dtype", "name"})
"""What a configuration says that is no matter of training."""


def compare_settings(a: OptimizerState, b: OptimizerState) -> Iterator[Item]:
    """The schedule, and every hyperparameter that either side records and that is in force."""
    yield from _rate(a, b)
    a, b = _with_nadam_schedule(a), _with_nadam_schedule(b)
    ours, theirs = a.hyperparameters, b.hyperparameters
    fixed = "fast" in {dialect(each.generation).nadam for each in (a, b)}
    for name in dict.fromkeys([*ours, *theirs]):
        if name == "learning_rate" or name in _NO_PART or _belongs_to_what_is_off(name, ours, theirs):
            continue
        if name == _NADAM_SCHEDULE and fixed:
            continue  # Keras 2.11 and later have another, fixed schedule: `translation.warnings` tells
        yield from _hyperparameter(name, a, b)


def _with_nadam_schedule(optimizer: OptimizerState) -> OptimizerState:
    """OptimizerV2's Nadam keeps Keras 1's `schedule_decay` under the name of `decay`."""
    found, name = dict(optimizer.hyperparameters), dialect(optimizer.generation).nadam_decay
    if optimizer.class_name != "Nadam" or name not in found:
        return optimizer
    found[_NADAM_SCHEDULE] = found.pop(name)
    return optimizer._replace(hyperparameters=found)


def same_number(one: object, other: object) -> bool:
    """Whether two settings are one: numbers are compared as float32, which is how most of them are stored.

    Files may nest their configurations as deep as JSON is read: hence no recursion.
    """
    pending = [(one, other)]
    while pending:
        mine, theirs = pending.pop()
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            pending += [(mine.get(name), theirs.get(name)) for name in {*mine, *theirs} - {"name"}]
        elif isinstance(mine, (list, tuple)) and isinstance(theirs, (list, tuple)):
            if len(mine) != len(theirs):
                return False
            pending += zip(mine, theirs, strict=True)
        elif not _same_value(mine, theirs):
            return False
    return True


def _same_value(one: object, other: object) -> bool:
    if isinstance(one, (Mapping, list, tuple)) or isinstance(other, (Mapping, list, tuple)):
        return False
    if isinstance(one, bool) is not isinstance(other, bool):
        return _off(one) and _off(other)
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return one == other or (_float32(one) is not None and _float32(one) == _float32(other))
    return one == other or (_off(one) and _off(other))


def _float32(number: float) -> bytes | None:
    try:
        return struct.pack("<f", number)
    except (OverflowError, struct.error):  # beyond float32, or beyond any float
        return None


def _off(value: object) -> bool:
    """Whether a setting is one that does nothing: absent, false or zero."""
    return value is None or value is False or (isinstance(value, (int, float)) and value == 0)


def _belongs_to_what_is_off(name: str, *sides: Mapping[str, object]) -> bool:
    return name.startswith("ema_") and not any(each.get("use_ema") is True for each in sides)


# ------------------------------------------------------------------------------------------------------ hyperparameters


def _hyperparameter(name: str, a: OptimizerState, b: OptimizerState) -> Iterator[Item]:
    known_a, value_a = recorded(a, name)
    known_b, value_b = recorded(b, name)
    if known_a and known_b:
        if _off(value_a) and _off(value_b) and None in {value_a, value_b}:
            return
        same = same_number(value_a, value_b)
        yield Item(Layer.HYPERPARAMETER, name, (value_a, value_b), Outcome.EQUAL if same else Outcome.DIFFERENT)
    elif not _off(value_a if known_a else value_b):
        yield Item(Layer.HYPERPARAMETER, name, (value_a, value_b), Outcome.NOT_COMPARED, _silent(known_a=known_a))


def _silent(*, known_a: bool) -> str:
    return f"{'B' if known_a else 'A'} does not record it"


def recorded(optimizer: OptimizerState, name: str) -> tuple[bool, object]:
    """(whether a side says what a hyperparameter is, its value).

    A configuration that leaves one out says so much: its generation has none, or writes it only if it is set.
    """
    if name in optimizer.hyperparameters:
        return True, optimizer.hyperparameters[name]
    generation, class_name = optimizer.generation, optimizer.class_name
    if generation is None or class_name is None or not _configured(optimizer):
        return False, None
    defaults = defaults_of(class_name, generation)
    return (defaults is not None and name not in defaults) or name in OPTIONAL.get(generation, frozenset()), None


def _configured(optimizer: OptimizerState) -> bool:
    """Whether there is a configuration, beyond the few numbers that are kept in variables."""
    variables = {"learning_rate", "decay", "beta", *settings_kept(optimizer.class_name, optimizer.generation).values()}
    return bool(set(optimizer.hyperparameters) - variables)


# ------------------------------------------------------------------------------------------------------------ the rate


def _rate(a: OptimizerState, b: OptimizerState) -> Iterator[Item]:
    """The learning rate, or the schedule that sets it."""
    if a.schedule is not None or b.schedule is not None:
        yield _schedule(a, b)
        return
    rates: Said = a.hyperparameters.get("learning_rate"), b.hyperparameters.get("learning_rate")
    if rates == (None, None):
        return
    layer, name = Layer.HYPERPARAMETER, "learning_rate"
    if None not in rates:
        yield Item(layer, name, rates, Outcome.EQUAL if same_number(*rates) else Outcome.DIFFERENT)
        return
    yield Item(layer, name, rates, Outcome.NOT_COMPARED, _silent(known_a=rates[1] is None))


def _schedule(a: OptimizerState, b: OptimizerState) -> Item:
    said: Said = _said(a), _said(b)
    if None in said:
        return Item(Layer.SCHEDULE, "schedule", said, Outcome.NOT_COMPARED, _silent(known_a=said[1] is None))
    if a.schedule is None or b.schedule is None:
        return Item(Layer.SCHEDULE, "schedule", said, Outcome.DIFFERENT)
    one, other = a.schedule, b.schedule
    detail = ""
    if one.class_name != other.class_name:
        outcome = Outcome.DIFFERENT
    elif changed := _changed(one, other):
        outcome, detail = Outcome.DIFFERENT, "; ".join(changed)
    else:
        outcome = Outcome.EQUAL
    return Item(Layer.SCHEDULE, "schedule", said, outcome, detail)


def _said(optimizer: OptimizerState) -> object:
    """What a side says of its rate: the schedule's class, or the constant."""
    return optimizer.schedule.class_name if optimizer.schedule else optimizer.hyperparameters.get("learning_rate")


def _changed(one: Schedule, other: Schedule) -> list[str]:
    names = [name for name in dict.fromkeys([*one.config, *other.config]) if name != "name"]
    return [
        f"{name} {_brief(one.config.get(name))} in A, {_brief(other.config.get(name))} in B"
        for name in names
        if not same_number(one.config.get(name), other.config.get(name))
    ]


def _brief(value: object) -> str:
    """A setting as a sentence says it; what is nested may be nested deep."""
    return "a configuration" if isinstance(value, (Mapping, list, tuple)) else str(value)
