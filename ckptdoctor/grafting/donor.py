"""The donor of a graft: one optimizer, with the variables that it trains."""

from __future__ import annotations

from dataclasses import replace

from ckptdoctor.errors import GraftRefused
from ckptdoctor.grafting.options import Options
from ckptdoctor.matching.sides import Side, choose, is_nameless, make_side, read_against
from ckptdoctor.state import TrainingState


def donor_side(state: TrainingState, target: TrainingState, options: Options) -> Side:
    """The donor's optimizer; a dump, which has no variables of its own, is read against the target's.

    Raises:
        GraftRefused: It holds no optimizer state.
        Unmatchable: It holds several optimizers, or a dump does not fit the target's variables.
    """
    optimizer = choose(state, options.donor_optimizer, "the donor")
    if optimizer is None or not optimizer.has_state:
        raise GraftRefused("the donor holds no optimizer state", state.path)
    if is_nameless(state, optimizer):
        own = target.optimizers[0] if len(target.optimizers) == 1 else None
        read = read_against(optimizer, target, own, options.optimizer_class)
        # It was read as one class; that is a fact only where somebody says so.
        told = options.optimizer_class is not None or (own is not None and own.class_name and not own.class_inferred)
        candidates = () if told else optimizer.class_candidates
        optimizer = replace(read, class_inferred=True, class_candidates=candidates)
    return make_side(state, optimizer)
