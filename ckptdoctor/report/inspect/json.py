"""The JSON document of `inspect`, as CONTRACT fixes it: schema `ckptdoctor.inspect/1`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from json.encoder import encode_basestring_ascii as _quote
from math import isfinite
from typing import Any

from ckptdoctor import __version__
from ckptdoctor.containers.tensors.dtypes import total_nbytes
from ckptdoctor.diagnosis.status import optimizer_status
from ckptdoctor.examination import Examination
from ckptdoctor.references import TensorRef
from ckptdoctor.state import (
    ModelVariable,
    OptimizerState,
    OtherVariable,
    Role,
    Schedule,
    SchedulerState,
    Slot,
    TrainingState,
    Wrapper,
)

SCHEMA = "ckptdoctor.inspect/1"

_BATCH = 1000
"""So many slots are one piece of text."""

Stats = Callable[[TensorRef], dict[str, Any] | None]
Slots = Callable[[OptimizerState, "Stats | None"], "list[dict[str, Any]] | Iterator[str]"]


def render(examinations: Iterable[Examination], *, tensors: bool = False, stats: bool = False) -> Iterator[str]:
    """The document in pieces, ending in a newline; ASCII only, so that no terminal and no pipe can misread it.

    A large model's slots are never text all at once, nor a dictionary each.
    """
    artifacts = _array(_rendered(each, tensors=tensors, stats=stats) for each in examinations)
    yield from _object({"schema": SCHEMA, "version": __version__, "artifacts": artifacts})
    yield "\n"


def _object(entry: Mapping[str, Any]) -> Iterator[str]:
    """An object, some of whose values are texts already, in pieces."""
    for number, (name, value) in enumerate(entry.items()):
        yield f"{', ' if number else '{'}{_quote(name)}: "
        if isinstance(value, Iterator):
            yield from value
        else:
            yield json.dumps(value, allow_nan=False)
    yield "}"


def _array(items: Iterable[Iterable[str]]) -> Iterator[str]:
    """An array of such values."""
    before = "["
    for item in items:
        yield before
        yield from item
        before = ", "
    yield "[]" if before == "[" else "]"


def artifact(examination: Examination, *, tensors: bool = False, stats: bool = False) -> dict[str, Any]:
    """One artifact of the document."""
    return _fields(examination, _slots, tensors=tensors, stats=stats)


def _rendered(examination: Examination, *, tensors: bool, stats: bool) -> Iterator[str]:
    fields = _fields(examination, _rendered_slots, tensors=tensors, stats=stats)
    return _object({**fields, "optimizers": _array(_object(each) for each in fields["optimizers"])})


def _fields(examination: Examination, slots: Slots, *, tensors: bool, stats: bool) -> dict[str, Any]:
    state = examination.state
    figures = _figures(examination) if stats else None
    return {
        "path": examination.path,
        "resolved": examination.resolved,
        "format": examination.format.value,
        "producer": {
            "framework": state.producer.framework if state else None,
            "version": state.producer.version if state else None,
        },
        "status": examination.status.value,
        "summary": examination.summary,
        "verdict": examination.verdict,
        "model": _model(state, figures, tensors=tensors) if state else None,
        "optimizers": [_optimizer(each, figures, slots) for each in state.optimizers] if state else [],
        "schedulers": [_scheduler(each) for each in state.schedulers] if state else [],
        "companions": [each._asdict() for each in state.companions] if state else [],
        "counters": dict(state.counters) if state else {},
        "loaders": _losses(state, examination.path) if state else [],
        "findings": [
            {"code": each.code, "severity": each.severity.value, "message": each.message, "hint": each.hint or None}
            for each in examination.findings
        ],
        "error": str(examination.error) if examination.error else None,
    }


def _losses(state: TrainingState, path: str) -> list[dict[str, Any]]:
    """What loaders of any version would lose of an artifact; what is not listed restores all, or was never measured."""
    from ckptdoctor.diagnosis.families.loading import graft_command
    from ckptdoctor.diagnosis.loader_table import every

    return [
        {
            "loader": line,
            "versions": row.versions or None,
            "rule": row.rule,
            "optimizer": loss.optimizer.name,
            "call": row.call,
            "does": row.does,
            "iterations": row.iterations,
            "slots": row.slots,
            "weights": row.weights,
            "signal": row.signal,
            "text": row.says or None,
            "instead": row.instead.for_optimizers([loss.optimizer.name]) if row.instead else None,
            "graft": command,
        }
        for loss in every(state)
        for row, command in ((loss.row, graft_command(loss, path)),)
        for line in row.lines
    ]


def _figures(examination: Examination) -> Stats:
    def figures(ref: TensorRef) -> dict[str, Any] | None:
        found = examination.statistics.get(ref)
        if found is None:
            return None
        return {
            "min": plain(found.min),
            "max": plain(found.max),
            "mean": plain(found.mean),
            "nan": found.nan,
            "inf": found.inf,
            "zeros": found.zeros,
            "rms": plain(found.rms),
        }

    return figures


def _model(state: TrainingState, figures: Stats | None, *, tensors: bool) -> dict[str, Any]:
    stored = [(tensor, trainable) for _, tensor, trainable, _ in state.variables if tensor.place is not None]
    known = [trainable for _, trainable in stored]
    model: dict[str, Any] = {
        "variables": len(stored),
        "trainable": None if None in known else sum(known),
        "bytes": total_nbytes([tensor for tensor, _ in stored]),
    }
    if tensors:
        model["tensors"] = [_variable(variable, figures) for variable in state.variables]
        model["others"] = [_tensor(ref, figures) for ref in state.others]
    return model


def _tensor(ref: TensorRef, figures: Stats | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"key": ref.key, "shape": list(ref.shape), "dtype": ref.dtype}
    if figures is not None:
        entry["stats"] = figures(ref)
    return entry


def _variable(variable: ModelVariable, figures: Stats | None) -> dict[str, Any]:
    ref = variable.tensor
    entry: dict[str, Any] = {
        "variable": variable.path,
        # A variable without a location is known from its slots only: a checkpoint of the optimizer alone.
        "key": ref.key or None,
        "shape": list(ref.shape),
        "dtype": ref.dtype or None,
        "trainable": variable.trainable,
    }
    if figures is not None:
        entry["stats"] = figures(ref)
    return entry


def _optimizer(optimizer: OptimizerState, figures: Stats | None, slots: Slots) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": optimizer.name,
        "class": optimizer.class_name,
        "generation": optimizer.generation.value if optimizer.generation else None,
        "status": optimizer_status(optimizer).value,
        "iterations": optimizer.iterations,
        "iterations_key": optimizer.iterations_key,
        "counts": [
            {"value": each.value, "of": each.of, "where": each.where or None, "key": each.key}
            for each in optimizer.all_counts
        ],
        "hyperparameters": {name: plain(value) for name, value in optimizer.hyperparameters.items()},
        "groups": [
            {"name": each.name, "variables": list(each.variables), "hyperparameters": plain(each.hyperparameters)}
            for each in optimizer.groups
        ],
        "schedule": _schedule(optimizer.schedule),
        "slots": slots(optimizer, figures),
        "missing": [
            {"name": each.name, "role": each.role.value, "variable": each.variable} for each in optimizer.missing
        ],
        "other": [_other(each, figures) for each in optimizer.other],
    }
    if optimizer.hyperparameters.get("decay") and optimizer.schedule is None:
        from ckptdoctor.optimizers.keras.schedules import legacy_decay

        decay = legacy_decay(optimizer.class_name, optimizer.hyperparameters, optimizer.iterations)
        if decay is not None:
            entry["decay"] = {name: plain(value) for name, value in decay._asdict().items()}
    if optimizer.class_inferred:
        entry["class_inferred"] = True
    if optimizer.class_candidates:
        entry["class_candidates"] = list(optimizer.class_candidates)
    if optimizer.iterations_reported is not None:
        entry["iterations_reported"] = optimizer.iterations_reported
    if optimizer.iterations_range is not None:
        entry["iterations_range"] = list(optimizer.iterations_range)
    if optimizer.recoverable is not None:
        entry["iterations_recoverable"] = {"value": optimizer.recoverable.value, "from": optimizer.recoverable.source}
    if optimizer.wrapper is not None:
        entry["wrapper"] = _wrapper(optimizer.wrapper, figures)
    if optimizer.notes:
        entry["notes"] = list(optimizer.notes)
    return entry


def _slots(optimizer: OptimizerState, figures: Stats | None) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = [
        {
            "name": slot.name,
            "role": slot.role.value,
            "variable": slot.variable,
            "key": slot.tensor.key,
            "shape": list(slot.tensor.shape),
            "dtype": slot.tensor.dtype,
            "mapping": slot.mapping,
        }
        for slot in optimizer.slots
    ]
    if figures is not None:
        for entry, slot in zip(entries, optimizer.slots, strict=True):
            entry["stats"] = figures(slot.tensor)
    return entries


def _rendered_slots(optimizer: OptimizerState, figures: Stats | None) -> Iterator[str]:
    """The same, written directly: there may be 100,000."""
    entries = _slot_texts(optimizer.slots, figures)
    return _array((", ".join(batch),) for batch in iter(lambda: list(islice(entries, _BATCH)), []))


def _slot_texts(slots: Iterable[Slot], figures: Stats | None) -> Iterator[str]:
    """A text for each; names, shapes and types are a few."""
    heads: dict[str, tuple[Role, str]] = {}
    tails: dict[tuple[int, ...], tuple[str, str, str]] = {}
    before: str | None = None
    owner = "null"
    for name, role, variable, ref, mapping in slots:
        key, dtype, shape = ref.key, ref.dtype, ref.shape
        head = heads.get(name)
        if head is None or head[0] is not role:
            text = f'{{"name": {_quote(name)}, "role": {_quote(role.value)}, "variable": '
            heads[name] = head = (role, text)
        tail = tails.get(shape)
        if tail is None or tail[0] is not dtype or tail[1] is not mapping:
            text = f', "shape": {list(shape)}, "dtype": {_quote(dtype)}, "mapping": {_quote(mapping)}'
            tails[shape] = tail = (dtype, mapping, text)
        if variable is not before:  # the slots of one variable follow one another in most artifacts
            before, owner = variable, "null" if variable is None else _quote(variable)
        stats = "" if figures is None else f', "stats": {json.dumps(figures(ref), allow_nan=False)}'
        yield f'{head[1]}{owner}, "key": {_quote(key)}{tail[2]}{stats}}}'


def _other(other: OtherVariable, figures: Stats | None) -> dict[str, Any]:
    ref = other.tensor
    entry: dict[str, Any] = {
        "name": other.name,
        "key": ref.key,
        "shape": list(ref.shape),
        "dtype": ref.dtype,
        "value": plain(other.value),
    }
    if figures is not None:
        entry["stats"] = figures(ref)
    return entry


def _schedule(schedule: Schedule | None) -> dict[str, Any] | None:
    if schedule is None:
        return None
    return {
        "class": schedule.class_name,
        "config": plain(schedule.config),
        "learning_rate": plain(schedule.learning_rate),
        "learning_rate_if_lost": plain(schedule.learning_rate_if_lost),
    }


def _scheduler(scheduler: SchedulerState) -> dict[str, Any]:
    fields = {name: plain(value) for name, value in scheduler._asdict().items()}
    return {("class" if name == "class_name" else name): value for name, value in fields.items()}


def _wrapper(wrapper: Wrapper, figures: Stats | None) -> dict[str, Any]:
    return {
        "class": wrapper.class_name,
        "loss_scale": plain(wrapper.loss_scale),
        "variables": [_other(each, figures) for each in wrapper.variables],
    }


def plain(value: object) -> Any:
    """A value as JSON carries it; numbers that it cannot carry become strings."""
    if isinstance(value, float):
        return value if isfinite(value) else str(value).replace("nan", "NaN").replace("inf", "Infinity")
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)
