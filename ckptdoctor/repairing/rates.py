"""Another learning rate than the one that is stored, which the program's gives way to."""

from __future__ import annotations

from collections.abc import Callable

from ckptdoctor.examination import examine
from ckptdoctor.grafting.options import Options
from ckptdoctor.grafting.run import graft
from ckptdoctor.optimizers.numbers import finite
from ckptdoctor.repairing.counts import Settings
from ckptdoctor.state import OptimizerState

_RATE = "learning_rate"


def find(path: str, settings: Settings) -> tuple[str, ...]:
    """The rates that would be others."""
    rate = finite(settings.get(_RATE))
    stored = {each.name: finite(each.hyperparameters.get(_RATE)) for each in _optimizers(path)}
    return tuple(
        f"the learning rate of {name or 'the optimizer'} is {rate:g}, not {was:g}"
        for name, was in stored.items()
        if rate is not None and was is not None and not _same(was, rate)
    )


def mend(path: str, output: str, settings: Settings, progress: Callable[[int], None] | None = None) -> tuple[str, ...]:
    """Writes the artifact with the rate: of Keras as a graft into itself, with everything else as it is.

    Raises:
        GraftRefused: A schedule sets the rate, or it has no place for it.
    """
    told = find(path, settings)
    names = [each.name for each in _optimizers(path) if each.has_state]
    several = [f"{each}={each}" for each in names] if len(names) > 1 else [None]
    options = Options(
        optimizer=several[0], more=tuple(filter(None, several[1:])), learning_rate=finite(settings[_RATE])
    )
    receipt = graft(path, path, output, options)
    if progress is not None:
        progress(receipt.written.bytes_new + receipt.written.bytes_copied)
    return told


def _optimizers(path: str) -> tuple[OptimizerState, ...]:
    found = next(iter(examine(path)))
    return found.optimizers


def _same(one: float, other: float) -> bool:
    """Rates are stored in float32 by some."""
    return abs(one - other) <= 1e-6 * max(abs(one), abs(other))
