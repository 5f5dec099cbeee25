"""`.keras` archives of Keras 3 and TensorFlow 2.12 and later, zipped or as a directory.

`config.json` describes the model and how it was compiled, `model.weights.h5` (or `.npz`) holds the variables. The
weights are read where they lie in the archive.
"""

import os
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ckptdoctor import storage
from ckptdoctor.containers.hdf5.opening import open_h5
from ckptdoctor.containers.strict_json import MAX_BYTES, parse_object
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.formats.keras.code import code_inside
from ckptdoctor.formats.keras.optimizer_groups import OPTIMIZER
from ckptdoctor.formats.keras.producer import producer
from ckptdoctor.formats.keras.tree import Store, load_h5, read_store
from ckptdoctor.optimizers.dialects import of_keras
from ckptdoctor.optimizers.keras.config import read_config
from ckptdoctor.state import Format, Generation, Oddity, OptimizerState, TrainingState

CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS_H5 = "model.weights.h5"
WEIGHTS_NPZ = "model.weights.npz"


class _Source(NamedTuple):
    """An archive or a directory: what it has and how it is read.

    Attributes:
        path: Of the archive or directory.
        has: Whether a member is there.
        text: Reads a small member.
        store: Reads the weights.
        oddities: What was noticed about the container.
    """

    path: str
    has: Callable[[str], bool]
    text: Callable[[str], bytes]
    store: Callable[[], Store]
    oddities: tuple[Oddity, ...] = ()


def ending_as(target: str) -> str | None:
    """The ending under which Keras loads a copy of a target: a directory has any."""
    return None if storage.is_dir(target) else ".keras"


def read(path: str) -> TrainingState:
    """Reads a `.keras` zip archive, or the directory that it unpacks to."""
    if storage.is_dir(path):
        return _read(_directory(path))
    with ZipArchive(path) as archive:
        return _read(_zipped(path, archive))


def _zipped(path: str, archive: ZipArchive) -> _Source:
    oddities = tuple(archive.oddities)
    return _Source(path, archive.__contains__, archive.read, lambda: _zipped_weights(archive), oddities)


class Described(NamedTuple):
    """An archive's model as it is written down.

    Attributes:
        version: The Keras that wrote it.
        config: `config.json`.
    """

    version: str | None
    config: dict[str, object]


def describe(path: str) -> Described:
    """The version and the configuration of an archive, or of the directory that it unpacks to."""
    if storage.is_dir(path):
        return _described(_directory(path))
    with ZipArchive(path) as archive:
        return _described(_zipped(path, archive))


def _described(source: _Source) -> Described:
    version = _object(source, METADATA).get("keras_version")
    return Described(version if isinstance(version, str) else None, _object(source, CONFIG))


def _directory(path: str) -> _Source:
    def text(name: str) -> bytes:
        file = os.path.join(path, name)
        if storage.size(file) > MAX_BYTES:
            raise LimitExceeded(f"is larger than the {MAX_BYTES:,} bytes that are read", file, place=name)
        with storage.open_stream(file) as stream:
            return stream.read()

    def weights() -> Store:
        store = Store()
        file = os.path.join(path, WEIGHTS_H5)
        if storage.is_file(file):
            with open_h5(file) as opened:
                load_h5(opened, store)
        else:
            from ckptdoctor.formats.keras.npz import load_npz

            file = os.path.join(path, WEIGHTS_NPZ)
            load_npz(file, storage.open_stream(file), store, start=0)
        return store

    return _Source(path, lambda name: storage.is_file(os.path.join(path, name)), text, weights)


def _zipped_weights(archive: ZipArchive) -> Store:
    store = Store()
    if WEIGHTS_H5 in archive:
        with open_h5(archive.path, WEIGHTS_H5) as file:
            load_h5(file, store)
    else:
        from ckptdoctor.formats.keras.npz import load_npz

        start = archive.offset(WEIGHTS_NPZ) if archive.is_stored(WEIGHTS_NPZ) else None
        load_npz(archive.path, archive.open(WEIGHTS_NPZ), store, start=start)
    return store


def _read(source: _Source) -> TrainingState:
    version, config = _described(source)
    if not source.has(WEIGHTS_H5) and not source.has(WEIGHTS_NPZ):
        raise UnreadableArtifact(f"has neither {WEIGHTS_H5} nor {WEIGHTS_NPZ}", source.path)
    store = source.store()
    compiled = config.get("compile_config")
    node = compiled.get("optimizer") if isinstance(compiled, Mapping) else None
    forgotten = isinstance(compiled, Mapping) and node is None
    optimizer = read_config(node, version, of_keras(version) or Generation.KERAS3)
    contents = read_store(store, config=config or None, optimizer=optimizer, version=version)
    return TrainingState(
        path=source.path,
        format=Format.KERAS_ARCHIVE,
        producer=producer(version),
        variables=contents.model.variables,
        optimizers=_forgotten(contents.optimizers) if forgotten else contents.optimizers,
        others=contents.others,
        oddities=(*source.oddities, *store.oddities, *code_inside(config)),
    )


def _forgotten(optimizers: tuple[OptimizerState, ...]) -> tuple[OptimizerState, ...]:
    """Tells of state whose optimizer the configuration lacks: `model.save("m.h5")` takes it out of later archives."""
    note = "compile_config names no optimizer: load_model would start with a new RMSprop"
    return tuple(
        each._replace(notes=(*each.notes, note)) if each.has_state and each.name == OPTIMIZER else each
        for each in optimizers
    )


def _object(source: _Source, name: str) -> dict[str, object]:
    """A JSON member; Keras loads archives without metadata, and so do we."""
    return parse_object(source.text(name), source.path, name) if source.has(name) else {}
