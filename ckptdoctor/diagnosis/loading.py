"""L: what the next step would be, and what a loader makes of the artifact."""

from __future__ import annotations

from collections.abc import Iterator

from ckptdoctor.diagnosis.evidence import Evidence, Rule
from ckptdoctor.diagnosis.findings import Severity


def _schedule_restarts(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for each in evidence.optimizers:
        schedule = each.schedule
        if schedule is None or schedule.learning_rate_if_lost is None or each.iterations is not None:
            continue
        if each.has_state or each.recorded:
            rate = f"{schedule.learning_rate_if_lost:.6g}"
            yield f"{schedule.class_name} would restart: the next learning rate would be {rate}, as at step 0", ""


RULES: tuple[Rule, ...] = (
    Rule(
        "L001",
        "schedule-restarts",
        Severity.ERROR,
        "the learning rate would be x instead of y, and Adam's bias correction would start over",
        _schedule_restarts,
    ),
)
