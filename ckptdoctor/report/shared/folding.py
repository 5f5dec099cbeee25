"""Where lines may break: between settings, not within one; after the slashes of a name; never within a command."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, chop_cells
from rich.console import Console

from ckptdoctor.report.shared.facts import hint_parts

_NARROW = 20
"""Columns that text has at least, however narrow the terminal is."""


def room(console: Console, taken: int) -> int:
    """Columns that are left beside what is taken."""
    return max(console.width - taken, _NARROW)


def words(text: str, width: int, *, fold: bool = True) -> list[str]:
    """Text broken at blanks; a word that is too long is folded, or left whole to overflow."""
    rows: list[str] = []
    for word in text.split(" "):
        if rows and cell_len(rows[-1]) + 1 + cell_len(word) <= width:
            rows[-1] += f" {word}"
        elif fold and cell_len(word) > width:
            rows += chop_cells(word, width)
        else:
            rows.append(word)
    return rows


def listed(parts: Sequence[str], width: int) -> list[str]:
    """Parts with commas between them, each on one line if it can be."""
    rows: list[str] = []
    for number, part in enumerate(parts):
        text = part if number == len(parts) - 1 else f"{part},"
        if rows and cell_len(rows[-1]) + 1 + cell_len(text) <= width:
            rows[-1] += f" {text}"
        else:
            rows += words(text, width)
    return rows


def name_rows(name: str, width: int, indent: int = 2) -> list[str]:
    """A name broken after its slashes, rows after the first indented; a part that is too long is folded."""
    rows: list[str] = []
    row = ""
    for part in name.replace("/", "/\n").split("\n"):
        if row.strip() and cell_len(row) + cell_len(part) > width:  # what follows a slash begins a row
            rows.append(row)
            row = " " * indent
        if cell_len(row) + cell_len(part) <= width:
            row += part
            continue
        head = chop_cells(part, max(width - len(row), 2))[0]
        tail = chop_cells(part[len(head) :], max(width - indent, 2))
        rows += [row + head, *(" " * indent + piece for piece in tail[:-1])]
        row = " " * indent + (tail[-1] if tail else "")
    return [*rows, row] if row.strip() or not rows else rows


def hint_rows(hint: str, width: int) -> list[str]:
    """A hint; a command that does not fit beside the rest has a line of its own, whole, so that it can be copied."""
    if cell_len(hint) <= width:
        return [hint]
    before, command, after = hint_parts(hint)
    if not command:
        return words(hint, width, fold=False)
    rows = words(before.rstrip(), width, fold=False) if before else []
    after = after.lstrip("; ")
    return [*rows, command, *(words(after, width, fold=False) if after else [])]
