"""What writing would refuse, for plans that nobody carries out: nothing is written, a few small pieces are read."""

from __future__ import annotations

from ckptdoctor.errors import GraftRefused
from ckptdoctor.examination import Examination
from ckptdoctor.grafting.plan import Plan
from ckptdoctor.state import Format

OLD_LAYOUT = (
    "the old weights layout of HDF5 has no place for optimizer state: graft into a whole model, a `.keras` or a "
    "`.weights.h5`"
)


def require_place(plan: Plan, target: Examination) -> None:
    """Raises what the writer of the target's format would.

    Raises:
        GraftRefused: The target has no place for this state.
    """
    optimizer, kind, path = plan.optimizer, target.format, target.resolved
    if kind in {Format.TF_CHECKPOINT, Format.TF_CHECKPOINT_V1}:
        from ckptdoctor.formats.tensorflow.writing import checkpoint as tf_write

        tf_write.check(optimizer, path)
        return
    if kind is Format.SAVED_MODEL:
        from ckptdoctor.formats.tensorflow.writing import saved_model as saved_model_write

        saved_model_write.check(optimizer, path)
        return
    if kind is Format.KERAS_H5_WEIGHTS:
        raise GraftRefused(OLD_LAYOUT, path)
    from ckptdoctor.formats.dumps import writing as dump_write
    from ckptdoctor.formats.keras.writing import files as keras_write
    from ckptdoctor.optimizers.keras.serialize import Form, to_config
    from ckptdoctor.optimizers.lists.elements import elements, wrapper_elements

    if kind is Format.OPTIMIZER_DUMP:
        dump_write.check(optimizer, path)
    elif kind in {Format.KERAS_ARCHIVE, Format.KERAS_WEIGHTS}:
        keras_write.check_layout(optimizer)
    for _ in (*wrapper_elements(optimizer), *elements(optimizer)):
        pass
    if kind in {Format.KERAS_H5, Format.KERAS_ARCHIVE} and not optimizer.configured:
        to_config(optimizer, Form.LEGACY if kind is Format.KERAS_H5 else Form.OBJECT)
