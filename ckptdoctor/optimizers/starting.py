"""What a slot holds before the first step: zeros for nearly all, and what to write where that would be wrong.

A variable that the donor does not know (a new layer) starts with what its framework would give it. Zeros there would
let Adagrad's first steps leap, and would let an average or ScheduleFreeAdamW's copy pull the weights to zero. The
catalogue says which slots start otherwise (`SlotKind.start`).
"""

from __future__ import annotations

from collections.abc import Mapping

from ckptdoctor.optimizers.catalogue import SlotKind
from ckptdoctor.optimizers.lists.evidence import INITIAL_ACCUMULATOR
from ckptdoctor.optimizers.translation import finite


def starting_value(kind: SlotKind, hyperparameters: Mapping[str, object], defaults: Mapping[str, object]) -> float:
    """The number that a slot starts with; one that starts as a copy (`COPY`) has zeros where there is nothing to copy.

    Args:
        kind: The slot.
        hyperparameters: In force.
        defaults: Those of the class, where they are known.
    """
    if not isinstance(kind.start, str):
        return kind.start
    given = (finite(each.get(kind.start)) for each in (hyperparameters, defaults))
    fallback = INITIAL_ACCUMULATOR if kind.start.startswith("initial") else 0.0
    return next((each for each in given if each is not None), fallback)
