"""Which generation of optimizers a graft writes: the user's choice, the target's own, else the donor's."""

from __future__ import annotations

from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.registry import program, record
from ckptdoctor.matching.sides import Side
from ckptdoctor.optimizers.dialects import dialect, of_keras, of_tensorflow
from ckptdoctor.state import Generation, OptimizerState, TrainingState


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
    foreign = dialect(theirs).by_graph
    if told is None and foreign:
        told = _of_saved_model(target)
    if told is not None:
        said = f"the target's model is one of {dialect(told).title}, so its {donor.optimizer.class_name} is written"
        return told, [f"{said}, not that of tf.compat.v1; --as chooses another"] if foreign else []
    if _tells_framework_alone(target):
        raise GraftRefused(
            "nothing in the target tells whether Keras 3 or tf_keras wrote it, and their lists differ: say which loads "
            "the result with --as keras3 or --as keras2",
            target.path,
        )
    if foreign and target.by_objects and not donor.state.by_objects:
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
    kind = record(target.format)
    if kind.generations and target.producer.version:
        found = of_keras(target.producer.version)
        return found if found in kind.generations else kind.generations[0]
    return program(target)


def _tells_framework_alone(target: TrainingState) -> bool:
    """Whether it is a list beside variables without a configuration: at best its framework is known."""
    kind = record(target.format)
    return kind.holds == "list" and kind.is_nameless


def _of_saved_model(target: TrainingState) -> Generation | None:
    """The generation that tf.keras of the version that saved a model compiles it with."""
    framework, version = target.producer
    optional = record(target.format).configuration == "optional"
    return of_tensorflow(version) if optional and framework and "keras" in framework else None
