"""What decides, beside formats and versions, whether a loader restores an optimizer: the circumstances in loaders.json.

Each is a pure function of the artifact and one of its optimizers, and says no where the artifact does not tell.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ckptdoctor.optimizers.lists.around import MULTI
from ckptdoctor.state import ModelVariable, OptimizerState, Slot, TrainingState

_LIST = "/_variables/"
_MOST_DIGITS = 9


def _slots(_state: TrainingState, optimizer: OptimizerState) -> bool:
    return bool(optimizer.slots)


def _wrapped(_state: TrainingState, optimizer: OptimizerState) -> bool:
    return optimizer.wrapper is not None and optimizer.wrapper.scales_loss


_COMPILED = "optimizer"
"""What readers call the optimizer of `model.compile`."""


def _by_hand(state: TrainingState, _optimizer: OptimizerState) -> bool:
    """The training script itself calls what loads it: no callback does."""
    return state.callback is None


def _by_backup(state: TrainingState, _optimizer: OptimizerState) -> bool:
    return state.callback == "BackupAndRestore"


def _wrapper_unnamed(_state: TrainingState, optimizer: OptimizerState) -> bool:
    """`mixed_float16` wraps the optimizer at compile time, and the configuration does not say so."""
    return optimizer.wrapper is not None and not optimizer.wrapper.configured and not optimizer.class_inferred


def _unconfigured(_state: TrainingState, optimizer: OptimizerState) -> bool:
    """compile() had an optimizer that the configuration does not name; those in attributes of a model never are."""
    return optimizer.class_inferred and optimizer.name == _COMPILED


def _in_attribute(_state: TrainingState, optimizer: OptimizerState) -> bool:
    """It is an attribute of the model, as the two of a GAN are, and not what compile() of Keras is given."""
    return optimizer.name != _COMPILED


def _no_keras_metadata(state: TrainingState, _optimizer: OptimizerState) -> bool:
    """Keras' own metadata names its version; without it only TensorFlow's is known."""
    return state.producer.framework == "tensorflow"


def _no_product(_state: TrainingState, optimizer: OptimizerState) -> bool:
    """Keras 2.3 and later save the product of Nadam's momentum schedule; those before only the count."""
    return not optimizer.other


def _no_vhat(_state: TrainingState, optimizer: OptimizerState) -> bool:
    return bool(optimizer.slots) and all(slot.name != "vhat" for slot in optimizer.slots)


def _no_momentum(_state: TrainingState, optimizer: OptimizerState) -> bool:
    return bool(optimizer.slots) and optimizer.hyperparameters.get("momentum") == 0


# ----------------------------------------------------------------------------------------------- Orbax, as Keras does


def _by_orbax(state: TrainingState, _optimizer: OptimizerState) -> bool:
    return state.callback == "OrbaxCheckpoint"


def _renamed(state: TrainingState, optimizer: OptimizerState) -> bool:
    """Variables whose stored names begin with their model's own, which the rebuilt model leaves out: their alias."""
    return _by_orbax(state, optimizer) and any(variable.aliases for variable in state.variables)


def _item_of_3_13(state: TrainingState, optimizer: OptimizerState) -> bool:
    """Keras 3.13 calls the item `state`, and writes no configuration beside it."""
    return _by_orbax(state, optimizer) and (optimizer.iterations_key or "").startswith("state/")


def _slots_within_wrapper(state: TrainingState, optimizer: OptimizerState) -> bool:
    """TensorFlow puts a LossScaleOptimizer's name before those of the slots inside: `loss_scale_optimizer/adam`."""
    deeper = [slot.tensor.key.partition("/optimizer_variables/")[2].count("/") > 1 for slot in optimizer.slots]
    return _by_orbax(state, optimizer) and _wrapped(state, optimizer) and any(deeper)


# ------------------------------------------------------------------------- slots against the variables that are trained


def _kept_for(state: TrainingState, optimizer: OptimizerState) -> tuple[list[Slot], list[ModelVariable]] | None:
    """The slots of the kind that every variable has, in stored order, and the variables that the model trains, in its.

    None where one of the two cannot be told.
    """
    if not optimizer.slots or optimizer.class_name == MULTI:
        return None
    owners = {slot.variable for slot in optimizer.slots}
    if any(variable.trainable is None and variable.path not in owners for variable in state.variables):
        return None
    kinds: dict[str, list[Slot]] = {}
    for slot in optimizer.slots:
        kinds.setdefault(slot.name, []).append(slot)
    # What was trained then, and of which nothing says otherwise, is trained now.
    trained = [variable for variable in state.variables if variable.trainable is not False]
    return max(kinds.values(), key=len), trained


def _other_number(state: TrainingState, optimizer: OptimizerState) -> bool:
    """Slots are here for more or fewer variables than the model trains: it was frozen or thawed after they were made.

    Only slots that name a variable that the model does not train prove it, or variables that lack theirs.
    """
    found = _kept_for(state, optimizer)
    if found is None:
        return False
    slots, trained = found
    frozen = {variable.path for variable in state.variables} - {variable.path for variable in trained}
    return len(slots) != len(trained) and (bool(optimizer.missing) or any(slot.variable in frozen for slot in slots))


def _by_name(state: TrainingState, optimizer: OptimizerState) -> tuple[list[Slot], list[ModelVariable]] | None:
    """The same where the artifact names each slot's variable, and they are the variables that the model trains."""
    found = _kept_for(state, optimizer)
    if found is None:
        return None
    slots, trained = found
    named = all(slot.mapping == "name" for slot in slots)
    same = sorted(slot.variable or "" for slot in slots) == sorted(variable.path for variable in trained)
    return found if named and same else None


def _other_shapes(state: TrainingState, optimizer: OptimizerState) -> bool:
    """By position, some slot would go to a variable of another shape."""
    found = _by_name(state, optimizer)
    if found is None:
        return False
    shapes = {variable.path: variable.tensor.shape for variable in state.variables}
    return any(shapes[slot.variable or ""] != own.tensor.shape for slot, own in zip(*found, strict=True))


def _permuted(state: TrainingState, optimizer: OptimizerState) -> bool:
    """By position, some slot would go to another variable of the same shape, and every one to one of its shape."""
    found = _by_name(state, optimizer)
    if found is None or _other_shapes(state, optimizer):
        return False
    return any(slot.variable != own.path for slot, own in zip(*found, strict=True))


def _misfit(state: TrainingState, optimizer: OptimizerState) -> bool:
    return _other_number(state, optimizer) or _other_shapes(state, optimizer)


# --------------------------------------------------------------------------------- places in lists of object graphs


def _first_index(optimizer: OptimizerState) -> int | None:
    """The least index of a slot in the optimizer's `_variables`."""
    found = [slot.tensor.key.partition(_LIST)[2].partition("/")[0] for slot in optimizer.slots]
    return min((int(each) for each in found if each.isdecimal() and len(each) <= _MOST_DIGITS), default=None)


def _slots_from_zero(_state: TrainingState, optimizer: OptimizerState) -> bool:
    """The lists of TensorFlow 2.9's and 2.10's experimental optimizers lack the count."""
    return _first_index(optimizer) == 0


def scalars_before(optimizer: OptimizerState) -> int | None:
    """How many scalars but count and learning rate stand before a Keras 3 optimizer's first slot."""
    first = _first_index(optimizer)
    rate = any(each.name == "_learning_rate" for each in optimizer.other)
    return None if first is None else first - 1 - rate


def _product_first(_state: TrainingState, optimizer: OptimizerState) -> bool:
    return scalars_before(optimizer) == 1


def _product_last(_state: TrainingState, optimizer: OptimizerState) -> bool:
    return scalars_before(optimizer) == 0


# ----------------------------------------------------------------------------------------------------------- PyTorch


def _by_number(_state: TrainingState, optimizer: OptimizerState) -> bool:
    """Its keys count parameters, as those of `optimizer.state_dict()` do, and do not name them."""
    return any(re.search(r"(^|\.)state\.\d+\.", slot.tensor.key) for slot in optimizer.slots)


# ------------------------------------------------------------------------------------------- what a trainer writes down


def _progress_of_4_50(state: TrainingState, _optimizer: OptimizerState) -> bool:
    return not state.progress or "best_global_step" in state.progress


def _progress_of_4_41(state: TrainingState, _optimizer: OptimizerState) -> bool:
    return not state.progress or "stateful_callbacks" in state.progress


def _progress_without_control(state: TrainingState, _optimizer: OptimizerState) -> bool:
    return "stateful_callbacks/TrainerControl" not in state.progress


CIRCUMSTANCES: Mapping[str, Callable[[TrainingState, OptimizerState], bool]] = {
    "slots": _slots,
    "renamed": _renamed,
    "item-of-3.13": _item_of_3_13,
    "slots-within-wrapper": _slots_within_wrapper,
    "wrapped": _wrapped,
    "by-hand": _by_hand,
    "by-backup": _by_backup,
    "wrapper-unnamed": _wrapper_unnamed,
    "unconfigured": _unconfigured,
    "in-attribute": _in_attribute,
    "no-keras-metadata": _no_keras_metadata,
    "no-product": _no_product,
    "no-vhat": _no_vhat,
    "no-momentum": _no_momentum,
    "other-number": _other_number,
    "other-shapes": _other_shapes,
    "permuted": _permuted,
    "misfit": _misfit,
    "slots-from-zero": _slots_from_zero,
    "product-first": _product_first,
    "product-last": _product_last,
    "by-number": _by_number,
    "progress-of-4.50": _progress_of_4_50,
    "progress-of-4.41": _progress_of_4_41,
    "progress-without-control": _progress_without_control,
}
"""By the name that loaders.json uses; `observed` is none of them."""
