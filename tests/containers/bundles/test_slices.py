"""Partitioned variables: slices that do not add up, cross each other, or are empty."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.bundles import split, write_bundle, zeros

from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.containers.bundles.slices import assemble
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.tables.ordered_code import Extent
from ckptdoctor.containers.tables.wire import CorruptBytes
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import Inline


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((((0, 2), (0, 2)),), "its slices hold 4 of 8 elements"),
        ((((0, 2), (0, 2)), ((1, 2), (0, 2)), ((2, 2), (0, 2))), "its slices hold 12 of 8 elements"),
        ((((0, 2), (0, 2)), ((1, 2), (0, 2))), r"the slices at \[0, 0\] and \[1, 0\] overlap"),
        ((((0, 4), (0, 1)), ((2, 2), (0, 2))), r"the slices at \[0, 0\] and \[2, 0\] overlap"),
    ],
    ids=["gap", "overlap", "overlap and gap", "overlap of two axes"],
)
def test_slices_that_do_not_add_up(tmp_path: Path, parts: Any, message: str) -> None:
    """Slices that leave a gap or overlap are an error that names the variable."""
    prefix = write_bundle(tmp_path / "p", {"v": zeros((4, 2))._replace(parts=parts)})
    with pytest.raises(UnreadableArtifact, match=rf"p\.index: 'v' is partitioned, but {message}"):
        read_bundle(prefix)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([2, 2], r"a slice of \[2, 2\] at \[2, 0\] lies outside of \[2, 2\]"),
        ([8], "a slice has 2 dimensions instead of 1"),
        ([4, 3], r"the slice at \[0, 0\] has 16 bytes instead of 24"),
        ([1 << 40, 2], "its slices hold 8 of 2,199,023,255,552 elements"),
    ],
)
def test_slices_of_another_shape(tmp_path: Path, shape: list[int], message: str) -> None:
    """Slices that do not fit their variable's shape are an error that says which."""
    tensor = zeros((4, 2))._replace(parts=split((4, 2), (2, 2)))
    other = pb.TensorShape(dim=[pb.TensorShape.Dim(size=each) for each in shape])
    prefix = write_bundle(tmp_path / "p", {"v": tensor}, edit=lambda index: index.entries[b"v"].shape.CopyFrom(other))
    with pytest.raises(UnreadableArtifact, match=message):
        read_bundle(prefix)


def _crossing(columns: int) -> tuple[tuple[Extent, ...], ...]:
    """Slices that tile a matrix: each column is cut in three at another height, so that most overlap in rows."""
    rows = 2 * columns
    return tuple(
        ((start, end - start), (column, 1))
        for column in range(columns)
        for start, end in pairwise((0, column + 1, column + columns, rows))
    )


def test_slices_across_each_other() -> None:
    """Finding out whether slices overlap takes time; what no partitioner would cut is refused before it is hours."""
    columns = 1000
    parts = [(extents, Inline(b"")) for extents in _crossing(columns)]
    with pytest.raises(CorruptBytes, match="its 3,000 slices lie across each other"):
        assemble((2 * columns, columns), parts, 4)
    few = [(extents, Inline(b"")) for extents in _crossing(20)]
    assert len(assemble((40, 20), few, 4).parts) == 60


def test_empty_slices_are_held_against_nothing() -> None:
    """Thousands of slices without elements lie over each other, and do no harm."""
    parts = [(((number, 40_000 - number), (0, 0)), Inline(b"")) for number in range(20_000)]
    with pytest.raises(CorruptBytes, match="its slices hold 0 of 280,000 elements"):
        assemble((40_000, 7), parts, 4)
