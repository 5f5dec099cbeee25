"""Python code inside models: what a framework would run when it loads them, and what is therefore not loaded."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from ckptdoctor.examination import examine
from ckptdoctor.formats.keras.code import code_inside
from ckptdoctor.formats.registry import record
from ckptdoctor.state import TrainingState

REFUSAL = (
    "the model has Python code in it (Lambda layers), which loading would run and ckptdoctor does not: load it in your "
    "own script, if you trust it"
)
_MARKS = (b"Lambda", b"__lambda__", b"\\u00")
"""What the metadata of a SavedModel with code in it has; the last hides letters, which Keras never does in ASCII."""
_CHUNK = 1 << 20


def carries_code(state: TrainingState, path: str) -> bool:
    """Whether loading an artifact would run code that is in it."""
    if any(each.code == "X001" for each in state.oddities):
        return True
    return any(_mentions(os.path.join(path, name)) for name in record(state.format).metadata)


def model_carries_code(path: str) -> bool:
    """The same for a `--model`, which may be a plain JSON configuration.

    Raises:
        UnreadableArtifact: It cannot be read.
    """
    if path.endswith(".json"):
        with open(path, encoding="utf-8") as file:
            return bool(code_inside(json.load(file)))
    for each in examine(path):
        if each.error is not None:
            raise each.error
        if each.state is not None and carries_code(each.state, each.resolved):
            return True
    return False


def _mentions(path: str) -> bool:
    """Whether the file has one of the marks: rather refused once too often."""
    if not os.path.isfile(path):
        return False
    rest = b""
    for chunk in _chunks(path):
        if any(mark in rest + chunk for mark in _MARKS):
            return True
        rest = chunk[-16:]
    return False


def _chunks(path: str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
