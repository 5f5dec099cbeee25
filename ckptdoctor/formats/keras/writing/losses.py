"""The loss of a compiled model, taken from one artifact's configuration into another's dialect.

A model cannot be compiled by its configuration alone without naming a loss or none. None is safe wherever the loader
takes it: `fit` then complains at once, where a guessed loss would train towards something else in silence.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ckptdoctor.containers.hdf5.opening import by_either, open_h5
from ckptdoctor.containers.hdf5.signature import is_hdf5
from ckptdoctor.containers.strict_json import MAX_BYTES, parse_json
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.formats.keras.archive import CONFIG
from ckptdoctor.optimizers.keras.serialize import Form
from ckptdoctor.state import Generation
from ckptdoctor.versions import release

_FIRST_WITHOUT_LOSS = (2, 4)
"""TensorFlow 2.3 and later compile without a loss; Keras before, and TensorFlow 1.15, refuse to load such a file."""
_FALLBACK = "mean_squared_error"
_MAX_DEPTH = 16


def loss_of(path: str) -> object:
    """The loss that an artifact was compiled with: of an HDF5 file, or of a `.keras` archive; None if it has none."""
    if os.path.isdir(path):
        file = os.path.join(path, CONFIG)
        if not os.path.isfile(file):
            return None
        if os.path.getsize(file) > MAX_BYTES:
            raise LimitExceeded(f"is larger than the {MAX_BYTES:,} bytes that are read", file, place=CONFIG)
        with open(file, "rb") as stream:
            return _entry(parse_json(stream.read(), path, CONFIG), "compile_config")
    if is_hdf5(path):
        text = by_either(_training_config, path)
        return None if text is None else _loss(parse_json(text, path, "@training_config"))
    try:
        with ZipArchive(path) as archive:
            config = archive.read(CONFIG) if CONFIG in archive else b"null"
    except UnreadableArtifact:
        return None
    return _entry(parse_json(config, path, CONFIG), "compile_config")


def _training_config(path: str) -> str | None:
    with open_h5(path) as opened:
        return opened.text("", "training_config")


def _entry(config: object, name: str) -> object:
    return _loss(config.get(name)) if isinstance(config, Mapping) else None


def _loss(compiled: object) -> object:
    return compiled.get("loss") if isinstance(compiled, Mapping) else None


def translated(loss: object, generation: Generation, form: Form, depth: int = 0) -> object:
    """A serialized loss in another generation's dialect: a name, an object, or a list or mapping of those.

    Keras 3 has no `reduction: "auto"`, which meant the mean over the batch outside of distribution strategies, and
    takes no `fn`, which repeats the class (keras.src.losses.Loss).
    """
    if depth > _MAX_DEPTH:
        return None
    if isinstance(loss, list):
        return [translated(each, generation, form, depth + 1) for each in loss]
    if not isinstance(loss, Mapping):
        return loss
    if "class_name" not in loss:
        return {key: translated(value, generation, form, depth + 1) for key, value in loss.items()}
    config = loss.get("config")
    if not isinstance(config, Mapping):  # a function
        return config if isinstance(config, str) else loss
    plain = dict(config)
    if generation is Generation.KERAS3:
        plain.pop("fn", None)
        if plain.get("reduction") == "auto":
            plain["reduction"] = "sum_over_batch_size"
    else:
        plain.pop("dtype", None)
    name = loss.get("class_name")
    if form is Form.LEGACY:
        return {"class_name": name, "config": plain}
    registered = loss.get("registered_name")
    return {
        "module": loss.get("module") or "keras.losses",
        "class_name": name,
        "config": plain,
        "registered_name": registered,
    }


def chosen_loss(loss: object, generation: Generation, form: Form, version: str | None) -> tuple[object, str]:
    """The loss to write where the target has none, and a sentence that says so.

    Args:
        loss: The donor's; None if there is none.
        generation: The generation that is written.
        form: How the target writes serialized objects.
        version: The target's Keras version.
    """
    if loss is not None:
        return translated(loss, generation, form), "the target was saved uncompiled: its loss is the donor's"
    if generation is not Generation.KERAS3 and version is not None and _needs_loss(version):
        return _FALLBACK, (
            f"the target was saved uncompiled and nothing names its loss: {_FALLBACK} was written, as this version "
            "loads no model without one; compile with yours and the loaded optimizer: "
            "model.compile(optimizer=model.optimizer, loss=...)"
        )
    return None, (
        "the target was saved uncompiled and nothing names its loss, so none was written: after load_model call "
        "model.compile(optimizer=model.optimizer, loss=...), which keeps the optimizer's state"
    )


def _needs_loss(version: str) -> bool:
    return version.endswith("-tf") or release(version) < _FIRST_WITHOUT_LOSS
