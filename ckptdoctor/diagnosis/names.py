"""Endings of names: what loaders expect behind them, and which they find the result of a graft under."""

from __future__ import annotations

from ckptdoctor.formats.registry import FORMATS, record
from ckptdoctor.state import Format

_FOREIGN = {
    ".onnx": "an ONNX model",
    ".tflite": "a TensorFlow Lite model",
}
_OF_ANY = frozenset({".ckpt"})
"""TensorFlow's, PyTorch's and Lightning's are all called so."""
_PROMISES = _FOREIGN | {
    ending: promise for each in FORMATS for ending, promise in each.endings.items() if ending not in _OF_ANY
}
_LONGEST_FIRST = sorted(_PROMISES, key=len, reverse=True)


def misnamed(path: str, kind: Format) -> tuple[str, str] | None:
    """The ending of a name, and what it promises, where a loader that goes by it would not find that."""
    ending = next((each for each in _LONGEST_FIRST if path.lower().endswith(each)), None)
    return None if ending is None or ending in record(kind).endings else (ending, _PROMISES[ending])


def ending_for(path: str, kind: Format) -> str | None:
    """The ending that a file of a format has to have in place of its own; None where its own does."""
    wanted = record(kind)
    fits = path.endswith(wanted.required) if wanted.required else misnamed(path, kind) is None
    return None if fits else wanted.ending
