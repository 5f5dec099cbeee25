"""Slots given to variables by their shapes: in order, or wherever a shape is unique."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from ckptdoctor.optimizers.lists.layout import Shape


def attach(shapes: Sequence[Shape], candidates: Sequence[Shape]) -> list[int] | None:
    """Gives slots, in order, to variables, in order, where some variables have none: by shape alone.

    Args:
        shapes: Shapes of the trained variables as their slots show them, in the optimizer's order.
        candidates: Shapes of the model's variables, in the model's order.

    Returns:
        For each of `shapes` the index of its variable, if exactly one order-preserving assignment exists; else None.
    """
    left = _greedy(shapes, candidates)
    if left is None:
        return None
    right = _greedy(shapes[::-1], candidates[::-1])
    if right is None:
        return None
    mirrored = [len(candidates) - 1 - index for index in reversed(right)]
    return left if left == mirrored else None


def _greedy(shapes: Sequence[Shape], candidates: Sequence[Shape]) -> list[int] | None:
    result: list[int] = []
    position = 0
    for shape in shapes:
        while position < len(candidates) and candidates[position] != shape:
            position += 1
        if position == len(candidates):
            return None
        result.append(position)
        position += 1
    return result


def unique_by_shape(shapes: Sequence[Shape], candidates: Sequence[Shape]) -> list[int | None]:
    """Gives slots to variables wherever a shape occurs exactly once on both sides, whatever the order."""

    def once(values: Sequence[Shape]) -> set[Shape]:
        return {value for value, group in groupby(sorted(values)) if len(list(group)) == 1}

    common = once(shapes) & once(candidates)
    return [candidates.index(shape) if shape in common else None for shape in shapes]
