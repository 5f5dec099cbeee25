"""Slots given to variables by their shapes, when the model's order does not settle it."""

from __future__ import annotations

import pytest

from ckptdoctor.optimizers.lists.layout import Trained
from ckptdoctor.optimizers.lists.placement import place


def layers(**shapes: tuple[tuple[int, ...], ...]) -> list[Trained]:
    """Variables `layer/0`, `layer/1` … of each layer."""
    return [Trained(f"{name}/{index}", shape) for name, each in shapes.items() for index, shape in enumerate(each)]


MODEL = layers(a=((3, 4), (4,)), b=((4, 4), (4,)), c=((4, 2), (2,)))
SHAPES = [each.shape for each in MODEL]


@pytest.mark.parametrize(
    ("kept", "mapping"),
    [
        ([0, 1, 2, 3, 4, 5], "order"),
        ([0, 1, 4, 5], "order"),  # the middle layer is frozen: (4,) alone would be ambiguous, its layer is not
        ([2, 3], "order"),
        ([4, 5, 0, 1, 2, 3], "shape"),  # a subclassed model, whose order the file does not tell
        ([5, 4, 3, 2, 1, 0], "shape"),  # gradients applied in reverse
        ([], "order"),
    ],
)
def test_places_what_has_one_answer(kept: list[int], mapping: str) -> None:
    """Frozen layers, shuffled layers and reversed gradients are placed where the shapes allow one answer."""
    placed = place([SHAPES[index] for index in kept], MODEL)
    assert placed.indices == tuple(kept)
    assert placed.mapping == mapping
    assert placed.complete


def test_leaves_open_what_has_several_answers() -> None:
    """One of two equal layers is frozen: which one cannot be told, and is not guessed."""
    twins = layers(a=((3, 3),), b=((3, 3),), c=((3, 2),))
    placed = place([(3, 3), (3, 2)], twins)
    assert placed.indices == (None, 2)
    assert not placed.complete


def test_says_none_for_shapes_that_the_model_lacks() -> None:
    """Slots of variables that are not in the artifact belong to none of those that are."""
    assert place([(9, 9), (4, 2)], MODEL).indices == (None, 4)


def test_gives_up_on_many_equal_layers_in_time() -> None:
    """Hundreds of equal layers, half of them frozen, end in an answer without a guess."""
    many = [Trained(f"l{index}/kernel", (2, 2)) for index in range(300)]
    placed = place([(2, 2)] * 150, many)
    assert placed.indices == (None,) * 150
