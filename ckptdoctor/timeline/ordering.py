"""The lines of a run in the order that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ckptdoctor.timeline.results import Checkpoint, Run

_Value = Callable[[Checkpoint], "float | str | None"]

KEYS: Mapping[str, _Value] = {
    "count": lambda each: each.iterations,
    "epoch": lambda each: each.epoch,
    "metric": lambda each: each.metric.value if each.metric is not None else None,
    "learning-rate": lambda each: each.learning_rate,
    "size": lambda each: each.size,
    "age": lambda each: -each.saved,
    "name": lambda each: each.name,
}


def lines(run: Run, sort: str | None, limit: int | None) -> tuple[Checkpoint, ...]:
    """The checkpoints of a run to be shown.

    Args:
        run: The run.
        sort: One of `KEYS`, after a `-` from the greatest on; None for the order of training.
        limit: So many, the last ones.
    """
    found = list(run.checkpoints)
    if sort is not None:
        value = KEYS[sort.removeprefix("-")]
        known = [each for each in found if value(each) is not None]
        known.sort(key=value, reverse=sort.startswith("-"))  # type: ignore[arg-type]
        found = [*(each for each in found if value(each) is None), *known]
    return tuple(found if limit is None else found[max(len(found) - limit, 0) :])
