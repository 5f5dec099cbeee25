"""Partitioned variables, put together from the slices that they are stored in."""

from __future__ import annotations

from collections.abc import Sequence

from ckptdoctor.containers.tables.ordered_code import Extent
from ckptdoctor.containers.tables.wire import CorruptBytes
from ckptdoctor.references import FileRange, Inline, Piece, Pieces
from ckptdoctor.words import counted

MAX_COMPARISONS = 250_000
"""Pairs of slices that are held against each other; a variable in a thousand slices along one dimension takes none."""


def assemble(
    shape: tuple[int, ...], parts: Sequence[tuple[tuple[Extent, ...], FileRange | Inline]], itemsize: int | None
) -> Pieces:
    """Puts the slices of a partitioned variable together.

    Args:
        shape: Of the whole variable.
        parts: Extents and location of each slice.
        itemsize: Bytes an element; None if the type has no fixed size.

    Raises:
        CorruptBytes: A slice does not fit the shape, or they do not add up to it.
    """
    pieces: list[Piece] = []
    covered = 0
    for stored, location in parts:
        extents = stored or tuple((0, -1) for _ in shape)
        if len(extents) != len(shape):
            raise CorruptBytes(f"a slice has {len(extents)} dimensions instead of {len(shape)}")
        start = tuple(begin if length != -1 else 0 for begin, length in extents)
        size = tuple(length if length != -1 else whole for (_, length), whole in zip(extents, shape, strict=True))
        count = 1
        for begin, length, whole in zip(start, size, shape, strict=True):
            if begin < 0 or length < 0 or begin + length > whole:
                raise CorruptBytes(f"a slice of {list(size)} at {list(start)} lies outside of {list(shape)}")
            count *= length
        if itemsize is not None and isinstance(location, FileRange) and location.nbytes != count * itemsize:
            raise CorruptBytes(
                f"the slice at {list(start)} has {location.nbytes:,} bytes instead of {count * itemsize:,}"
            )
        covered += count
        pieces.append(Piece(start, size, location))
    total = 1
    for extent in shape:
        total *= extent
    if covered != total:
        raise CorruptBytes(f"its slices hold {covered:,} of {counted(total, 'element')}")
    _require_apart(pieces)
    return Pieces(tuple(sorted(pieces)))


def _require_apart(pieces: Sequence[Piece]) -> None:
    """Raises CorruptBytes where slices overlap: as many elements as the whole are then not the whole."""
    pieces = [piece for piece in pieces if 0 not in piece.shape]
    if len(pieces) < 2 or not pieces[0].shape:
        return
    axis = max(range(len(pieces[0].shape)), key=lambda each: len({piece.start[each] for piece in pieces}))
    ordered = sorted(pieces, key=lambda piece: piece.start[axis])
    compared = 0
    for number, one in enumerate(ordered):
        end = one.start[axis] + one.shape[axis]
        for following in range(number + 1, len(ordered)):
            other = ordered[following]
            if other.start[axis] >= end:
                break
            compared += 1
            if compared > MAX_COMPARISONS:
                raise CorruptBytes(f"its {len(pieces):,} slices lie across each other as no partitioner cuts them")
            if all(
                a < b + m and b < a + n
                for a, n, b, m in zip(one.start, one.shape, other.start, other.shape, strict=True)
            ):
                raise CorruptBytes(f"the slices at {list(one.start)} and {list(other.start)} overlap")
