"""PyTorch's schedulers of a running program beside those of an artifact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ckptdoctor.errors import UsageProblem
from ckptdoctor.guard.judging import Loss
from ckptdoctor.guard.live import Live
from ckptdoctor.guard.of_torch import LiveScheduler, scheduler
from ckptdoctor.state import OptimizerState, SchedulerState, TrainingState

_FIRST_RATE = "initial_lr"
"""What a scheduler writes into the groups of its optimizer."""


def judge(state: TrainingState, pairs: Sequence[tuple[OptimizerState, Live]], given: Any) -> Iterator[Loss]:
    """Compares their counts.

    Args:
        state: The artifact.
        pairs: Its optimizers that were compared, and the running ones.
        given: One scheduler; several in order, or by the artifact's names; None for none.

    Raises:
        UsageProblem: The artifact has none of a name that is given.
    """
    there = _of_these(state, [optimizer for optimizer, _ in pairs])
    for stored, here in _paired(there, given, several=len(state.schedulers) > 1, path=state.path):
        if stored is None:
            if not there and not here.last_epoch and _was_scheduled(here, pairs):
                yield Loss("scheduler", f"{here.class_name} begins anew here, and its state is not there")
        elif None not in (stored.last_epoch, here.last_epoch) and stored.last_epoch != here.last_epoch:
            counts = f"{here.last_epoch:,} here, and at {stored.last_epoch:,} there"
            yield Loss("scheduler", f"{here.class_name} stands at {counts}")


def _of_these(state: TrainingState, optimizers: Sequence[OptimizerState]) -> list[SchedulerState]:
    names = {each.name for each in optimizers}
    return [each for each in state.schedulers if each.optimizer is None or each.optimizer in names]


def _paired(
    there: Sequence[SchedulerState], given: Any, *, several: bool, path: str
) -> Iterator[tuple[SchedulerState | None, LiveScheduler]]:
    """Each running scheduler with the artifact's; None where the artifact has none.

    Of a part of several nothing tells which they are, but for names.
    """
    if given is None:
        return
    if isinstance(given, Mapping) and there:
        by_name = {each.name: each for each in there}
        for name, each in given.items():
            if name not in by_name:
                raise UsageProblem(f"{path} has no scheduler {name!r}: it has {', '.join(map(repr, by_name))}", path)
            yield by_name[name], scheduler(each)
        return
    listed = list(given.values()) if isinstance(given, Mapping) else given
    live = [scheduler(each) for each in (listed if isinstance(listed, (list, tuple)) else [listed])]
    if several and len(live) < len(there):
        return
    for number, each in enumerate(live):
        yield (there[number] if number < len(there) else None), each


def _was_scheduled(here: LiveScheduler, pairs: Sequence[tuple[OptimizerState, Live]]) -> bool:
    """Whether the groups of its optimizer tell that a scheduler set their rates, in a run that has begun."""
    own = [optimizer for optimizer, live in pairs if live.optimizer is here.optimizer or len(pairs) == 1]
    for each in own:
        rates = [group.hyperparameters for group in each.groups if _FIRST_RATE in group.hyperparameters]
        moved = any(group[_FIRST_RATE] != group.get("lr") for group in rates)
        if rates and (moved or each.iterations or each.slots):
            return True
    return False
