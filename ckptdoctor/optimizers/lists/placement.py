"""Which variables a list of slots belongs to, when all that is known of the slots is their shapes, in order.

The model's order is the first guess. Where it does not fit (layers were frozen, the order of a subclassed model is not
in the file, gradients were applied in reverse) the shapes themselves often allow one answer only. Variables of one
layer stay together, so layers are placed as blocks before single variables are.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ckptdoctor.optimizers.lists.layout import Shape, Trained
from ckptdoctor.optimizers.lists.orders import attach, unique_by_shape
from ckptdoctor.optimizers.lists.searching import MOST_STEPS, Chain, agreed, chosen, layer_runs
from ckptdoctor.state import Mapped


class Placement(NamedTuple):
    """For each slot position the index of its variable, or None where it cannot be told; and how that was found."""

    indices: tuple[int | None, ...]
    mapping: Mapped

    @property
    def complete(self) -> bool:
        """Every position has its variable."""
        return None not in self.indices


class _Block(NamedTuple):
    """Variables of one layer: their indices and shapes."""

    indices: tuple[int, ...]
    shapes: tuple[Shape, ...]


def place(shapes: Sequence[Shape], candidates: Sequence[Trained]) -> Placement:
    """Gives each shape its variable.

    Args:
        shapes: Shapes of the trained variables as their slots show them, in the optimizer's order.
        candidates: The model's variables, in the model's order; those of one layer share the front of their path.
    """
    known = [each.shape for each in candidates]
    if list(shapes) == known:
        return Placement(tuple(range(len(known))), "order")
    blocks = _blocks(candidates)
    in_order = agreed(_selections(shapes, blocks), len(shapes))
    if in_order is not None and None not in in_order:
        return Placement(in_order, "order")
    attached = attach(shapes, known)
    if attached is not None:
        return Placement(tuple(attached), "order")
    if in_order is not None:
        return Placement(in_order, "order")
    anyhow = agreed(_arrangements(shapes, blocks), len(shapes))
    if anyhow is not None:
        return Placement(anyhow, "shape")
    if list(shapes) == known[::-1]:
        return Placement(tuple(reversed(range(len(known)))), "shape")
    return Placement(tuple(unique_by_shape(shapes, known)), "shape")


def _blocks(candidates: Sequence[Trained]) -> list[_Block]:
    return [_Block(run, tuple(candidates[index].shape for index in run)) for run in layer_runs(candidates)]


def _selections(shapes: Sequence[Shape], blocks: Sequence[_Block]) -> Iterator[tuple[int, ...] | None]:
    """Every way to leave out blocks so that the rest, in order, has these shapes; None when it takes too long."""
    steps = 0
    # (blocks seen, shapes matched, what was chosen)
    pending: list[tuple[int, int, Chain]] = [(0, 0, None)]
    while pending:
        steps += 1
        if steps > MOST_STEPS:
            yield None
            return
        at, matched, taken = pending.pop()
        if at == len(blocks):
            if matched == len(shapes):
                yield chosen(taken)
            continue
        block = blocks[at]
        pending.append((at + 1, matched, taken))
        if tuple(shapes[matched : matched + len(block.shapes)]) == block.shapes:
            pending.append((at + 1, matched + len(block.shapes), (taken, block.indices)))


def _arrangements(shapes: Sequence[Shape], blocks: Sequence[_Block]) -> Iterator[tuple[int, ...] | None]:
    """Every way to put blocks in a row, each at most once, with these shapes; None when it takes too long."""
    steps = 0
    # (shapes matched, what was chosen, which blocks those are, bit by bit)
    pending: list[tuple[int, Chain, int]] = [(0, None, 0)]
    while pending:
        matched, taken, used = pending.pop()
        if matched == len(shapes):
            yield chosen(taken)
            continue
        for number in reversed(range(len(blocks))):
            steps += 1
            if steps > MOST_STEPS:
                yield None
                return
            block = blocks[number]
            if used >> number & 1 or tuple(shapes[matched : matched + len(block.shapes)]) != block.shapes:
                continue
            pending.append((matched + len(block.shapes), (taken, block.indices), used | 1 << number))
