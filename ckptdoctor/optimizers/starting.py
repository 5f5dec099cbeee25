"""What a slot holds before the first step: zeros for nearly all, and what to write where that would be wrong.

A variable that the donor does not know (a new layer) starts with what its framework would give it. Zeros there would
let Adagrad's first steps leap, and would let an average or ScheduleFreeAdamW's copy pull the weights to zero.
"""

from __future__ import annotations

from collections.abc import Mapping

from ckptdoctor.optimizers.catalogue import SlotKind
from ckptdoctor.optimizers.lists.evidence import INITIAL_ACCUMULATOR
from ckptdoctor.optimizers.translation import finite
from ckptdoctor.state import Generation, Role

_ACCUMULATING = frozenset({"Adagrad", "AdagradDA", "Ftrl"})
"""Their accumulator starts at `initial_accumulator_value`; in Keras 1 at zero (keras 2.3.1, optimizers.Adagrad)."""


def starts_as_its_variable(class_name: str, kind: SlotKind) -> bool:
    """Whether a slot starts as a copy of its variable.

    Moving averages do (tf_keras.src.optimizers.optimizer, `build`; Keras 3 copies in the first step, which is over in a
    run that goes on), and ScheduleFreeAdamW's `momentum` (keras.src.optimizers.schedule_free_adamw, `build`).
    """
    if kind.role is Role.MOVING_AVERAGE:
        return True
    return class_name == "ScheduleFreeAdamW" and kind.role is Role.FIRST_MOMENT


def starting_value(
    class_name: str, kind: SlotKind, generation: Generation, hyperparameters: Mapping[str, object]
) -> float:
    """The number that a slot starts with.

    Adagrad's and Ftrl's accumulators start at `initial_accumulator_value`, 0.1 unless it is set; TensorFlow 1's RMSProp
    keeps ones in `rms` (tf.compat.v1.train.RMSPropOptimizer, `_create_slots`).
    """
    if kind.role is Role.ACCUMULATOR and class_name in _ACCUMULATING and generation is not Generation.KERAS1:
        given = finite(hyperparameters.get("initial_accumulator_value"))
        return INITIAL_ACCUMULATOR if given is None else given
    if kind.role is Role.MEAN_SQUARE and class_name == "RMSprop" and generation is Generation.TF1:
        return 1.0
    return 0.0
