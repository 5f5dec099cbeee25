"""Which of the catalogue's layouts a graft writes."""

from __future__ import annotations

from ckptdoctor.diagnosis.circumstances import scalars_before
from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers.catalogue import Layout, PerVariable, Single, SlotKind, layouts
from ckptdoctor.optimizers.keras.config import Settings
from ckptdoctor.optimizers.keras.serialize import NAMES
from ckptdoctor.optimizers.name_based import TF1_AVERAGE, TF1_OPTIMIZERS, Tf1Optimizer
from ckptdoctor.state import Generation, OptimizerState, Role
from ckptdoctor.versions import release, within

_SEVERAL = "MultiOptimizer"


def pick_layout(
    class_name: str,
    generation: Generation,
    version: str | None,
    *,
    wrapped: bool = False,
    like: OptimizerState | None = None,
) -> Layout:
    """The catalogue's layout for a class in the version that will read it; the newest where none is known.

    Args:
        class_name: The class.
        generation: The generation.
        version: The framework's version, where the target tells.
        wrapped: It is inside a LossScaleOptimizer, where some classes keep less.
        like: The target's own optimizer, whose list may tell which variant its program has.

    Raises:
        GraftRefused: The generation has no such class.
    """
    known = layouts(class_name, generation)
    variants = [each for each in known if each.wrapped == wrapped] or known
    if not variants:
        if class_name == _SEVERAL:
            raise GraftRefused(
                "a MultiOptimizer is several optimizers in one list, which a graft does not take apart: compile the "
                "target with the same one, build it, and assign the donor's optimizer.variables to its own one by one"
            )
        raise _unknown(class_name, generation)
    before = scalars_before(like) if like is not None and like.generation is generation else None
    if before is not None:
        variants = [each for each in variants if isinstance(each.blocks[0], Single) == bool(before)] or variants
    numbers = release(version, 3)
    for variant in variants:
        if not numbers or within(numbers, variant.versions):
            return variant
    return variants[0]


def tf1_layout(class_name: str, settings: Settings) -> Layout:
    """The slots of a tf.compat.v1 optimizer, as a layout: kind by kind, no count of its own.

    Raises:
        GraftRefused: TensorFlow 1 has no such class.
    """
    kinds: tuple[SlotKind, ...] = (TF1_AVERAGE,) if "use_ema" in settings.flags else ()
    if class_name != "SGD" or "momentum" in settings.flags:  # GradientDescentOptimizer keeps none
        kinds = (*_tf1_entry(class_name, centered="centered" in settings.flags).slots, *kinds)
    return Layout(class_name, Generation.TF1, tuple(PerVariable((kind,)) for kind in kinds), counted=False)


def tf1_op_name(class_name: str) -> str:
    """The default name of a tf.compat.v1 optimizer, which names its slots."""
    return _tf1_entry(class_name, centered=False).op_name


def _tf1_entry(class_name: str, *, centered: bool) -> Tf1Optimizer:
    entries = [each for each in TF1_OPTIMIZERS if each.class_name == class_name and not each.suffixes]
    for entry in entries:
        if (Role.MEAN_GRADIENT in {kind.role for kind in entry.slots}) == centered:
            return entry
    raise _unknown(class_name, Generation.TF1)


def _unknown(class_name: str, generation: Generation) -> GraftRefused:
    said = f"{NAMES[generation]} has no {class_name} whose state is known"
    others = [each.value for each in Generation if layouts(class_name, each)]
    return GraftRefused(f"{said}: write one of another generation with --as {' or '.join(others)}" if others else said)
