"""`history` as a page: for each run which checkpoint to resume from, its course, then a line a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptdoctor.report.history.facts import MARK, Shown, columns, headline, left_out, remarks
from ckptdoctor.report.pages import page as parts
from ckptdoctor.report.pages.pictures import Line, lines
from ckptdoctor.timeline.results import History, Run


def render(found: Iterable[History], shown: Shown) -> str:
    """The page."""
    return parts.page("ckptdoctor history", (part for each in found for run in each.runs for part in _run(run, shown)))


def _run(run: Run, shown: Shown) -> Iterator[str]:
    yield f"<h2>{parts.text(run.path)}</h2>"
    yield f'<p class="{"good" if run.resume is not None else "bad"}">{parts.text(headline(run))}</p>'
    told = remarks(run)
    if told:
        yield parts.facts(told)
    yield from _course(run)
    table = columns(run, shown)
    rows = list(zip(*(each.cells for each in table), strict=True))
    right = [number for number, each in enumerate(table) if each.right]
    chosen = [number for number, cells in enumerate(rows) if cells[0] == MARK]
    yield parts.table([each.name for each in table], rows, right=right, chosen=chosen)
    more = left_out(run, shown)
    if more:
        yield f'<p class="dim">{parts.text(more)}</p>'


def _course(run: Run) -> Iterator[str]:
    """The learning rate, and the metric, by the count."""
    counted = [(float(each.iterations), each) for each in run.checkpoints if each.iterations is not None]
    rates = tuple((at, each.learning_rate) for at, each in counted if each.learning_rate is not None)
    yield lines("learning rate by iteration", "iterations", [Line("learning rate", rates)])
    metrics = tuple((at, each.metric.value) for at, each in counted if each.metric is not None)
    name = next((each.metric.name for _, each in counted if each.metric is not None), "")
    yield lines(f"{name or 'metric'} by iteration", "iterations", [Line(name or "metric", metrics)])
