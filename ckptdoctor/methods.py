"""Methods of the vocabulary that rooms above it carry out: named here, loaded when somebody calls one.

The types of `references.py` and `state.py` are pure data, which readers and reports know, not the other way round. What
a notebook asks of such a value (its elements, a table, HTML) is theirs to answer; this one place says whose.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

CARRIED_OUT = {
    "place": "ckptdoctor.containers.bundles.entries:place",
    "elements": "ckptdoctor.report.notebook.arrays:elements",
    "rate": "ckptdoctor.optimizers.keras.schedules:at",
    "scheduled_rate": "ckptdoctor.optimizers.torch.schedules:at",
    "optimizer_text": "ckptdoctor.report.notebook.text:optimizer",
    "optimizer_html": "ckptdoctor.report.notebook.html:optimizer",
    "optimizer_frame": "ckptdoctor.report.notebook.frames:optimizer",
    "state_text": "ckptdoctor.report.notebook.text:state",
    "examination_text": "ckptdoctor.report.notebook.text:examination",
    "examination_html": "ckptdoctor.report.notebook.html:examination",
    "examination_frame": "ckptdoctor.report.notebook.frames:examination",
    "examination_document": "ckptdoctor.report.inspect.json:artifact",
}
"""What is asked → the module and the function that answer."""


def carry_out(asked: str, *arguments: Any, **options: Any) -> Any:
    """What the function for it answers."""
    return _function(asked)(*arguments, **options)


@cache
def _function(asked: str) -> Callable[..., Any]:
    module, _, name = CARRIED_OUT[asked].partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found
