"""Schedulers in a graft: they go with the optimizer whose rates they set, into the places that the target has for them.

A scheduler's `load_state_dict` takes whatever it is given (torch/optim/lr_scheduler.py: `__dict__.update`), so what is
of another class is refused.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.registry import record
from ckptdoctor.references import TensorRef
from ckptdoctor.state import OptimizerState, SchedulerState, TrainingState
from ckptdoctor.words import counted, enumerate_some

Stored = Mapping[Any, Any]
_ALONE = "--only slots --only iterations takes the state alone, and leaves the target its rates and its schedule"


class Moved(NamedTuple):
    """What becomes of schedulers.

    Attributes:
        schedulers: (the target's name of one, or None for a new one; its state from now on).
        warnings: What an engineer should know.
    """

    schedulers: tuple[tuple[str | None, Stored], ...] = ()
    warnings: tuple[str, ...] = ()


def moved(donor: tuple[TrainingState, OptimizerState], target: TrainingState, own: OptimizerState | None) -> Moved:
    """The donor's schedulers in the places of the target's.

    Args:
        donor: The donor, and its optimizer.
        target: The target.
        own: Its optimizer; None if it has none.

    Raises:
        GraftRefused: They are of other classes, or are more or fewer.
    """
    mine = _distinct(_of(target, own))
    theirs, warnings = [], []
    rule = record(target.format).schedules
    for each, *_ in _distinct(_of(*donor)):
        if not _is_plain(each):
            warnings.append(f"{each.name} of the donor holds objects of its program, and is not taken along")
        elif rule and not (_alike(each, mine[0][0]) if mine else rule in _classes(each)):
            warnings.append(f"{_called(each)} of the donor stays behind: the target's program has a {rule}")
        else:
            theirs.append(each)
    if not theirs:
        return Moved((), (*warnings, *stays(target)))
    if not mine:
        return Moved(tuple((None, each.stored) for each in theirs), tuple(warnings))
    if len(theirs) != len(mine):
        raise GraftRefused(
            f"the donor has {counted(len(theirs), 'scheduler')} and the target {len(mine)}, and none says which is "
            f"which: {_ALONE}"
        )
    for (here, *_), there in zip(mine, theirs, strict=True):
        if not _alike(here, there):
            raise GraftRefused(
                f"the donor's rates are set by {_called(there)}, the target's by {_called(here)}, whose counts and "
                f"rates mean different things: {_ALONE}"
            )
    pairs = zip(mine, theirs, strict=True)
    return Moved(tuple((each.name, there.stored) for same, there in pairs for each in same), tuple(warnings))


def stays(target: TrainingState) -> Iterator[str]:
    """A sentence for schedulers that a graft leaves alone, unless their program reckons by the optimizer's count."""
    names = [each.name for each in target.schedulers]
    if names and not record(target.format).schedules:
        verb = "stays as it was, with a count" if len(names) == 1 else "stay as they were, with counts"
        yield f"{enumerate_some(names, 3)} {verb} of its own: see that it fits the optimizer's"


def _of(state: TrainingState, optimizer: OptimizerState | None) -> Sequence[SchedulerState]:
    if optimizer is None:
        return () if state.optimizers else state.schedulers
    named = [each for each in state.schedulers if each.optimizer == optimizer.name]
    return state.schedulers if not named and len(state.optimizers) == 1 else named


def _distinct(given: Iterable[SchedulerState]) -> list[list[SchedulerState]]:
    """Each scheduler with its copies: StochasticWeightAveraging of Lightning keeps the one in force once more."""
    found: dict[object, list[SchedulerState]] = {}
    for each in given:
        numbers = tuple(sorted((str(key), repr(value)) for key, value in each.stored.items() if _is_number(value)))
        found.setdefault((each.class_name, each.learning_rates, numbers), []).append(each)
    return list(found.values())


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def _called(scheduler: SchedulerState) -> str:
    return f"{scheduler.class_name or 'a scheduler of unknown class'} ({scheduler.name})"


def _classes(scheduler: SchedulerState) -> set[str | None]:
    return {scheduler.class_name, *scheduler.class_candidates}


def _alike(one: SchedulerState, other: SchedulerState) -> bool:
    """Whether two are of a class; of one that is not known, whether they keep the same."""
    if one.class_name is None or other.class_name is None:
        return one.stored.keys() == other.stored.keys()
    return bool(_classes(one) & _classes(other))


def _is_plain(scheduler: SchedulerState) -> bool:
    """Whether a scheduler's state is data, and not the scheduler itself (OneCycleLR and CyclicLR before 1.7)."""
    return not any(getattr(each, "fields", None) for each in _leaves(scheduler.stored))


def _leaves(value: object) -> Iterator[object]:
    """Everything in a structure that is none itself; of an object, also what it was made of."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, (list, tuple)) and not isinstance(value, TensorRef):
        for each in value:
            yield from _leaves(each)
    else:
        yield value
        yield from _leaves(getattr(value, "args", ()))
