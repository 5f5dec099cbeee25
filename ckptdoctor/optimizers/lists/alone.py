"""Lists read without their variables: every layout whose pattern of equal shapes a list shows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from ckptdoctor.optimizers.catalogue import Block, Extent, Layout, PerVariable, Single, SlotKind
from ckptdoctor.optimizers.keras.config import Settings
from ckptdoctor.optimizers.lists.layout import (
    Assigned,
    Fit,
    Item,
    Outline,
    Shape,
    Trained,
    head,
    is_plausible,
    keeps,
    outline_of,
    settings_to_try,
    slot_shape,
    variants,
)


def fit_alone(items: Sequence[Item], layouts: Iterable[Layout], settings: Settings | None = None) -> list[Fit]:
    """Finds every layout and setting whose pattern of equal shapes these items show, without knowing the variables.

    The variables' number and shapes follow from the items: slots of one variable share its shape. Used for dumps, and
    where the model's own variables do not fit (some were frozen later, or are not in the artifact).

    Returns:
        All readings that are consistent, in the order of `layouts`, plainest settings first.
    """
    found: list[Fit] = []
    for layout in layouts:
        for outlines in _guesses(layout) if settings is None else _attempts(layout, settings):
            fits = [
                Fit(each.layout, each.settings, assigned)
                for each in outlines
                if (assigned := _solve(items, each)) is not None and is_plausible(assigned, items)
            ]
            found.extend(fits)
            if fits and fits[0].settings is settings:
                break
    return found


def _attempts(layout: Layout, settings: Settings | None) -> Iterator[tuple[Outline, ...]]:
    """For each of the settings to try, the variants of a layout."""
    for each in settings_to_try(layout, settings):
        yield tuple(outline_of(variant, each) for variant, _ in variants(layout, each))


@lru_cache
def _guesses(layout: Layout) -> tuple[tuple[Outline, ...], ...]:
    """The same where no settings are known; they are the same for every list, so a thousand dumps ask for them once."""
    return tuple(_attempts(layout, None))


def _solve(items: Sequence[Item], outline: Outline) -> tuple[Assigned, ...] | None:
    layout, settings, active, singles, regular, irregular = outline
    rest = len(items) - singles
    if rest < 0:
        return None
    if irregular:
        return _solve_irregular(items, layout, settings, active)
    if regular == 0:
        return _singles_only(items, layout, settings, active) if rest == 0 else None
    if rest % regular:
        return None
    return _solve_regular(items, layout, settings, active, rest // regular)


def _singles_only(
    items: Sequence[Item], layout: Layout, settings: Settings, active: Sequence[Block]
) -> tuple[Assigned, ...] | None:
    singles = [*head(layout, settings), *(block for block in active if isinstance(block, Single))]
    if any(item.shape for item in items):
        return None
    return tuple(Assigned(single, None, ()) for single in singles)


def _solve_regular(
    items: Sequence[Item], layout: Layout, settings: Settings, active: Sequence[Block], count: int
) -> tuple[Assigned, ...] | None:
    """Every variable has one slot of each kind: their number is known, only shapes have to agree."""
    shapes = [item.shape for item in items]
    position = len(head(layout, settings))
    if any(shapes[:position]):
        return None
    own: list[Shape] | None = None
    factored: list[tuple[SlotKind, list[Shape]]] = []
    for block in active:
        if isinstance(block, Single):
            if shapes[position]:
                return None
            position += 1
            continue
        width = len(block.kinds)
        end = position + count * width
        for at, kind in enumerate(block.kinds):
            found = shapes[position + at : end : width]
            if kind.extent is Extent.VARIABLE:
                if own is not None and own != found:
                    return None
                own = found
            elif kind.extent is Extent.PLACEHOLDER:
                if found.count((1,)) < count:
                    return None
            else:
                factored.append((kind, found))
        position = end
    if own is not None and any([slot_shape(kind, each) for each in own] != found for kind, found in factored):
        return None
    return tuple(_assigned(shapes, layout, settings, active, count))


def _assigned(
    shapes: Sequence[Shape], layout: Layout, settings: Settings, active: Sequence[Block], count: int
) -> Iterator[Assigned]:
    """What each element is, once shapes agree."""
    for single in head(layout, settings):
        yield Assigned(single, None, ())
    rest = iter(shapes[len(head(layout, settings)) :])
    for block in active:
        if isinstance(block, Single):
            yield Assigned(block, None, next(rest))
            continue
        for index in range(count) if block.kinds else ():
            for kind in block.kinds:
                yield Assigned(kind, index, next(rest))


def _solve_irregular(
    items: Sequence[Item], layout: Layout, settings: Settings, active: Sequence[Block]
) -> tuple[Assigned, ...] | None:
    """Some variables lack some kinds (Adafactor before Keras 3, Muon): walk the one block, variable by variable."""
    singles = head(layout, settings)
    if any(item.shape for item in items[: len(singles)]):
        return None
    assigned = [Assigned(single, None, ()) for single in singles]
    per_variable = [block for block in active if isinstance(block, PerVariable) and block.kinds]
    if len(per_variable) != 1:
        return None
    position, index = len(singles), 0
    while position < len(items):
        step = _next_variable(items, position, per_variable[0].kinds, index)
        if step is None:
            return None
        assigned.extend(step)
        position += len(step)
        index += 1
    return tuple(assigned)


def _next_variable(
    items: Sequence[Item], position: int, kinds: Sequence[SlotKind], index: int
) -> tuple[Assigned, ...] | None:
    """The slots of one variable whose shape is not known: factored kinds first decide it, else its own shape does."""
    for anchor in (each for each in kinds if each.extent is Extent.VARIABLE):
        for ahead in reversed(range(min(len(kinds), len(items) - position))):
            shape = items[position + ahead].shape
            variable = Trained("", shape)
            present = [k for k in kinds if keeps(k, variable, Settings())]
            wanted = [slot_shape(k, shape) for k in present]
            there = [item.shape for item in items[position : position + len(present)]]
            if anchor in present and present.index(anchor) == ahead and wanted == there:
                return tuple(Assigned(k, index, s) for k, s in zip(present, there, strict=True))
    return None
