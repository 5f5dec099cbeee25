"""The catalogue laid over lists of shapes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptdoctor.optimizers.catalogue import LAYOUTS, Layout, SlotKind, layouts
from ckptdoctor.optimizers.keras.config import Settings, every_setting
from ckptdoctor.optimizers.lists.alone import fit_alone
from ckptdoctor.optimizers.lists.layout import (
    LEARNING_RATE,
    Item,
    Trained,
    expand,
    fit,
    predicts,
    relevant_flags,
)
from ckptdoctor.optimizers.lists.orders import attach, unique_by_shape
from ckptdoctor.state import Generation

V2, K2, K3 = Generation.OPTIMIZER_V2, Generation.KERAS2, Generation.KERAS3
DENSE = (Trained("h/kernel", (3, 4)), Trained("h/bias", (4,)), Trained("o/kernel", (4, 2)), Trained("o/bias", (2,)))


def names(layout: Layout, settings: Settings | None = None) -> list[str]:
    """`slot:variable` or the scalar's name, for each element that a layout predicts."""
    return [
        f"{one.kind.name}:{DENSE[one.variable].path}" if one.variable is not None else one.kind.name
        for one in expand(layout, DENSE[:2], settings or Settings())
    ]


@pytest.mark.parametrize(
    ("generation", "flags", "expected"),
    [
        (V2, (), ["iteration", "m:h/kernel", "m:h/bias", "v:h/kernel", "v:h/bias"]),
        (K2, (), ["iteration", "m:h/kernel", "v:h/kernel", "m:h/bias", "v:h/bias"]),
        (K3, ("schedule",), ["iteration", "momentum:h/kernel", "velocity:h/kernel", "momentum:h/bias",
                             "velocity:h/bias"]),
        (K2, ("use_ema",), ["iteration", "average:h/kernel", "average:h/bias", "m:h/kernel", "v:h/kernel", "m:h/bias",
                            "v:h/bias"]),
    ],
)  # fmt: skip
def test_adam_of_each_generation(generation: Generation, flags: tuple[str, ...], expected: list[str]) -> None:
    """OptimizerV2 groups by slot, the later ones alternate; averages come first; schedules replace the rate."""
    assert names(layouts("Adam", generation)[0], Settings(frozenset(flags))) == expected


@pytest.mark.parametrize(
    "layout", LAYOUTS, ids=lambda each: f"{each.generation.value}-{each.class_name}-{each.versions}"
)
def test_what_a_layout_predicts_is_read_as_that_layout(layout: Layout) -> None:
    """Each class, under each setting, is found again in the list that it writes."""
    for settings in every_setting(relevant_flags(layout)):
        items = [Item(one.shape) for one in expand(layout, DENSE, settings)]
        found = fit(items, [layout], DENSE, settings)
        assert found is not None
        assert [one.shape for one in found.assigned] == [item.shape for item in items]
        alone = fit_alone(items, [layout], settings)
        # Irregular blocks behind others are not solved without the variables.
        solvable = layout.class_name not in {"Adafactor", "Muon"} or settings.flags <= {"schedule"}
        if solvable and any(isinstance(one.kind, SlotKind) for one in found.assigned):
            assert any(one.trained == tuple(each.shape for each in DENSE) for one in alone)


def test_records_that_lie_are_overruled_by_the_list() -> None:
    """A configuration without amsgrad does not hide the slots that are there."""
    layout = layouts("Adam", V2)[0]
    items = [Item(one.shape) for one in expand(layout, DENSE, Settings(frozenset({"amsgrad"})))]
    found = fit(items, [layout], DENSE, Settings())
    assert found is not None
    assert found.settings.flags == {"amsgrad"}


def test_a_learning_rate_is_no_whole_number() -> None:
    """A second count is not taken for Keras 3's learning rate."""
    items = [Item((), integral=True), Item((), integral=True)]
    found = fit(items, layouts("SGD", K3), (), Settings())
    assert found is None or all(one.kind is not LEARNING_RATE for one in found.assigned)


def test_gaps_fit_anything_and_nothing_else() -> None:
    """Elements that are lost fit any prediction; the others must stand where they are predicted."""
    layout = layouts("Adam", K3)[0]
    shapes = [one.shape for one in expand(layout, DENSE, Settings())]
    gaps = [None if index % 3 == 0 else shape for index, shape in enumerate(shapes)]
    assert predicts(layout, DENSE, Settings(), gaps) is not None
    assert predicts(layout, DENSE, Settings(), [*gaps, None]) is None
    assert predicts(layout, DENSE, Settings(), gaps[:-1]) is None
    gaps[2] = (9, 9)
    assert predicts(layout, DENSE, Settings(), gaps) is None


def test_muon_keeps_velocities_for_what_adam_trains() -> None:
    """Only the variables that are no matrices, or that the configuration excludes, have a velocity."""
    layout = layouts("Muon", K3)[0]
    slots = [(one.kind.name, one.variable) for one in expand(layout, DENSE, Settings(exclude_layers=("^o/",)))][2:]
    assert slots == [
        ("momentum", 0), ("momentum", 1), ("velocity", 1), ("momentum", 2), ("velocity", 2), ("momentum", 3),
        ("velocity", 3),
    ]  # fmt: skip


shapes_lists = st.lists(st.sampled_from([(2,), (3,), (2, 3), (3, 2)]), max_size=6)


@given(candidates=shapes_lists, data=st.data())
def test_attach_answers_only_what_is_certain(candidates: list[tuple[int, ...]], data: st.DataObject) -> None:
    """Whatever is attached has the right shape, in order, and no other attachment in order exists."""
    kept = data.draw(st.lists(st.booleans(), min_size=len(candidates), max_size=len(candidates)))
    chosen = [index for index, keep in enumerate(kept) if keep]
    answer = attach([candidates[index] for index in chosen], candidates)
    assert answer is None or answer == chosen


@given(shapes=shapes_lists, candidates=shapes_lists)
def test_unique_shapes_are_matched_and_no_others(
    shapes: list[tuple[int, ...]], candidates: list[tuple[int, ...]]
) -> None:
    """A shape that occurs once on both sides is given its variable, any other none."""
    for shape, index in zip(shapes, unique_by_shape(shapes, candidates), strict=True):
        certain = shapes.count(shape) == 1 and candidates.count(shape) == 1
        assert (index is not None) == certain
        assert index is None or candidates[index] == shape
