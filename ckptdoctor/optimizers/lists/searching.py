"""What searches for an optimizer's variables share (`placement`, `loose`): where they stop, what they answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TypeAlias

from ckptdoctor.optimizers.lists.layout import Trained

MOST_STEPS = 20_000
_MOST_ANSWERS = 64

Chain: TypeAlias = "tuple[Chain, tuple[int, ...]] | None"
"""Choices made so far, each pointing to the one before: branches share what they have in common."""


def chosen(chain: Chain) -> tuple[int, ...]:
    """The indices that were chosen, in order."""
    links: list[tuple[int, ...]] = []
    while chain is not None:
        chain, indices = chain
        links.append(indices)
    return tuple(index for link in reversed(links) for index in link)


def agreed(answers: Iterable[tuple[int, ...] | None], length: int) -> tuple[int | None, ...] | None:
    """What all answers say alike, None where they differ; None for everything if there are none or too many to see."""
    first: tuple[int, ...] | None = None
    same = [True] * length
    for number, answer in enumerate(answers):
        if answer is None or number >= _MOST_ANSWERS:
            return None
        first = first or answer
        same = [alike and one == other for alike, one, other in zip(same, first, answer, strict=True)]
    return None if first is None else tuple(v if alike else None for v, alike in zip(first, same, strict=True))


def layer_runs(candidates: Sequence[Trained]) -> list[tuple[int, ...]]:
    """Runs of variables with the same path but for the last component, by their indices."""
    layers = groupby(enumerate(candidates), key=lambda pair: pair[1].path.rpartition("/")[0])
    return [tuple(index for index, _ in run) for _, run in layers]
