"""Writing Keras' own files: what is written is read back, and everything else is what it was."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.plans import itself, planned, trained

import ckptdoctor
from ckptdoctor.artifacts.keras_write import write_dump, write_h5, write_keras_archive, write_keras_weights
from ckptdoctor.containers.values import ordered_chunks
from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Format, Generation, OptimizerState, Status, TensorRef, TrainingState

EVERYTHING = bool(os.environ.get("CKPTDOCTOR_WHOLE_MUSEUM"))
"""Round trips of all 500 artifacts take two minutes; without this every sixth is made."""

WRITERS = {
    Format.KERAS_H5: write_h5,
    Format.KERAS_ARCHIVE: write_keras_archive,
    Format.KERAS_WEIGHTS: write_keras_weights,
    Format.OPTIMIZER_DUMP: write_dump,
}


def read(path: str | os.PathLike[str]) -> TrainingState:
    """An artifact by our own reader."""
    state = ckptdoctor.inspect(path)[0].state
    assert state is not None, path
    return state


def values(ref: TensorRef) -> bytes:
    """All bytes of a tensor."""
    return b"".join(chunk.tobytes() for chunk in ordered_chunks(ref))


def content(own: OptimizerState) -> tuple[Any, ...]:
    """What an optimizer's state says."""
    slots = [
        (slot.role, slot.variable, slot.tensor.shape, slot.tensor.dtype, values(slot.tensor)) for slot in own.slots
    ]
    scalars = [(each.name, each.value) for each in own.other]
    wrapper = None if own.wrapper is None else (own.wrapper.class_name, own.wrapper.loss_scale)
    return own.class_name, own.generation, own.iterations, slots, scalars, dict(own.hyperparameters), wrapper


def model(state: TrainingState) -> list[tuple[Any, ...]]:
    """The model's variables, by name and value."""
    return [(each.path, each.trainable, each.tensor.dtype, values(each.tensor)) for each in state.variables]


def objects(file: h5py.File, without: str) -> dict[str, Any]:
    """Every object of an HDF5 file but one group's, with attributes and bytes."""
    found: dict[str, Any] = {"/": attributes(file)}

    def note(name: str, each: h5py.Group | h5py.Dataset) -> None:
        if name.split("/")[0] != without:
            is_data = isinstance(each, h5py.Dataset)
            data = (str(each.dtype), each.shape, np.asarray(each[()]).tobytes()) if is_data else None
            found[name] = (attributes(each), data)

    file.visititems(note)
    return found


def attributes(each: Any) -> dict[str, str]:
    """Attributes, but for the one that writers change."""
    return {name: repr(each.attrs[name]) for name in each.attrs if name != "training_config"}


def same_around(before: str, after: str) -> bool:
    """Whether everything but the optimizer is the same in two files."""
    if before.endswith((".pkl", ".npz", ".npy")):
        return True
    if os.path.isdir(before):
        names = sorted(os.listdir(before))
        pairs = [(os.path.join(before, name), os.path.join(after, name)) for name in names]
        return names == sorted(os.listdir(after)) and all(same_around(*pair) for pair in pairs)
    if h5py.is_hdf5(before):
        with h5py.File(before, locking=False) as one, h5py.File(after, locking=False) as other:
            without = "optimizer_weights" if "model_weights" in one else "optimizer"
            return objects(one, without) == objects(other, without)
    if zipfile.is_zipfile(before):
        with zipfile.ZipFile(before) as one, zipfile.ZipFile(after) as other:
            assert other.testzip() is None
            if one.namelist() != other.namelist():
                return False
            plain = [name for name in one.namelist() if not name.endswith(".h5")]
            with one.open("model.weights.h5") as first, other.open("model.weights.h5") as second:
                trees = objects(h5py.File(first), "optimizer") == objects(h5py.File(second), "optimizer")
            return trees and all(one.read(name) == other.read(name) for name in plain)
    return before.endswith(".weights.json") or Path(before).read_bytes() == Path(after).read_bytes()


@pytest.fixture(scope="module")
def artifacts(museum: Path) -> list[tuple[str, TrainingState]]:
    """The museum's artifacts of Keras with a complete state of one optimizer."""
    found = []
    for record in json.loads((museum / "truth.json").read_text(encoding="utf-8")):
        if record["format"] in {each.value for each in WRITERS}:
            path = str(museum / record["path"])
            examined = ckptdoctor.inspect(path)[0]
            state = examined.state
            if state is not None and len(state.optimizers) == 1 and state.optimizers[0].slots:
                found.append((path, state))
    return found


def test_itself(artifacts: list[tuple[str, TrainingState]], tmp_path: Path) -> None:
    """Its own state, written into any artifact of the museum: nothing changes in meaning, in no corner of the file."""
    wrong, done = [], Counter[str]()
    for number, (path, state) in enumerate(artifacts[:: 1 if EVERYTHING else 6]):
        plan = itself(state)
        if plan is None:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        output = str(folder / os.path.basename(path))
        before = digest(path)
        try:
            WRITERS[state.format](plan, path, output)
        except GraftRefused as error:
            assert any(word in str(error) for word in ("Nadam", "npz")), path  # what the artifact itself lacks
            continue
        again = read(output)
        own = state.optimizers[0]
        if any("names no optimizer" in note for note in own.notes):  # mended: the configuration names it now
            own = replace(own, hyperparameters=again.optimizers[0].hyperparameters)
        if content(again.optimizers[0]) != content(own) or model(again) != model(state):
            wrong.append(f"{path}: its state is not what it was")
        elif not same_around(path, output):
            wrong.append(f"{path}: something else changed")
        assert digest(path) == before, path
        done[state.format.value] += 1
    assert not wrong, "\n".join(wrong)
    assert min(done[each.value] for each in WRITERS if each is not Format.OPTIMIZER_DUMP) > 10


def digest(path: str) -> str:
    """A checksum of a file, or of the files of a directory."""
    files = [path] if os.path.isfile(path) else sorted(os.path.join(path, name) for name in os.listdir(path))
    return hashlib.sha256(b"".join(Path(each).read_bytes() for each in files if os.path.isfile(each))).hexdigest()


DUMPS = ("getw.pkl", "getw.npz", "getw.npy", "vars.pkl", "vars.npz", "variables-pkl.pkl")


def test_dumps_are_the_frameworks_own(artifacts: list[tuple[str, TrainingState]], tmp_path: Path) -> None:
    """An HDF5 file's state, dumped, is element by element what the framework itself dumped of the same optimizer."""
    states = dict(artifacts)
    done = Counter[str]()
    wrong = []
    for path, state in artifacts:
        if not path.endswith("-h5.h5"):
            continue
        for kind in DUMPS:
            dump = path.removesuffix("h5.h5") + kind
            plan = itself(state)
            if dump not in states or plan is None:
                continue
            output = tmp_path / f"{sum(done.values())}-{os.path.basename(dump)}"
            try:
                write_dump(plan, dump, str(output))
            except GraftRefused:
                continue
            done[kind.partition(".")[2]] += 1
            if listed(str(output)) != listed(dump):
                wrong.append(dump)
    assert not wrong
    assert sum(done.values()) > 50


def listed(path: str) -> list[tuple[Any, ...]]:
    """The arrays of a dump as numpy loads them."""
    if path.endswith(".pkl"):
        import pickle

        loaded = pickle.loads(Path(path).read_bytes())
    elif path.endswith(".npy"):
        loaded = list(np.load(path, allow_pickle=True))
    else:
        with np.load(path) as archive:
            loaded = [archive[f"arr_{index}"] for index in range(len(archive.files))]
    # Counts are int32 on JAX and float32 in Keras 1; all else is the same to the bit.
    arrays = [np.asarray(each) for each in loaded]
    return [(each.shape, each.tobytes() if each.shape else float(each)) for each in arrays]
