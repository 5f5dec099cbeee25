"""What writing into Keras' files would refuse, before anything is written."""

from __future__ import annotations

from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.keras import SAVING_THEIR_OWN
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.serialize import Form, to_config
from ckptdoctor.optimizers.lists.elements import require_listable
from ckptdoctor.optimizers.planned import PlannedOptimizer


def check_h5(optimizer: PlannedOptimizer, _target: str) -> None:
    """Raises what `write_h5` would of the optimizer.

    Raises:
        GraftRefused: The generation cannot express it.
    """
    require_listable(optimizer)
    if not optimizer.configured:
        to_config(optimizer, Form.LEGACY)


def check_archive(optimizer: PlannedOptimizer, target: str) -> None:
    """Raises what `write_keras_archive` would of the optimizer.

    Raises:
        GraftRefused: The generation cannot express it, or is not looked for in archives.
    """
    check_weights(optimizer, target)
    if not optimizer.configured:
        to_config(optimizer, Form.OBJECT)


def check_weights(optimizer: PlannedOptimizer, _target: str) -> None:
    """Raises what `write_keras_weights` would of the optimizer.

    Raises:
        GraftRefused: The generation is not looked for in these files.
    """
    check_layout(optimizer)
    require_listable(optimizer)


def check_layout(optimizer: PlannedOptimizer) -> None:
    """Refuses generations whose state Keras never looks for in archives and `.weights.h5`.

    Raises:
        GraftRefused: It is one.
    """
    if optimizer.generation not in SAVING_THEIR_OWN:
        raise GraftRefused(
            f"`.keras` and `.weights.h5` never hold the state of optimizers of {dialect(optimizer.generation).title}: "
            "write that of a later generation (--as keras2 or --as keras3), or choose an HDF5 target"
        )
