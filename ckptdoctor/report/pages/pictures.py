"""Pictures in a page: lines and bars as SVG, each with a title and, beside it, the table that it was drawn from."""

from collections.abc import Sequence
from math import isfinite, log10
from typing import NamedTuple

from ckptdoctor.report.pages.page import table, text
from ckptdoctor.report.shared.facts import brief

_WIDTH, _HEIGHT = 640, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 10, 12, 28
_ROW, _LABEL = 18, 220
_MOST_BARS = 80
_MOST_ROWS = 40


class Line(NamedTuple):
    """A line of a picture.

    Attributes:
        name: What it is.
        points: Its points, from left to right.
    """

    name: str
    points: tuple[tuple[float, float], ...]


def lines(title: str, across: str, drawn: Sequence[Line]) -> str:
    """One or two lines over one axis; nothing where there are no two points.

    Args:
        title: What the picture shows, for those who do not see it too.
        across: What the horizontal axis is.
        drawn: The lines; the second one is dashed.
    """
    kept = [each._replace(points=tuple(p for p in each.points if isfinite(p[1]))) for each in drawn]
    kept = [each for each in kept if len(each.points) > 1]
    if not kept:
        return ""
    every = [point for each in kept for point in each.points]
    left, right = min(x for x, _ in every), max(x for x, _ in every)
    low, high = min(y for _, y in every), max(y for _, y in every)
    wide, tall = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> str:
        along = (x - left) / (right - left) if right > left else 0.5
        up = (y - low) / (high - low) if high > low else 0.5
        return f"{_LEFT + along * wide:.1f},{_TOP + (1 - up) * tall:.1f}"

    parts = [
        f'<line class="axis" x1="{_LEFT}" y1="{_TOP + tall}" x2="{_LEFT + wide}" y2="{_TOP + tall}"/>',
        f'<line class="axis" x1="{_LEFT}" y1="{_TOP}" x2="{_LEFT}" y2="{_TOP + tall}"/>',
        f'<text x="{_LEFT - 6}" y="{_TOP + 10}" text-anchor="end">{text(brief(high))}</text>',
        f'<text x="{_LEFT - 6}" y="{_TOP + tall}" text-anchor="end">{text(brief(low))}</text>',
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">{left:,.0f}</text>',
        f'<text x="{_LEFT + wide}" y="{_HEIGHT - 8}" text-anchor="end">{right:,.0f} {text(across)}</text>',
    ]
    for number, each in enumerate(kept):
        dashes = ' stroke-dasharray="6 4"' if number else ""
        points = " ".join(place(x, y) for x, y in each.points)
        kind = "other" if number else "one"
        parts.append(f'<polyline class="{kind}" fill="none" stroke-width="2"{dashes} points="{points}"/>')
    names = " · ".join(f"{'dashed' if number else 'solid'}: {each.name}" for number, each in enumerate(kept))
    shown = sorted({x for each in kept for x, _ in each.points})
    step = max(1, len(shown) // _MOST_ROWS)
    values = [dict(each.points) for each in kept]
    rows = [[f"{x:,.0f}", *(brief(each.get(x)) for each in values)] for x in shown[::step]]
    head = [across, *(each.name for each in kept)]
    return _figure(title, names, _HEIGHT, "".join(parts), table(head, rows, right=range(len(head))))


def bars(title: str, head: tuple[str, str], values: Sequence[tuple[str, float]], *, logarithmic: bool = False) -> str:
    """A bar a row; nothing where there are none.

    Args:
        title: What the picture shows.
        head: What the names and the values are.
        values: Name and value.
        logarithmic: Lengths go by the powers of ten, from the least value that is not 0 on.
    """
    if not values:
        return ""
    shown = values[:_MOST_BARS]
    length = _lengths([value for _, value in shown], logarithmic=logarithmic)
    wide = _WIDTH - _LABEL - 90
    parts = []
    for number, ((name, value), share) in enumerate(zip(shown, length, strict=True)):
        middle = number * _ROW + _ROW - 5
        parts.append(
            f'<text x="{_LABEL - 6}" y="{middle}" text-anchor="end">{text(_cut(name))}</text>'
            f'<rect class="bar" x="{_LABEL}" y="{middle - 10}" width="{max(1.0, share * wide):.1f}" height="11"/>'
            f'<text x="{_LABEL + max(1.0, share * wide) + 6:.1f}" y="{middle}">{text(brief(value))}</text>'
        )
    note = f"the first {_MOST_BARS:,} of {len(values):,}" if len(values) > _MOST_BARS else ""
    note = ", ".join(filter(None, [note, "lengths by powers of ten" if logarithmic else ""]))
    rows = [(name, brief(value)) for name, value in values[:1000]]
    return _figure(title, note, len(shown) * _ROW + 6, "".join(parts), table(head, rows, right=(1,)))


def _lengths(values: Sequence[float], *, logarithmic: bool) -> list[float]:
    if not logarithmic:
        most = max((abs(each) for each in values if isfinite(each)), default=0.0)
        return [abs(each) / most if most and isfinite(each) else 0.0 for each in values]
    powers = [log10(each) if isfinite(each) and each > 0 else None for each in values]
    known = [each for each in powers if each is not None]
    if not known:
        return [0.0] * len(values)
    low, high = min(known) - 0.5, max(known)
    return [0.0 if each is None else (each - low) / (high - low) for each in powers]


def _cut(name: str, most: int = 32) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _figure(title: str, note: str, height: int, drawing: str, beside: str) -> str:
    more = f'<span class="dim"> {text(note)}</span>' if note else ""
    return (
        f'<figure><figcaption>{text(title)}{more}</figcaption><svg role="img" viewBox="0 0 {_WIDTH} {height}">'
        f"<title>{text(title)}</title>{drawing}</svg>"
        f"<details><summary>as a table</summary>{beside}</details></figure>"
    )
