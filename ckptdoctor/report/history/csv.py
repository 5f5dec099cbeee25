"""`history` as CSV: a line a checkpoint, of all runs, numbers as they are."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import datetime, timezone
from io import StringIO

from ckptdoctor.report.history.facts import Shown, complete, finite, is_chosen
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.timeline.ordering import lines
from ckptdoctor.timeline.results import History

COLUMNS = (
    "run", "checkpoint", "resume", "count", "epoch", "metric", "metric_value", "learning_rate", "complete", "finite",
    "size", "saved", "path",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes a text for a formula by."""


def render(found: Iterable[History], shown: Shown) -> str:
    """The table, its columns named in the first line."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for history in found:
        for run in history.runs:
            for each in lines(run, shown.sort, shown.limit):
                metric = each.metric
                writer.writerow([
                    _text(run.path),
                    _text(each.name),
                    "yes" if is_chosen(each, run) else "",
                    _number(each.iterations),
                    _number(each.epoch),
                    _text(metric.name or "") if metric is not None else "",
                    _number(metric.value if metric is not None else None),
                    _number(each.learning_rate),
                    complete(each.seen),
                    finite(each),
                    each.size,
                    datetime.fromtimestamp(each.saved, timezone.utc).isoformat(timespec="seconds"),
                    _text(each.path),
                ])  # fmt: skip
    return out.getvalue()


def _text(text: str) -> str:
    shown = printable(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)
