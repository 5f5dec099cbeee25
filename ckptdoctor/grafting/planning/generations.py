"""Which generation of optimizers a graft writes: the user's choice, the target's own, else the donor's."""

from __future__ import annotations

from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.registry import record
from ckptdoctor.matching.sides import Side
from ckptdoctor.optimizers.keras.serialize import NAMES
from ckptdoctor.state import Generation, OptimizerState, TrainingState
from ckptdoctor.versions import release

_NEW_SINCE = (2, 11)
"""The release of Keras whose optimizers are the rewritten ones."""
_OBJECTS = ".ATTRIBUTES/"
_KERAS3_PARTS = ("/_operations/", "/_kernel/.ATTRIBUTES/")
"""Attributes of Keras 3's layers and models that no earlier Keras has: they stand in the keys of its checkpoints."""


def generation_for(
    donor: Side, target: TrainingState, own: OptimizerState | None, asked: Generation | None
) -> tuple[Generation, list[str]]:
    """The generation to write, with warnings where it is not the donor's and nobody asked for it.

    Raises:
        GraftRefused: Nothing tells it, or the target's framework cannot train with the donor's.
    """
    if asked is not None:
        return asked, []
    if own is not None and own.generation is not None:
        return own.generation, []
    theirs = donor.optimizer.generation
    told = _by_target(target)
    if told is None and theirs is Generation.TF1:
        told = _of_saved_model(target)
    if told is not None:
        foreign = theirs is Generation.TF1
        said = f"the target's model is one of {NAMES[told]}, so its {donor.optimizer.class_name} is written"
        return told, [f"{said}, not that of tf.compat.v1; --as chooses another"] if foreign else []
    if _tells_framework_alone(target):
        raise GraftRefused(
            "nothing in the target tells whether Keras 3 or tf_keras wrote it, and their lists differ: say which loads "
            "the result with --as keras3 or --as keras2",
            target.path,
        )
    if theirs is Generation.TF1 and _is_by_objects(target) and not _is_by_objects(donor.state):
        raise GraftRefused(
            "the donor's optimizer is one of tf.compat.v1 and the target a checkpoint of objects, whose program has "
            "another: say which with --as optimizer-v2, keras2 or keras3 (or tf1, if it is tf.compat.v1's after all)",
            target.path,
        )
    if theirs is None:
        raise GraftRefused("nothing tells which generation of optimizers to write: say it with --as")
    return theirs, []


def _by_target(target: TrainingState) -> Generation | None:
    """The generation that the target's own framework reads, where that is no choice."""
    version = target.producer.version or ""
    kind = record(target.format)
    if kind.generations and version:
        return Generation.KERAS3 if version.startswith("3.") else Generation.KERAS2
    if _tells_framework_alone(target):
        return {"keras": Generation.KERAS3, "tf.keras": Generation.KERAS2}.get(target.producer.framework or "")
    keys = [variable.tensor.key for variable in target.variables]
    by_keys = kind.holds == "linked" and kind.configuration == "none"
    if by_keys and any(part in f"/{key}" for key in keys for part in _KERAS3_PARTS):
        return Generation.KERAS3
    return None


def _tells_framework_alone(target: TrainingState) -> bool:
    """Whether it is a list beside variables without a configuration: at best its framework is known."""
    kind = record(target.format)
    return kind.holds == "list" and kind.is_nameless


def _of_saved_model(target: TrainingState) -> Generation | None:
    """The generation that tf.keras of the version that saved a model compiles it with."""
    known = release(target.producer.version)
    if record(target.format).configuration != "optional" or not known or not target.producer.framework:
        return None
    if "keras" not in target.producer.framework:
        return None
    return Generation.KERAS2 if known >= _NEW_SINCE else Generation.OPTIMIZER_V2


def _is_by_objects(state: TrainingState) -> bool:
    return any(_OBJECTS in variable.tensor.key for variable in state.variables)
