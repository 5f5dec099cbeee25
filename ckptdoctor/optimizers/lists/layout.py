"""Which stored variable is which: the catalogue laid over a list of state variables that have no names.

`optimizer.get_weights()`, `optimizer/vars/N` and `_variables/N` are lists. What each element is follows from the class
(`catalogue`), from the configuration, and from the shapes of the model's trainable variables. The functions here
expand a layout into the list that it predicts, and find the layout that predicts the list that is there.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from ckptdoctor.optimizers.catalogue import (
    EARLY_KERAS3_HEAD,
    HEADS,
    Below2D,
    Block,
    Extent,
    Layout,
    PerVariable,
    Single,
    SlotKind,
)
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.config import FLAGS, Settings, every_setting

Shape = tuple[int, ...]

ITERATION = Single("iteration")
LEARNING_RATE = Single("learning_rate")

_FACTORED_RANK = 2


class Trained(NamedTuple):
    """A variable that the optimizer trains: its path and shape."""

    path: str
    shape: Shape


class Item(NamedTuple):
    """An element of a state list: its shape, and whether it holds whole numbers."""

    shape: Shape
    integral: bool = False


class Assigned(NamedTuple):
    """What an element of a state list is.

    Attributes:
        kind: A slot kind, or a single such as `ITERATION`.
        variable: For a slot, the position of its variable among those that the optimizer trains.
        shape: The shape that it should have.
    """

    kind: SlotKind | Single
    variable: int | None
    shape: Shape


class Fit(NamedTuple):
    """A reading of a whole list: one `Assigned` an element, and the layout and settings that predict it."""

    layout: Layout
    settings: Settings
    assigned: tuple[Assigned, ...]

    @property
    def trained(self) -> tuple[Shape, ...]:
        """Shape of each trained variable, as far as its slots tell (PLACEHOLDER and factored slots do not)."""
        shapes: dict[int, Shape] = {}
        for each in self.assigned:
            if each.variable is not None and isinstance(each.kind, SlotKind) and each.kind.extent is Extent.VARIABLE:
                shapes.setdefault(each.variable, each.shape)
        return tuple(shapes[index] for index in sorted(shapes))


def slot_shape(kind: SlotKind, shape: Shape) -> Shape | None:
    """The shape of a slot of this kind for a variable of this shape; None if it gets none."""
    if kind.extent is Extent.VARIABLE:
        return shape
    if kind.extent is Extent.PLACEHOLDER:
        return (1,)
    if kind.extent is Extent.SCALAR:
        return ()
    if len(shape) < _FACTORED_RANK:
        return None if kind.below_2d is Below2D.ABSENT else ()
    return shape[:-1] if kind.extent is Extent.ROWS else (*shape[:-2], shape[-1])


def keeps(kind: SlotKind, variable: Trained, settings: Settings) -> bool:
    """Whether an optimizer with these settings keeps a slot of this kind for this variable."""
    if not settings.has(kind.when) or slot_shape(kind, variable.shape) is None:
        return False
    if kind.only.startswith("adam_branch"):
        return _adam_branch(variable, settings, ranks=(2, 3) if kind.only == "adam_branch_3d" else (2,))
    return True


def _adam_branch(variable: Trained, settings: Settings, ranks: tuple[int, ...]) -> bool:
    """Whether Muon trains a variable with Adam (keras.src.optimizers.muon.Muon._should_use_adamw)."""
    if len(variable.shape) not in ranks:
        return True
    if settings.exclude_embeddings and "embedding" in variable.path.lower():
        return True
    return any(_matches(pattern, variable.path) for pattern in settings.exclude_layers)


def _matches(pattern: str, path: str) -> bool:
    # A pattern from a file is matched as plain text unless it is plainly harmless: no repetition, no groups.
    if re.fullmatch(r"[\w./^$|-]*", pattern):
        return re.search(pattern, path) is not None
    return pattern in path


def head(layout: Layout, settings: Settings) -> tuple[Single, ...]:
    """The scalars at the front of the list: the count, and in Keras 3 the learning rate unless it is a schedule."""
    if dialect(layout.generation).rate_listed:
        return (ITERATION,) if "schedule" in settings.flags else (ITERATION, LEARNING_RATE)
    return (ITERATION,) if layout.counted else ()


def blocks(layout: Layout) -> tuple[Block, ...]:
    """Every block after the head: the generation's, then the class's."""
    return (*(EARLY_KERAS3_HEAD if layout.early else HEADS[layout.generation]), *layout.blocks)


def expand(layout: Layout, variables: Sequence[Trained], settings: Settings) -> Iterator[Assigned]:
    """The list that a layout predicts for these trained variables."""
    for single in head(layout, settings):
        yield Assigned(single, None, ())
    for block in blocks(layout):
        if isinstance(block, Single):
            yield Assigned(block, None, ())
            continue
        active = [kind for kind in block.kinds if settings.has(kind.when)]
        for index, variable in enumerate(variables) if active else ():
            for kind in active:
                shape = slot_shape(kind, variable.shape)
                if shape is not None and keeps(kind, variable, settings):
                    yield Assigned(kind, index, shape)


@lru_cache
def relevant_flags(layout: Layout) -> tuple[str, ...]:
    """The flags that change what this layout predicts."""
    conditions = {
        kind.when.lstrip("!") for block in blocks(layout) if isinstance(block, PerVariable) for kind in block.kinds
    }
    if dialect(layout.generation).rate_listed:
        conditions.add("schedule")
    return (*(flag for flag in FLAGS if flag in conditions), *sorted(conditions.difference(FLAGS, {""})))


def settings_to_try(layout: Layout, settings: Settings | None) -> Iterator[Settings]:
    """The recorded settings first; then, since records lie (recompiled models), every other combination."""
    if settings is not None:
        yield settings
    for guess in every_setting(relevant_flags(layout)):
        if settings is None:
            yield guess
        elif guess.flags != settings.flags:
            yield Settings(guess.flags, settings.exclude_layers, settings.exclude_embeddings)


def fit(
    items: Sequence[Item],
    layouts: Iterable[Layout],
    variables: Sequence[Trained],
    settings: Settings | None = None,
    *,
    accept: Callable[[Sequence[Assigned]], bool] | None = None,
) -> Fit | None:
    """Finds the layout and settings that predict exactly these items for exactly these variables, in this order.

    Args:
        items: The stored list.
        layouts: Layouts to try, the likeliest first.
        variables: The variables that the optimizer trains, in its order.
        settings: From the configuration; None if there is none, then every combination is tried.
        accept: A last word on a reading that fits, for those who know names as well.

    Returns:
        The first that fits; None if none does.
    """
    shapes = [item.shape for item in items]
    attempts = [
        attempt
        for layout in layouts
        for each in settings_to_try(layout, settings)
        for attempt in variants(layout, each)
    ]
    # What is recorded comes first, in every variant: a guess can make one variant look like another.
    for layout, each in sorted(attempts, key=lambda attempt: attempt[1] is not settings):
        assigned = predicts(layout, variables, each, shapes)
        if assigned is None or not is_plausible(assigned, items):
            continue
        if accept is None or accept(assigned):
            return Fit(layout, each, assigned)
    return None


def predicts(
    layout: Layout, variables: Sequence[Trained], settings: Settings, shapes: Sequence[Shape | None]
) -> tuple[Assigned, ...] | None:
    """The list that a layout predicts, if it has these shapes; given up at the first that differs.

    Args:
        layout: The layout.
        variables: The variables that the optimizer trains, in its order.
        settings: What the configuration says about which state exists.
        shapes: The stored list's shapes; None stands for an element that is lost, and fits any.
    """
    outline = outline_of(layout, settings)
    if not outline.irregular and len(shapes) != outline.singles + outline.regular * len(variables):
        return None
    found: list[Assigned] = []
    for one in expand(layout, variables, settings):
        at = len(found)
        if at == len(shapes) or shapes[at] not in {None, one.shape}:
            return None
        found.append(one)
    return tuple(found) if len(found) == len(shapes) else None


def variants(layout: Layout, settings: Settings) -> Iterator[tuple[Layout, Settings]]:
    """The layout, and the early variant of it where the two differ."""
    yield layout, settings
    if {"use_ema", "gradient_accumulation"} <= settings.flags:
        yield layout._replace(early=True), settings


def is_plausible(assigned: Sequence[Assigned], items: Sequence[Item]) -> bool:
    """A learning rate is no whole number; a count may be any type (Keras 1 wrote float32)."""
    return not any(a.kind is LEARNING_RATE and item.integral for a, item in zip(assigned, items, strict=True))


class Outline(NamedTuple):
    """What a layout comes to with certain settings, before a list is held against it.

    Attributes:
        layout: The layout.
        settings: The settings.
        active: Its blocks, with the kinds that these settings ask for.
        singles: Number of scalars for the whole optimizer, those of the head among them.
        regular: Number of slots that every variable has.
        irregular: Some variables lack some of them.
    """

    layout: Layout
    settings: Settings
    active: tuple[Block, ...]
    singles: int
    regular: int
    irregular: bool


@lru_cache(maxsize=1024)
def outline_of(layout: Layout, settings: Settings) -> Outline:
    """What a layout comes to with these settings."""
    active = tuple(_active(block, settings) for block in blocks(layout))
    kinds = [kind for block in active if isinstance(block, PerVariable) for kind in block.kinds]
    return Outline(
        layout,
        settings,
        active,
        singles=len(head(layout, settings)) + sum(isinstance(block, Single) for block in active),
        regular=len(kinds),
        irregular=any(
            kind.only or (kind.extent in {Extent.ROWS, Extent.COLUMNS} and kind.below_2d is Below2D.ABSENT)
            for kind in kinds
        ),
    )


def _active(block: Block, settings: Settings) -> Block:
    if isinstance(block, Single):
        return block
    return PerVariable(tuple(kind for kind in block.kinds if settings.has(kind.when)))
