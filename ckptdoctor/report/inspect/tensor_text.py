"""The table of all tensors on a terminal: a line each where they fit, else the name on a line of its own."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ckptdoctor.report.inspect.tensor_rows import figure_columns, tensor_rows
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.report.shared.facts import brief, shape_text
from ckptdoctor.report.shared.folding import listed, name_rows

if TYPE_CHECKING:
    from ckptdoctor.examination import Examination
    from ckptdoctor.state import TrainingState

_MARGIN, _GAP = 2, 2
_NAME = 32
"""Columns in which names that are longer are still readable when they break at their slashes."""
_BATCH = 500


class _Row(NamedTuple):
    """A tensor: its name, its type and figures, its key if that is another name and asked for."""

    name: str
    cells: tuple[str, ...]
    key: str


def print_tensors(console: Console, each: "Examination", state: "TrainingState", *, keys: bool, stats: bool) -> None:
    """Prints the table.

    Args:
        console: Where to.
        each: The artifact.
        state: What it holds.
        keys: Say under which key each tensor is stored.
        stats: With figures.
    """
    figures = figure_columns(each.statistics.values()) if stats else ()
    rows = []
    for row in tensor_rows(state):
        found = each.statistics.get(row.tensor) if stats else None
        kind = f"{row.tensor.dtype or 'not stored'} {shape_text(row.tensor.shape)}"
        cells = (kind, *(brief(getattr(found, column, None)) for column in figures))
        rows.append(_Row(printable(row.name), cells, printable(row.key) if keys else ""))
    lines = _lines(rows, ("type", *figures), console.width - _MARGIN)
    console.print()
    while batch := list(islice(lines, _BATCH)):
        margin = (" " * _MARGIN, "")
        console.print(Text("\n").join(Text.assemble(margin, *line) for line in batch), soft_wrap=True)


_Line: TypeAlias = list[tuple[str, str]]
"""A line: texts and their styles."""


def _lines(rows: Sequence[_Row], heads: tuple[str, ...], width: int) -> Iterator[_Line]:
    widths = [max(map(len, column)) for column in zip(heads, *(row.cells for row in rows), strict=True)]
    names = max(cell_len(name) for name in ("tensor", *(row.name for row in rows)))
    room = width - sum(widths) - _GAP * len(widths)
    if names <= room or room >= _NAME:
        return _beside(rows, heads, widths, min(names, room), width)
    return _below(rows, heads, widths, width)


def _beside(
    rows: Sequence[_Row], heads: tuple[str, ...], widths: Sequence[int], names: int, width: int
) -> Iterator[_Line]:
    """Figures beside the name, and the key behind them if there is room for every one, else below."""
    taken = names + sum(widths) + _GAP * len(widths)
    keys = max((cell_len(row.key) for row in rows), default=0)
    behind = 0 < keys <= width - taken - _GAP
    gap = " " * _GAP
    yield [(f"{_padded('tensor', names)}{gap}{_aligned(heads, widths)}{f'{gap}key' if behind else ''}", "dim")]
    for name, cells, key in rows:
        first, *rest = name_rows(name, names)
        yield [
            (f"{_padded(first, names)}{gap}{_aligned(cells, widths)}", ""),
            (f"{gap}{key}" if behind else "", "dim"),
        ]
        yield from ([(row, "")] for row in rest)
        if not behind:
            yield from _key(key, width)


def _below(rows: Sequence[_Row], heads: tuple[str, ...], widths: Sequence[int], width: int) -> Iterator[_Line]:
    """Each name on a line of its own, the figures under it; without columns if even they do not fit."""
    indent = " " * _GAP
    fits = _GAP + sum(widths) + _GAP * (len(widths) - 1) <= width
    yield [("tensor", "dim")]
    if fits:
        yield [(indent + _aligned(heads, widths), "dim")]
    for name, cells, key in rows:
        yield from ([(row, "")] for row in name_rows(name, width))
        if fits:
            yield [(indent + _aligned(cells, widths), "")]
        else:
            said = [cells[0], *(f"{head} {cell}" for head, cell in zip(heads[1:], cells[1:], strict=True) if cell)]
            yield from ([(indent + row, "")] for row in listed(said, width - _GAP))
        yield from _key(key, width)


def _key(key: str, width: int) -> Iterator[_Line]:
    if key:
        yield from ([(" " * _GAP + row, "dim")] for row in name_rows(key, width - _GAP))


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    """The type from the left, figures from the right."""
    figures = (f"{cell:>{width}}" for cell, width in zip(cells[1:], widths[1:], strict=True))
    return (" " * _GAP).join((f"{cells[0]:{widths[0]}}", *figures))


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
