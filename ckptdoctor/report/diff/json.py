"""The JSON document of `diff`: schema `ckptdoctor.diff/1`, described by `diff.schema.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ckptdoctor import __version__
from ckptdoctor.comparison.results import (
    Artifact,
    Comparison,
    Figures,
    Item,
    OptimizerComparison,
    Place,
    SlotResult,
    WeightResult,
)
from ckptdoctor.errors import CkptDoctorError
from ckptdoctor.report.diff.facts import verdict
from ckptdoctor.report.inspect.json import plain

SCHEMA = "ckptdoctor.diff/1"


def render(found: Comparison) -> str:
    """The document, ending in a newline; ASCII only."""
    return _document({
        "verdict": found.verdict.value,
        "summary": verdict(found),
        "error": None,
        "values": found.values,
        "tolerance": {"rtol": found.rtol, "atol": found.atol},
        "a": _artifact(found.a),
        "b": _artifact(found.b),
        "optimizers": [_optimizer(each) for each in found.optimizers],
        "weights": {
            "verdict": found.weights.verdict.value,
            "counted": found.weights.counted,
            "total": found.weights.total,
            "variables": [_weight(each) for each in found.weights.results],
        },
    })  # fmt: skip


def render_failure(
    paths: Sequence[str], errors: Sequence[CkptDoctorError | None], failure: CkptDoctorError | None
) -> str:
    """The document of a comparison that did not come about: no verdict, and the reason."""
    sides = [
        {
            "path": path,
            "resolved": None,
            "format": None,
            "producer": None,
            "optimizer_state": None,
            "error": None if error is None else str(error),
        }
        for path, error in zip(paths, errors, strict=True)
    ]
    reasons = [str(each) for each in (failure, *errors) if each is not None]
    return _document({
        "verdict": None,
        "summary": None,
        "error": reasons[0],
        "values": None,
        "tolerance": None,
        "a": sides[0],
        "b": sides[1],
        "optimizers": [],
        "weights": None,
    })  # fmt: skip


def _document(body: dict[str, Any]) -> str:
    return json.dumps({"schema": SCHEMA, "version": __version__, **body}, allow_nan=False) + "\n"


def _artifact(side: Artifact) -> dict[str, Any]:
    return {
        "path": side.path,
        "resolved": side.resolved,
        "format": side.format.value,
        "producer": {"framework": side.producer.framework, "version": side.producer.version},
        "optimizer_state": side.state,
        "error": None,
    }


def _optimizer(optimizer: OptimizerComparison) -> dict[str, Any]:
    return {
        "a": optimizer.name_a,
        "b": optimizer.name_b,
        "verdict": optimizer.verdict.value,
        "items": [_item(each) for each in optimizer.items],
        "slots": [_slot(each) for each in optimizer.slots],
        "notes": list(optimizer.notes),
    }


def _item(item: Item) -> dict[str, Any]:
    return {
        "layer": item.layer.value,
        "name": item.name,
        "a": plain(item.a),
        "b": plain(item.b),
        "outcome": item.outcome.value,
        "detail": item.detail or None,
    }


def _slot(slot: SlotResult) -> dict[str, Any]:
    return {
        "role": slot.role.value,
        "a": _place(slot.a),
        "b": _place(slot.b),
        "outcome": slot.outcome.value,
        "matched": slot.matched,
        "translation": slot.translation or None,
        "figures": _figures(slot.figures),
        "detail": slot.detail or None,
    }


def _weight(weight: WeightResult) -> dict[str, Any]:
    return {
        "a": _place(weight.a),
        "b": _place(weight.b),
        "outcome": weight.outcome.value,
        "matched": weight.matched,
        "figures": _figures(weight.figures),
        "detail": weight.detail or None,
    }


def _place(place: Place | None) -> dict[str, Any] | None:
    if place is None:
        return None
    return {
        "name": place.name,
        "variable": place.variable,
        "key": place.key,
        "shape": list(place.shape),
        "dtype": place.dtype,
    }


def _figures(figures: Figures | None) -> dict[str, Any] | None:
    if figures is None:
        return None
    return {
        "elements": figures.elements,
        "differing": figures.differing,
        "max_absolute": plain(figures.max_absolute),
        "max_relative": plain(figures.max_relative),
    }
