"""The JSON document of `verify`: schema `ckptdoctor.verify/1`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ckptdoctor import __version__
from ckptdoctor.report.inspect.json import plain
from ckptdoctor.verification.results import Attempt, OptimizerResult, Restored, SlotResult, Verification

SCHEMA = "ckptdoctor.verify/1"


def render(verifications: Iterable[Verification]) -> str:
    """The document, ending in a newline; ASCII only."""
    document = {
        "schema": SCHEMA,
        "version": __version__,
        "artifacts": [artifact(each) for each in verifications],
    }
    return json.dumps(document, allow_nan=False) + "\n"


def artifact(verification: Verification) -> dict[str, Any]:
    """One artifact of the document."""
    return {
        "path": verification.path,
        "format": verification.format.value,
        "ok": verification.ok,
        "restorable": verification.restorable,
        "framework": {"name": verification.framework, "version": verification.version},
        "call": verification.call,
        "attempts": [_attempt(each) for each in verification.attempts],
        "advice": list(verification.advice),
        "notes": list(verification.notes),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "key": attempt.key,
        "call": attempt.call,
        "ok": attempt.ok,
        "error": attempt.error,
        "warnings": list(attempt.warnings),
        "optimizers": [_optimizer(each) for each in attempt.optimizers],
    }


def _optimizer(optimizer: OptimizerResult) -> dict[str, Any]:
    return {
        "name": optimizer.name,
        "class": optimizer.class_name,
        "ok": optimizer.ok,
        "iterations": _number(optimizer.iterations),
        "learning_rate": _number(optimizer.learning_rate),
        "slots": [_slot(each) for each in optimizer.slots],
        "counts": [_slot(each) for each in optimizer.counts],
        "schedulers": [
            {"name": each.name, "class": each.class_name, "last_epoch": _number(each.last_epoch)}
            for each in optimizer.schedulers
        ],
    }


def _slot(slot: SlotResult) -> dict[str, Any]:
    return {
        "name": slot.name,
        "role": slot.role.value,
        "variable": slot.variable,
        "outcome": slot.outcome.value,
        "max_difference": plain(slot.max_difference),
        "detail": slot.detail or None,
    }


def _number(number: Restored) -> dict[str, Any]:
    return {
        "expected": plain(number.expected),
        "found": plain(number.found),
        "outcome": number.outcome.value,
    }
