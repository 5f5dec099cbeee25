"""The learning rate from here on, and as it would be if the count, or the scheduler, were lost."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ckptdoctor.optimizers.keras import schedules as of_keras
from ckptdoctor.optimizers.torch import schedules as of_torch
from ckptdoctor.state import OptimizerState, SchedulerState, TrainingState

Points = tuple[tuple[float, float], ...]
_POINTS = 120
_STEPS = 240
"""Steps of PyTorch's schedulers, which go from one rate to the next."""
_LEAST = 100
_LONGEST = 10_000_000


class Curve(NamedTuple):
    """Rates by steps from now on.

    Attributes:
        title: Whose they are.
        kept: As the artifact has it.
        otherwise: What else would be.
        lost: The rates then.
    """

    title: str
    kept: Points
    otherwise: str
    lost: Points


def rate_curves(state: TrainingState) -> Iterator[Curve]:
    """One for each schedule whose rates are known."""
    for each in state.optimizers:
        curve = _of_keras(each)
        if curve is not None:
            yield curve
    for scheduler in state.schedulers:
        curve = _of_torch(scheduler, state)
        if curve is not None:
            yield curve


def _of_keras(optimizer: OptimizerState) -> Curve | None:
    schedule = optimizer.schedule
    if schedule is None or schedule.learning_rate is None:
        return None
    count = optimizer.iterations if optimizer.iterations_reported is None else optimizer.iterations_reported
    if count is None:
        return None
    known = [value for value in schedule.config.values() if isinstance(value, int) and not isinstance(value, bool)]
    span = min(max(_LEAST, *known, 2 * count) if known else max(_LEAST, 2 * count), _LONGEST)
    steps = sorted({span * number // _POINTS for number in range(_POINTS + 1)})

    def from_(start: int) -> Points:
        rates = ((float(step), of_keras.at(schedule, start + step)) for step in steps)
        return tuple((step, rate) for step, rate in rates if rate is not None)

    lost = from_(0) if count else ()
    return Curve(f"{schedule.class_name}: learning rate", from_(count), "if the count were lost", lost)


def _of_torch(scheduler: SchedulerState, state: TrainingState) -> Curve | None:
    if scheduler.last_epoch is None or not scheduler.learning_rates or scheduler.next is None:
        return None
    named = [each for each in state.optimizers if scheduler.optimizer in {None, each.name}]
    groups = named[0].groups if named else ()
    group: Mapping[str, object] = groups[0].hyperparameters if groups else {}
    rate = scheduler.learning_rates[0]
    kept, lost = (of_torch.ahead(scheduler.stored, group, rate, lost=each, steps=_STEPS) for each in (False, True))
    if kept is None:
        return None
    title = f"{scheduler.class_name or scheduler.name}: learning rate"
    return Curve(title, _numbered(rate, kept), "if the scheduler were lost", _numbered(rate, lost or ()))


def _numbered(rate: float, rates: tuple[float, ...]) -> Points:
    return tuple((float(step), each) for step, each in enumerate((rate, *rates))) if rates else ()
