"""The plan of a graft: what will be written, where each number comes from, and why. Pure data; nothing here acts."""

from typing import NamedTuple

from ckptdoctor.grafting.planning.completeness import Unused
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Format


class Plan(NamedTuple):
    """A graft, before it is done.

    Attributes:
        donor: Path that the state comes from; None if only the count is set.
        target: Path of the artifact that is completed.
        output: Path that is written.
        format: Format of the result, the target's.
        optimizer: The optimizer of the result.
        unmatched: Target variables that get no state, with the reason (only with `--partial`).
        unused: State of the donor that goes nowhere, with the reason.
        warnings: What an engineer should know before relying on the result.
        link: Share unchanged data files instead of copying them.
        partial: State may be left out; without it the result holds as many slots as the target had.
        before: The plans for other optimizers of the result, which are carried out before this one.
    """

    donor: str | None
    target: str
    output: str
    format: Format
    optimizer: PlannedOptimizer
    unmatched: tuple[tuple[str, str], ...] = ()
    unused: tuple[Unused, ...] = ()
    warnings: tuple[str, ...] = ()
    link: bool = False
    partial: bool = False
    before: "tuple[Plan, ...]" = ()
