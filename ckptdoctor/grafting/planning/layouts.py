"""Which of the catalogue's layouts a graft writes."""

from __future__ import annotations

from ckptdoctor.diagnosis.circumstances import scalars_before
from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers.catalogue import Layout, Single, layouts
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.config import Settings
from ckptdoctor.optimizers.lists.around import MULTI
from ckptdoctor.optimizers.name_based import layout_of
from ckptdoctor.state import Generation, OptimizerState
from ckptdoctor.versions import release, within


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
        if class_name == MULTI:
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


def graph_layout(class_name: str, settings: Settings, generation: Generation) -> Layout:
    """The same where the names of a graph's operations find the state.

    Raises:
        GraftRefused: There is no such class.
    """
    flags = settings.flags
    found = layout_of(
        class_name, centered="centered" in flags, momentum="momentum" in flags, averaged="use_ema" in flags
    )
    if found is None:
        raise _unknown(class_name, generation)
    return found


def _unknown(class_name: str, generation: Generation) -> GraftRefused:
    said = f"{dialect(generation).title} has no {class_name} whose state is known"
    others = [each.value for each in Generation if layouts(class_name, each)]
    return GraftRefused(f"{said}: write one of another generation with --as {' or '.join(others)}" if others else said)
