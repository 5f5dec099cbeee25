"""What reports of `inspect` for people share: the facts about an artifact, and which findings they show."""

from collections.abc import Iterator
from math import isclose
from typing import TYPE_CHECKING, NamedTuple

from ckptdoctor.containers.tensors.dtypes import total_nbytes
from ckptdoctor.diagnosis.findings import Finding, is_aside
from ckptdoctor.diagnosis.status import lacking_names
from ckptdoctor.formats.registry import record
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.report.shared.facts import figure, human_bytes, worth_showing
from ckptdoctor.state import OptimizerState, SchedulerState, TrainingState
from ckptdoctor.words import counted, enumerate_some

if TYPE_CHECKING:
    from ckptdoctor.examination import Examination

_CANDIDATES = 3
_MISSING = 8
_KINDS = {
    "scaler": "GradScaler", "rng": "random numbers", "sampler": "sampler", "averages": "averages", "loop": "loops",
    "callback": "callback",
}  # fmt: skip


class Fact(NamedTuple):
    """A label, and what is said: parts, each of which is best kept on one line; prose is a single one."""

    label: str
    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it."""
        return ", ".join(self.parts)


def facts(each: "Examination", state: TrainingState) -> Iterator[Fact]:
    """Format, model, each optimizer, counters."""
    yield Fact("format", (_format(each, state),))
    yield Fact("model", (_model(state),))
    for optimizer in state.optimizers:
        yield from optimizer_facts(optimizer)
    for scheduler in state.schedulers:
        yield Fact("scheduler", (_scheduler(scheduler),))
    beside = [each for each in state.companions if each.present]
    if beside:
        yield Fact("beside it", tuple(f"{_KINDS[each.kind]} ({each.name})" for each in beside[:_MISSING]))
    if state.counters:
        yield Fact("counters", tuple(f"{name} {value:,}" for name, value in state.counters.items()))


def told(each: "Examination", *, tensors: bool = False) -> list[Finding]:
    """The findings to be shown: what is true of most healthy artifacts only beside their tensors."""
    return [finding for finding in each.findings if not is_aside(finding) or (tensors and finding.code != "P002")]


def _format(each: "Examination", state: TrainingState) -> str:
    text = record(state.format).title
    if state.producer.framework:
        text += f", written by {state.producer.framework} {state.producer.version or ''}".rstrip()
    if each.resolved != each.path:
        text += f" ({each.resolved})"
    return text


def _model(state: TrainingState) -> str:
    stored = [variable for variable in state.variables if variable.tensor.place is not None]
    if not stored:
        return "no model variables are in it"
    size = total_nbytes([variable.tensor for variable in stored])
    text = f"{len(stored):,} variable{'' if len(stored) == 1 else 's'}, {human_bytes(size)}"
    frozen = sum(variable.trainable is False for variable in stored)
    return f"{text}, {frozen:,} not trainable" if frozen else text


def _scheduler(scheduler: SchedulerState) -> str:
    """`StepLR at 7: rate 0.01, then 0.001; if it were lost 0.01`."""
    name = scheduler.class_name or "of unknown class"
    if scheduler.class_candidates:
        name += f" ({' or '.join(scheduler.class_candidates)} would fit too)"
    text = name if scheduler.last_epoch is None else f"{name} at {scheduler.last_epoch:,}"
    if scheduler.learning_rates:
        text += f": rate {scheduler.learning_rates[0]:.6g}"
    if scheduler.next:
        text += f", next {', '.join(f'{rate:.6g}' for rate in scheduler.next)}"
        lost = scheduler.if_lost or scheduler.next
        if any(not isclose(*pair) for pair in zip(scheduler.next, lost, strict=True)):
            text += f"; if it were lost {', '.join(f'{rate:.6g}' for rate in lost)}"
    return text


def _groups(optimizer: OptimizerState) -> Iterator[str]:
    """What groups have that is not the same in all of them."""
    for number, group in enumerate(optimizer.groups):
        own = {key: value for key, value in group.hyperparameters.items() if key not in optimizer.hyperparameters}
        said = ", ".join(f"{key} {figure(value)}" for key, value in own.items())
        yield f"{group.name or number}: {counted(len(group.variables), 'parameter')}{f' with {said}' if said else ''}"


def optimizer_facts(optimizer: OptimizerState) -> Iterator[Fact]:
    """Class, count, settings, groups, schedule, and what is missing."""
    yield Fact("optimizer", (_called(optimizer),))
    count = _count(optimizer)
    if count:
        yield Fact("iterations", (count,))
    settings = tuple(f"{key} {figure(value)}" for key, value in worth_showing(optimizer.hyperparameters))
    if settings:
        yield Fact("settings", settings)
    if len(optimizer.groups) > 1:
        yield Fact("groups", (enumerate_some(list(_groups(optimizer)), _MISSING),))
    rates = schedule_text(optimizer)
    if rates:
        yield Fact("schedule", (rates,))
    if optimizer.missing:
        yield Fact("missing", (enumerate_some(lacking_names(optimizer), _MISSING),))
    for note in optimizer.notes:
        yield Fact("note", (note,))


def _called(optimizer: OptimizerState) -> str:
    name = optimizer.class_name or "of unknown class"
    candidates = optimizer.class_candidates
    if optimizer.class_inferred and candidates:
        several = len(candidates) > _CANDIDATES
        others = enumerate_some(candidates, _CANDIDATES) if several else " or ".join(candidates)
        name += f" (inferred; {others} would fit too)"
    elif optimizer.class_inferred:
        name += " (inferred)"
    parts = [name]
    if optimizer.generation is not None:
        parts.append(dialect(optimizer.generation).short)
    if optimizer.name and optimizer.name != "optimizer":
        parts.append(f"named {optimizer.name}")
    if optimizer.wrapper is not None:
        scale = optimizer.wrapper.loss_scale
        parts.append(f"in a {optimizer.wrapper.class_name}" + (f" at loss scale {scale:,.6g}" if scale else ""))
    return ", ".join(parts)


def _count(optimizer: OptimizerState) -> str:
    if optimizer.iterations is not None:
        reported = optimizer.iterations_reported
        return f"{optimizer.iterations:,}" + (f" (the framework reports {reported:,})" if reported is not None else "")
    if optimizer.iterations_range is not None:
        least, most = optimizer.iterations_range
        return f"{least:,} to {most:,}: its {len(optimizer.counts):,} counts differ"
    if optimizer.recoverable is not None:
        return f"not stored; {optimizer.recoverable.value:,} follows from {optimizer.recoverable.source}"
    return "not stored" if optimizer.has_state else ""


def schedule_text(optimizer: OptimizerState) -> str:
    """The schedule or decay, the next learning rate, and that after losing the count; empty without either."""
    schedule = optimizer.schedule
    if schedule is not None:
        return _rates(schedule.class_name, schedule.learning_rate, schedule.learning_rate_if_lost)
    if not optimizer.hyperparameters.get("decay"):
        return ""
    from ckptdoctor.optimizers.keras.schedules import legacy_decay

    decay = legacy_decay(optimizer.class_name, optimizer.hyperparameters, optimizer.iterations)
    return _rates(f"decay {figure(optimizer.hyperparameters['decay'])}", *decay) if decay is not None else ""


def _rates(name: str, right: float | None, lost: float | None) -> str:
    if right is None:
        if lost is None:
            return f"{name}, which cannot be computed from its configuration"
        return f"{name}: without a count it restarts at {lost:.6g}"
    text = f"{name}: next learning rate {right:.6g}"
    if lost is None or lost == right:
        return text
    ratio = lost / right if right else float("inf")
    times = "" if isclose(ratio, 1, rel_tol=0.1) else f", {ratio:,.3g} times"
    return f"{text}; if the count were lost {lost:.6g}{times}"
