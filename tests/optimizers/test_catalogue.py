"""A new optimizer is one entry of the catalogue: everything that ranks, lists or infers classes knows it by that."""

from __future__ import annotations

import pytest

from ckptdoctor.optimizers import catalogue, inference
from ckptdoctor.optimizers.catalogue import CLASSES_BY_POPULARITY, LAYOUTS, Layout, Single
from ckptdoctor.state import Generation


@pytest.mark.parametrize("generation", Generation, ids=lambda generation: generation.value)
def test_the_classes_of_a_generation_are_those_with_a_layout(generation: Generation) -> None:
    """A class without a rank was silently left out."""
    known = {layout.class_name for layout in LAYOUTS if layout.generation is generation}
    assert set(catalogue.classes(generation)) == known


def test_every_class_has_one_rank_and_every_rank_a_class() -> None:
    """`index` of a class without a rank would be a ValueError."""
    assert sorted(CLASSES_BY_POPULARITY) == sorted({layout.class_name for layout in LAYOUTS})


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.class_name}-{layout.generation.value}")
def test_a_class_is_found_by_its_own_slots_and_by_its_name(layout: Layout) -> None:
    """Among others that fit as well, it is at least a candidate."""
    own = {block.attribute for block in layout.blocks if isinstance(block, Single)}
    scalars = own | inference.own_hypers(layout.class_name)
    found = inference.by_slots(layout.generation, {kind.name for kind in layout.kinds}, scalars=scalars)
    if layout.kinds:
        assert layout.class_name in {found.class_name, *found.candidates}
    assert inference.class_of_name(layout.class_name) == layout.class_name
