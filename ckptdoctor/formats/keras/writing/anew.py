"""A `.keras` archive of a whole model in HDF5, and a `.weights.h5` of an archive.

Sources: keras/src/saving/saving_lib.py (`_save_model_to_fileobj`, `_save_container_state`); tf_keras reads layers that
are written down as HDF5 has them (`serialization_lib.deserialize_keras_object`).
"""

from __future__ import annotations

import datetime as dt
import json
import os
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
from ckptdoctor.formats.keras.legacy_h5 import describe
from ckptdoctor.formats.keras.writing.placing import Placed, placed
from ckptdoctor.formats.keras.writing.tree import by_compiling
from ckptdoctor.optimizers.dialects import of_keras
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, Generation, TrainingState
from ckptdoctor.versions import release

_BLOCK = 4 << 20
_FIRST_OF_ITS_KIND = (2, 15, 0)
"""The first Keras 2 whose archives are as those of tf_keras (TensorFlow 2.12 and 2.13 call groups differently)."""
_WEIGHTS_ALONE = "load it with model.load_weights(path)"


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
        GraftRefused: Another format, a Keras before TensorFlow's, or layers whose places only their code knows.
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
    if told.copies:
        raise GraftRefused(f"it holds {told.copies[0].key} twice, of a layer that is used in two places", source)
    of_keras3 = _is_of_keras3(told.version, source)
    try:
        layers = placed(told.config, told.layers, of_keras3=of_keras3)
    except GraftRefused as error:
        raise GraftRefused(error.message, source) from error
    weights = f"{output}.h5"
    try:
        _write_weights(weights, layers, labelled=of_keras3)
        size = os.path.getsize(weights)
        made = create_zip(
            output,
            {
                METADATA: Replacement(_metadata(told.version or "", of_keras3=of_keras3)),
                CONFIG: Replacement(json.dumps(_document(told.config, of_keras3=of_keras3)).encode()),
                WEIGHTS_H5: Replacement(lambda target, at: _copied(weights, size, target, at), size),
            },
        )
    finally:
        if os.path.exists(weights):
            os.unlink(weights)
    if progress is not None:
        progress(made.replaced)
    keys = {ref.key: f"{each.group}/vars/{at}" for each in layers for at, ref in enumerate(each.weights)}
    pairs = {each.path: keys[each.tensor.key] for each in state.variables}
    return Written(_left(state, told.training), made.replaced, 0, pairs=pairs)


def _is_of_keras3(version: str | None, source: str) -> bool:
    """Whether Keras 3 wrote it.

    Raises:
        GraftRefused: A Keras wrote it whose layers mean something else today.
    """
    major = release(version)[:1]
    if major == (3,) or of_keras(version) in {Generation.OPTIMIZER_V2, Generation.KERAS2}:
        return major == (3,)
    raise GraftRefused(
        f"it was written by Keras {version or 'of no version'}, before TensorFlow had its own, whose layers are not "
        "those of today: load the model with tf_keras and save it as .keras, then graft the optimizer into that",
        source,
    )


def _left(state: TrainingState, training: object) -> tuple[str, ...]:
    """What of how it was compiled has no place, beside the optimizer, of which a graft tells."""
    told = ["load it with load_model(path)"]
    if not isinstance(training, Mapping):
        return tuple(told)
    if not any(each.has_state for each in state.optimizers):
        told.append("how it was compiled stays behind, as its optimizer has no state: compile it again")
    elif training.get("metrics") or training.get("weighted_metrics"):
        told.append("the metrics stay behind: compile it again for them, with model.optimizer")
    return tuple(told)


def _document(config: object, *, of_keras3: bool) -> dict[str, object]:
    about = config if isinstance(config, Mapping) else {}
    name = "Sequential" if about.get("class_name") == "Sequential" else "Functional"
    if name == "Sequential":
        module, registered = "keras", None
    else:
        module, registered = f"keras.src.{'models' if of_keras3 else 'engine'}.functional", name
    return {"module": module, "class_name": name, "config": about.get("config"), "registered_name": registered}


def _metadata(version: str, *, of_keras3: bool) -> bytes:
    now = dt.datetime.now(tz=dt.timezone.utc).strftime("%Y-%m-%d@%H:%M:%S")
    told = version if of_keras3 or release(version) >= _FIRST_OF_ITS_KIND else ".".join(map(str, _FIRST_OF_ITS_KIND))
    return json.dumps({"keras_version": told, "date_saved": now}).encode()


def _write_weights(path: str, layers: list[Placed], *, labelled: bool) -> None:
    import h5py

    with h5py.File(path, "w-") as file:
        file.create_group("vars")
        for group, name, weights in layers:
            place = file.create_group(f"{group}/vars")
            if labelled and name:
                place.attrs["name"] = name
            for number, ref in enumerate(weights):
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
