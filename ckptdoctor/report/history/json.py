"""The JSON document of `history`: schema `ckptdoctor.history/1`, described by `history.schema.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from ckptdoctor import __version__
from ckptdoctor.errors import CkptDoctorError
from ckptdoctor.logged import Metric
from ckptdoctor.report.history.facts import Shown, is_chosen
from ckptdoctor.report.inspect.json import plain
from ckptdoctor.state import Status
from ckptdoctor.timeline.ordering import lines
from ckptdoctor.timeline.results import Checkpoint, History, Objection, Run

SCHEMA = "ckptdoctor.history/1"


def render(found: Iterable[History | tuple[str, CkptDoctorError]], shown: Shown) -> str:
    """The document, ending in a newline; ASCII only.

    Args:
        found: The history of each directory, or its path and why there is none.
        shown: Which lines, and in what order.
    """
    document = {
        "schema": SCHEMA,
        "version": __version__,
        "directories": [_directory(each, shown) for each in found],
    }
    return json.dumps(document, allow_nan=False) + "\n"


def _directory(found: History | tuple[str, CkptDoctorError], shown: Shown) -> dict[str, Any]:
    if not isinstance(found, History):
        path, error = found
        return {"path": path, "deep": False, "runs": [], "error": str(error)}
    return {
        "path": found.path,
        "deep": found.deep,
        "runs": [_run(each, shown) for each in found.runs],
        "error": None,
    }


def _run(run: Run, shown: Shown) -> dict[str, Any]:
    return {
        "path": run.path,
        "resume": run.resume.path if run.resume is not None else None,
        "reason": run.reason,
        "passed_over": [{"name": each.name, **_objection(each.objection)} for each in run.passed_over],
        "notes": list(run.notes),
        "total": len(run.checkpoints),
        "checkpoints": [_checkpoint(each, run, shown) for each in lines(run, shown.sort, shown.limit)],
    }


def _objection(objection: Objection) -> dict[str, Any]:
    return {"code": objection.code or None, "message": objection.message}


def _checkpoint(each: Checkpoint, run: Run, shown: Shown) -> dict[str, Any]:
    seen = each.seen
    return {
        "path": each.path,
        "name": each.name,
        "resume": is_chosen(each, run),
        "format": seen.format.value,
        "status": seen.status.value,
        "complete": seen.is_complete,
        "weights": seen.weights if seen.status is not Status.UNREADABLE else None,
        "finite": seen.finite,
        "verdict": seen.verdict,
        "errors": [_objection(error) for error in seen.errors or ()],
        "count": each.iterations,
        "epoch": plain(each.epoch),
        "metric": _metric(each.metric),
        "learning_rate": plain(each.learning_rate),
        "size": each.size,
        "saved": datetime.fromtimestamp(each.saved, timezone.utc).isoformat(timespec="seconds"),
        "age": max(0, int(shown.now - each.saved)),
    }


def _metric(metric: Metric | None) -> dict[str, Any] | None:
    return None if metric is None else {"name": metric.name, "value": plain(metric.value), "source": metric.source}
