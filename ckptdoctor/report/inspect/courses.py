"""What `--stats` draws on a terminal: how large slots are from layer to layer, and where the learning rate goes."""

from __future__ import annotations

from collections.abc import Iterator
from math import isfinite
from typing import TYPE_CHECKING

from ckptdoctor.report.inspect.facts import Fact
from ckptdoctor.report.inspect.rates import rate_curves
from ckptdoctor.report.shared.facts import brief
from ckptdoctor.report.shared.sparkline import sparkline

if TYPE_CHECKING:
    from ckptdoctor.examination import Examination
    from ckptdoctor.state import OptimizerState, TrainingState


def magnitudes(each: Examination, optimizer: OptimizerState) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Of each kind of slot, the root mean square of every variable's, in the order of the variables."""
    for name in dict.fromkeys(slot.name for slot in optimizer.slots):
        known = [
            (slot.variable or slot.tensor.key, figures.rms)
            for slot in optimizer.slots
            if slot.name == name and (figures := each.statistics.get(slot.tensor)) is not None
            if figures.rms is not None and isfinite(figures.rms)
        ]
        if known:
            yield name, known


def courses(each: Examination, state: TrainingState) -> Iterator[Fact]:
    """A line for each kind of slot, and for each schedule."""
    for optimizer in state.optimizers:
        for name, known in magnitudes(each, optimizer):
            numbers = [value for _, value in known]
            span = f"{brief(min(numbers))} to {brief(max(numbers))}"
            yield Fact(name, (f"{sparkline(numbers)}  {span}: root mean square, variable by variable",))
    for curve in rate_curves(state):
        rates = [rate for _, rate in curve.kept]
        if rates:
            told = f"{sparkline(rates)}  {brief(rates[0])} to {brief(rates[-1])} over {curve.kept[-1][0]:,.0f} steps"
            yield Fact("rate", (told,))
