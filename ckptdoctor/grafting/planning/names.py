"""Which optimizer of the target is meant, and what the result calls it."""

from __future__ import annotations

from ckptdoctor.errors import Unmatchable
from ckptdoctor.formats.registry import record
from ckptdoctor.grafting.options import Options
from ckptdoctor.matching.lists import COMPILED
from ckptdoctor.matching.sides import Side, choose
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.inference import class_of_name
from ckptdoctor.state import Generation, OptimizerState, TrainingState


def own_optimizer(target: TrainingState, donor: TrainingState | None, options: Options) -> OptimizerState | None:
    """The target's optimizer that is completed; None if one is added.

    Raises:
        Unmatchable: There are several and nothing says which, or the one that is named is not there.
    """
    wanted, named = options.donor_optimizer, options.target_optimizer
    adds = record(target.format).adds_optimizers
    if named is not None:
        exact = next((each for each in target.optimizers if each.name == named), None)
        return exact if exact is not None or adds else choose(target, named, "the target")
    exact = next((each for each in target.optimizers if each.name == wanted), None)
    if wanted is None or exact is not None or not target.optimizers:
        return exact or choose(target, None, "the target")
    known = {each.name for each in donor.optimizers if wanted not in each.name} if donor is not None else set()
    if adds and all(each.name in known for each in target.optimizers):
        return None  # those are the donor's other optimizers
    try:
        return choose(target, wanted if len(target.optimizers) > 1 else None, "the target")
    except Unmatchable as error:
        raise Unmatchable(f"{error.message}; where both call it differently, say --optimizer DONOR=TARGET") from error


def name_for(
    donor: Side, target: TrainingState, own: OptimizerState | None, default: str | None, options: Options
) -> str:
    """The optimizer's name in the result: the target's, the user's, else the donor's attribute.

    Args:
        donor: The donor.
        target: The target.
        own: Its optimizer.
        default: The name that TensorFlow 1 gives to the class, which names its slots; None for other generations.
        options: What is asked for.
    """
    if own is not None and own.name:
        return own.name
    if options.target_optimizer is not None:
        return options.target_optimizer
    theirs = donor.optimizer
    by_graph = dialect(theirs.generation).by_graph
    if default is not None:
        return theirs.name if by_graph and theirs.name else default
    both = all(record(each.format).adds_optimizers for each in (target, donor.state))
    if not both or by_graph or not theirs.name:
        return COMPILED
    parent, _, attribute = theirs.name.rpartition("/")
    there = not parent or any(variable.tensor.key.startswith(f"{parent}/") for variable in target.variables)
    return theirs.name if there else attribute


def label_for(donor: OptimizerState, own: OptimizerState | None, generation: Generation) -> str | None:
    """What the result's program calls its optimizer, where somebody named it: the target's name, else the donor's."""
    if own is not None and own.label is not None:
        return own.label
    of_one = donor.generation is generation and donor.label is not None
    return donor.label if of_one and class_of_name(donor.label or "") is None else None
