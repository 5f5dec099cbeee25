"""Wording and figures that every form of `history` shares: the cells of a line, the course of the learning rate."""

from math import isclose, isfinite
from typing import NamedTuple

from ckptdoctor.logged import Metric
from ckptdoctor.report.shared.facts import human_bytes
from ckptdoctor.report.shared.sparkline import sparkline
from ckptdoctor.state import Status
from ckptdoctor.timeline.ordering import lines
from ckptdoctor.timeline.results import Checkpoint, Objection, Run, Seen
from ckptdoctor.words import counted

_SAME = 1e-6
_PASSED_OVER = 8
_UNITS = ((86_400 * 365, "y"), (86_400, "d"), (3_600, "h"), (60, "min"))
COMPLETE = {
    Status.COMPLETE: "yes",
    Status.FRESH: "never stepped",
    Status.PARTIAL: "partial",
    Status.ABSENT: "weights only",
    Status.UNREADABLE: "unreadable",
}
MARK = "→"


class Shown(NamedTuple):
    """How the lines are chosen and put.

    Attributes:
        sort: By what; None for the order of training.
        limit: So many of each run.
        now: The time that ages are counted to.
    """

    now: float
    sort: str | None = None
    limit: int | None = None


class Column(NamedTuple):
    """A column of a run's table.

    Attributes:
        name: What stands above it.
        cells: A text each line.
        right: Whether it is numbers, which stand at the right.
    """

    name: str
    cells: tuple[str, ...]
    right: bool = True


def headline(run: Run) -> str:
    """Which one to resume from, and why; or that there is none."""
    if run.resume is None:
        return f"nothing to resume from: {run.reason}"
    return f"resume from {run.resume.name}: {run.reason}"


def remarks(run: Run) -> list[tuple[str, str]]:
    """What stands between headline and table, a label each."""
    found = [("passed over", f"{each.name}: {_why(each.objection)}") for each in run.passed_over[:_PASSED_OVER]]
    if len(run.passed_over) > _PASSED_OVER:
        found.append(("", f"and {counted(len(run.passed_over) - _PASSED_OVER, 'older one')}"))
    found += [("note", each) for each in run.notes]
    course = rates(run)
    if course:
        found.append(("rate", course))
    return found


def _why(objection: Objection) -> str:
    return f"{objection.code} {objection.message}" if objection.code else objection.message


def left_out(run: Run, shown: Shown) -> str:
    """How many lines are not shown; "" if all are."""
    number, total = len(lines(run, shown.sort, shown.limit)), len(run.checkpoints)
    return f"the last {number:,} of {counted(total, 'checkpoint')}" if number < total else ""


def columns(run: Run, shown: Shown) -> list[Column]:
    """The columns that say anything."""
    rows = lines(run, shown.sort, shown.limit)
    names = {each.metric.name for each in rows if each.metric is not None}
    metric = next(iter(names)) or "metric" if len(names) == 1 else "metric"
    found = [
        Column("", tuple(MARK if is_chosen(each, run) else "" for each in rows), right=False),
        Column("checkpoint", tuple(each.name for each in rows), right=False),
        Column("count", tuple("" if each.iterations is None else f"{each.iterations:,}" for each in rows)),
        Column("epoch", tuple("" if each.epoch is None else f"{each.epoch:.4g}" for each in rows)),
        Column(metric, tuple(_metric(each.metric, named=len(names) > 1) for each in rows)),
        Column("rate", tuple("" if each.learning_rate is None else f"{each.learning_rate:.3g}" for each in rows)),
        Column("complete", tuple(complete(each.seen) for each in rows), right=False),
        Column("finite", tuple(finite(each) for each in rows), right=False),
        Column("size", tuple(human_bytes(each.size) for each in rows)),
        Column("age", tuple(age(shown.now - each.saved) for each in rows)),
    ]
    return [each for number, each in enumerate(found) if any(each.cells) or number <= 1]


def _metric(metric: Metric | None, *, named: bool) -> str:
    if metric is None:
        return ""
    value = f"{metric.value:.5g}"
    return f"{metric.name} {value}" if named and metric.name else value


def is_chosen(each: Checkpoint, run: Run) -> bool:
    """Whether it is the one to resume from."""
    return run.resume is not None and each.path == run.resume.path


def complete(seen: Seen) -> str:
    """`yes`, or what it is instead."""
    if seen.status is Status.COMPLETE and seen.weights and seen.errors:
        return f"no: {seen.errors[0].code}"
    return COMPLETE[seen.status] if seen.weights or seen.status is not Status.COMPLETE else "no weights"


def finite(each: Checkpoint) -> str:
    """`yes`, `no`; "" where nobody looked."""
    return "" if each.seen.finite is None else "yes" if each.seen.finite else "no"


def age(seconds: float) -> str:
    """`5 min`, `3 h`, `12 d`: how long ago."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now" if seconds < 1 else f"{int(seconds)} s"


def rates(run: Run) -> str:
    """The course of the learning rate, in bars; "" where it is not known or stays the same."""
    found = [each.learning_rate for each in run.checkpoints if each.learning_rate is not None]
    found = [each for each in found if isfinite(each)]
    if len(found) < 2 or isclose(min(found), max(found), rel_tol=_SAME):  # noqa: PLR2004 - a course has two ends
        return ""
    return f"{sparkline(found)}  {found[0]:.3g} to {found[-1]:.3g}"
