"""One checkpoint: as much of it as a line needs. Runs where its reader does, in a worker or in this process."""

from __future__ import annotations

from math import isfinite

from ckptdoctor.diagnosis.evidence import Evidence
from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.diagnosis.rules import judge
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.examination import examine_target, reading, unreadable
from ckptdoctor.formats.contract import Target
from ckptdoctor.formats.locate import spoken
from ckptdoctor.formats.registry import is_isolated
from ckptdoctor.state import OptimizerState, Status, TrainingState
from ckptdoctor.timeline.results import Objection, Seen

_NOT_FINITE = "V001"
_TELLING = ("I", "S", "V")
"""Families of rules whose errors say that a checkpoint is not what its run had: damage, structure, values."""
_RATES = ("learning_rate", "lr", "_learning_rate", "learning_rate_fn", "step_size")


def look(target: Target, deep: bool = False, judged: bool = False) -> Seen:  # noqa: FBT001, FBT002 - by pipe
    """What a line tells of a checkpoint.

    Args:
        target: The checkpoint.
        deep: Read every value too.
        judged: Ask the rules.
    """
    if not (deep and is_isolated(target.reader)):
        return _look(target, deep, judged)
    try:
        return reading(_look, target, deep, judged, path=target.resolved)
    except UnreadableArtifact as error:  # HDF5's library died of it
        found = unreadable(target.path, target.resolved, error)
        return Seen(found.format, found.status, str(error))


def look_all(targets: tuple[Target, ...], deep: bool) -> tuple[Seen, ...]:  # noqa: FBT001 - by pipe
    """The same of several."""
    return tuple(_look(each, deep, judged=False) for each in targets)


def _look(target: Target, deep: bool, judged: bool) -> Seen:  # noqa: FBT001 - by pipe
    found = examine_target(target, judged=False)
    state = found.state
    if state is None:
        return Seen(found.format, found.status, found.bare_verdict)
    findings: tuple[Finding, ...] | None = None
    if deep:
        from ckptdoctor.checking.deep import scan

        findings = tuple(judge(Evidence(spoken(target.resolved), state, scan=scan(state, target.resolved))))
    elif judged:
        findings = tuple(judge(Evidence(spoken(target.resolved), state)))
    return Seen(
        format=state.format,
        status=found.status,
        verdict=found.bare_verdict,
        weights=any(each.tensor.location is not None for each in state.variables),
        iterations=_count(state),
        epoch=_epoch(state),
        metric=state.logged.metric,
        learning_rate=_rate(state),
        finite=all(each.code != _NOT_FINITE for each in findings or ()) if deep else None,
        errors=None if findings is None else _objections(findings, found.status),
        best=state.logged.best,
        best_by=state.logged.best_by,
    )


def _objections(findings: tuple[Finding, ...], status: Status) -> tuple[Objection, ...]:
    """What the rules say that its status does not say already."""
    return tuple(
        Objection(each.code, each.message)
        for each in findings
        if each.severity is Severity.ERROR and each.code.startswith(_TELLING) and status is Status.COMPLETE
    )


def _count(state: TrainingState) -> int | None:
    counts = [each.iterations for each in state.optimizers if each.iterations is not None]
    counts += [each.iterations_range[1] for each in state.optimizers if each.iterations_range is not None]
    return max(counts, default=_counter(state, "global_step", "step", "iteration"))


def _counter(state: TrainingState, *names: str) -> int | None:
    """A counter by the last part of its name; the one that lies least deep."""
    for name in names:
        found = [each for each in state.counters if each.rpartition("/")[2] == name]
        if found:
            return state.counters[min(found, key=len)]
    return None


def _epoch(state: TrainingState) -> float | None:
    if state.logged.epoch is not None:
        return state.logged.epoch
    counted = _counter(state, "epoch")
    return None if counted is None else float(counted)


def _rate(state: TrainingState) -> float | None:
    """The rate of the first optimizer that has one, as its scheduler, its own variable or its settings tell."""
    for scheduler in state.schedulers:
        if scheduler.learning_rates:
            return scheduler.learning_rates[0]
    for optimizer in state.optimizers:
        rate = _rate_of(optimizer)
        if rate is not None:
            return rate
    return None


def _rate_of(optimizer: OptimizerState) -> float | None:
    told: list[object] = [optimizer.schedule.learning_rate] if optimizer.schedule is not None else []
    told += [each.value for each in optimizer.other if each.name.rpartition("/")[2] in _RATES]
    settings = [optimizer.hyperparameters, *(each.hyperparameters for each in optimizer.groups)]
    told += [held[name] for held in settings for name in _RATES if name in held]
    for value in told:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value):
            return float(value)
    return None
