"""Endings of names: what loaders expect behind them, and which they find the result of a graft under."""

from __future__ import annotations

from ckptdoctor.state import Format

_HDF5 = frozenset({Format.KERAS_H5, Format.KERAS_H5_WEIGHTS})
_PROMISES: tuple[tuple[str, frozenset[Format], str], ...] = (
    # Old tf.keras wrote its own HDF5 layout under any name that ends in .h5, .weights.h5 too.
    (".weights.h5", frozenset({Format.KERAS_WEIGHTS, Format.KERAS_H5_WEIGHTS}), "weights alone"),
    (".keras", frozenset({Format.KERAS_ARCHIVE}), "a .keras archive"),
    (".h5", _HDF5, "a model or weights in the old HDF5 layout"),
    (".hdf5", _HDF5, "a model or weights in the old HDF5 layout"),
    (".ckpt", frozenset({Format.TF_CHECKPOINT, Format.TF_CHECKPOINT_V1}), "a TensorFlow checkpoint"),
    *((ending, frozenset({Format.OPTIMIZER_DUMP}), "arrays") for ending in (".npz", ".npy", ".pkl", ".pickle")),
    *((ending, frozenset[Format](), "a PyTorch checkpoint") for ending in (".pth.tar", ".pth", ".pt")),
    (".safetensors", frozenset(), "a safetensors file"),
    (".onnx", frozenset(), "an ONNX model"),
    (".tflite", frozenset(), "a TensorFlow Lite model"),
)
"""Suffix → the formats that loaders expect behind it, the longest suffix first."""


def misnamed(path: str, kind: Format) -> tuple[str, str] | None:
    """The ending of a name, and what it promises, where a loader that goes by it would not find that."""
    found = next((each for each in _PROMISES if path.lower().endswith(each[0])), None)
    return None if found is None or kind in found[1] else (found[0], found[2])


NEEDED = {Format.KERAS_ARCHIVE: ".keras", Format.KERAS_WEIGHTS: ".weights.h5"}
"""Formats that Keras reads under one ending only; `.weights.json` where there are shards."""
SHARDED = ".weights.json"


def ending_for(path: str, kind: Format) -> str | None:
    """The ending that a file of a format has to have in place of its own; None where its own does."""
    needed = NEEDED.get(kind)
    if needed is not None:
        return None if path.endswith((needed, SHARDED) if kind is Format.KERAS_WEIGHTS else needed) else needed
    if misnamed(path, kind) is None:
        return None
    return ".h5" if kind in {Format.KERAS_H5, Format.KERAS_H5_WEIGHTS} else ""
