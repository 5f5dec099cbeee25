"""A `.keras` archive of a whole model in HDF5, and a `.weights.h5` of an archive.

Sources: keras/src/saving/saving_lib.py (`_save_model_to_fileobj`, `_save_container_state`), utils/naming.py
(`to_snake_case`).
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ckptdoctor.containers.bytes.copying import Progress, create
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.bytes.window import copy_range, write_at
from ckptdoctor.containers.tensors.values import assembled
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.containers.zips.editing import Replacement, create_zip
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.keras.archive import CONFIG, METADATA, WEIGHTS_H5
from ckptdoctor.formats.keras.layers import WEIGHT_NAMES
from ckptdoctor.formats.keras.legacy_h5 import describe
from ckptdoctor.formats.keras.model import LayerWeights
from ckptdoctor.formats.keras.writing.tree import by_compiling
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, TrainingState
from ckptdoctor.versions import release

_BLOCK = 4 << 20
_BELOW = {"LSTM": ("LSTMCell", "cell"), "GRU": ("GRUCell", "cell"), "SimpleRNN": ("SimpleRNNCell", "cell")}
"""Layers whose weights are those of one layer below them, and its attribute."""
_WEIGHTS_ALONE = "load it with model.load_weights(path)"
_MODULES = {"Sequential": ("keras", None), "Functional": ("keras.src.models.functional", "Functional")}


def archive(
    state: TrainingState, source: str, output: str, *, like: str | None = None, progress: Progress | None = None
) -> Written:
    """Writes a whole model in HDF5 as an archive, without its optimizer: a graft puts that in.

    Args:
        state: What the model holds.
        source: Where it is.
        output: The archive.
        like: An archive of the same model, whose configuration it gets: of what has none itself.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: Another format, another Keras, or layers whose places in an archive only their code knows.
        UnreadableArtifact: It is broken.
    """
    if like is not None:
        from ckptdoctor.formats.keras.writing.like import archive_like

        return archive_like(state, source, like, output, progress)
    if state.format in {Format.TF_CHECKPOINT, Format.SAVED_MODEL, Format.KERAS_WEIGHTS}:
        raise GraftRefused(
            "it holds no configuration of the model's layers: name an archive of the same model that has one, by "
            "--like MODEL.keras (model.save('MODEL.keras'))",
            source,
        )
    if state.format is not Format.KERAS_H5:
        raise GraftRefused(
            "an archive is made of a whole model in HDF5 (model.save('m.h5')), or of a TensorFlow checkpoint or "
            ".weights.h5 by --like",
            source,
        )
    told = describe(source)
    if release(told.version)[:1] != (3,):
        raise GraftRefused(
            f"it was written by Keras {told.version or 'of no version'}, whose configuration Keras 3's archives do not "
            "have: load it with that Keras and save it as .keras",
            source,
        )
    config = told.config if isinstance(told.config, dict) else {}
    placed = _placed(config, told.layers, source)
    weights = f"{output}.h5"
    try:
        _write_weights(weights, placed)
        size = os.path.getsize(weights)
        made = create_zip(
            output,
            {
                METADATA: Replacement(_metadata(told.version or "")),
                CONFIG: Replacement(json.dumps(_document(config)).encode()),
                WEIGHTS_H5: Replacement(lambda target, at: _copied(weights, size, target, at), size),
            },
        )
    finally:
        if os.path.exists(weights):
            os.unlink(weights)
    if progress is not None:
        progress(made.replaced)
    return Written((), made.replaced, 0)


def _document(config: Mapping[str, Any]) -> dict[str, object]:
    name = str(config.get("class_name"))
    module, registered = _MODULES[name]
    return {"module": module, "class_name": name, "config": config["config"], "registered_name": registered}


def _metadata(version: str) -> bytes:
    now = dt.datetime.now(tz=dt.timezone.utc).strftime("%Y-%m-%d@%H:%M:%S")
    return json.dumps({"keras_version": version, "date_saved": now}).encode()


def _placed(config: Mapping[str, Any], layers: list[LayerWeights], source: str) -> list[tuple[str, str, LayerWeights]]:
    """Each layer's group in the archive, its name, and its weights.

    Raises:
        GraftRefused: A layer keeps weights in others below it, or is of a class that is not known.
    """
    inner = config.get("config")
    listed = inner.get("layers") if isinstance(inner, dict) else None
    if config.get("class_name") not in _MODULES or not isinstance(listed, list):
        raise GraftRefused("it is no Sequential or functional model, whose code alone knows its layers", source)
    by_name = {each.name: each for each in layers}
    counts: Counter[str] = Counter()
    found = []
    for each in listed:
        kind, name = str(each.get("class_name")), str((each.get("config") or {}).get("name"))
        group = snake(kind)
        number = counts[group]
        counts[group] += 1
        held = by_name.get(name)
        if held is None or not held.weights:
            continue
        owner, below = _BELOW.get(kind, (kind, ""))
        if len(held.weights) > len(WEIGHT_NAMES.get(owner, ())) or "layers" in (each.get("config") or {}):
            raise GraftRefused(
                f"{name} is a {kind}, whose weights lie below it in an archive, where only its code knows: load the "
                "model with Keras and save it as .keras, then graft the optimizer into that",
                source,
            )
        place = f"{group}_{number}" if number else group
        found.append((f"{place}/{below}" if below else place, name, held))
    missing = {each.name for each in layers if each.weights} - {name for _, name, _ in found}
    if missing:
        raise GraftRefused(f"{', '.join(sorted(missing))} is in no list of its configuration", source)
    return found


def snake(name: str) -> str:
    """`BatchNormalization` as `batch_normalization`, as Keras names groups."""
    plain = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", plain).lower()


def _write_weights(path: str, placed: list[tuple[str, str, LayerWeights]]) -> None:
    import h5py

    with h5py.File(path, "w-") as file:
        file.create_group("vars")
        for group, name, layer in placed:
            place = file.create_group(f"layers/{group}/vars")
            place.attrs["name"] = name
            for number, (_, ref) in enumerate(layer.weights):
                place.create_dataset(str(number), data=_values(ref))


def _values(ref: TensorRef) -> Any:
    if ref.dtype == "bfloat16":
        raise GraftRefused(f"{ref.key} is bfloat16, which HDF5 of whole models does not tell from bytes")
    return assembled(ref).reshape(ref.shape)


def _copied(source: str, size: int, target: int, at: int) -> int:
    with open(source, "rb") as stream:
        copy_range(stream.fileno(), 0, size, target, at)
    return size


def weights(state: TrainingState, source: str, output: str, *, progress: Progress | None = None) -> Written:
    """Writes the weights of an archive, with its optimizer's state, as the `.weights.h5` that they are within it.

    Raises:
        GraftRefused: It is no archive, or keeps them in another form.
        UnreadableArtifact: It is broken.
    """
    inside = os.path.join(source, WEIGHTS_H5)
    if state.format is not Format.KERAS_ARCHIVE or (os.path.isdir(source) and not os.path.isfile(inside)):
        raise GraftRefused("a .weights.h5 is made of a .keras archive with weights in HDF5 alone", source)
    target = create(output)
    try:
        if os.path.isdir(source):
            with RegularFile(inside) as file:
                _copied(inside, file.size, target, 0)
        else:
            _extract(source, target)
        size = os.fstat(target).st_size
    finally:
        os.close(target)
    if progress is not None:
        progress(size)
    call = next((by_compiling(each.class_name) for each in state.optimizers if each.has_state), _WEIGHTS_ALONE)
    left = "the model's configuration and how it was compiled stay behind"
    return Written((call, left), 0, size, pairs={each.path: each.tensor.key for each in state.variables})


def _extract(source: str, target: int) -> None:
    with ZipArchive(source) as opened:
        if WEIGHTS_H5 not in opened:
            raise GraftRefused("its weights are not in HDF5", source)
        opened.verify(WEIGHTS_H5)
        place = opened.stored_range(WEIGHTS_H5)
        if place is not None:
            with open(source, "rb") as stream:
                copy_range(stream.fileno(), place[0], place[1], target, 0)
            return
        at = 0
        with opened.open(WEIGHTS_H5) as member:
            while block := member.read(_BLOCK):
                write_at(target, block, at)
                at += len(block)
