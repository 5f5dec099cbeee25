"""Writing Keras' own files: what is written is read back, and everything else is what it was."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import h5py as _h5py
import numpy as np
import pytest
from support.plans import itself, planned, trained

import ckptdoctor
from ckptdoctor.containers.tensors.values import ordered_chunks
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.keras.writing.files import write_dump, write_h5, write_keras_archive, write_keras_weights
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, Generation, OptimizerState, Status, TrainingState

h5py: Any = _h5py

EVERYTHING = bool(os.environ.get("CKPTDOCTOR_WHOLE_MUSEUM"))
"""Round trips of all 500 artifacts take two minutes; without this every sixth is made."""

DUMPS = ("getw.pkl", "getw.npz", "getw.npy", "vars.pkl", "vars.npz", "variables-pkl.pkl")

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

    def note(name: str, each: Any) -> None:
        if name.partition("/")[0] != without:
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
def paths(museum: Path) -> list[str]:
    """The museum's artifacts in the formats that these writers write."""
    records = json.loads((museum / "truth.json").read_text(encoding="utf-8"))
    formats = {each.value for each in WRITERS}
    return [str(museum / each["path"]) for each in records if each["format"] in formats and each["state_present"]]


def plan_for_itself(path: str) -> tuple[TrainingState, PlannedOptimizer] | None:
    """An artifact's state and its own optimizer as a plan; None where it has several, or slots of nobody."""
    state = ckptdoctor.inspect(path)[0].state
    if state is None or len(state.optimizers) != 1 or not state.optimizers[0].slots:
        return None
    plan = itself(state)
    return None if plan is None else (state, plan)


def test_itself(paths: list[str], tmp_path: Path) -> None:
    """Its own state, written into any artifact of the museum: nothing changes in meaning, in no corner of the file."""
    wrong, refused, done = [], [], Counter[str]()
    for number, path in enumerate(paths[:: 1 if EVERYTHING else 6]):
        found = None if path.endswith(DUMPS) else plan_for_itself(path)
        if found is None:
            continue
        state, plan = found
        folder = tmp_path / str(number)
        folder.mkdir()
        output = str(folder / os.path.basename(path))
        before = digest(path)
        try:
            WRITERS[state.format](plan, path, output)
        except GraftRefused as error:
            refused.append(str(error))
            continue
        again = read(output)
        own = state.optimizers[0]
        if any("names no optimizer" in note for note in own.notes):  # mended: the configuration names it now
            own = own._replace(hyperparameters=again.optimizers[0].hyperparameters)
        if content(again.optimizers[0]) != content(own) or model(again) != model(state):
            wrong.append(f"{path}: its state is not what it was")
        elif own is state.optimizers[0] and not same_around(path, output):
            wrong.append(f"{path}: something else changed")
        assert digest(path) == before, path
        done[state.format.value] += 1
    assert not wrong, "\n".join(wrong)
    # What the artifact itself lacks: Nadam's product, or weights that Keras could load.
    assert [each for each in refused if "Nadam" not in each and "npz" not in each] == []
    assert min(done[each.value] for each in WRITERS if each is not Format.OPTIMIZER_DUMP) > 10


def digest(path: str) -> str:
    """A checksum of a file, or of the files of a directory."""
    files = [path] if os.path.isfile(path) else sorted(os.path.join(path, name) for name in os.listdir(path))
    return hashlib.sha256(b"".join(Path(each).read_bytes() for each in files if os.path.isfile(each))).hexdigest()


def test_dumps_are_the_frameworks_own(paths: list[str], tmp_path: Path) -> None:
    """An HDF5 file's state, dumped, is element by element what the framework itself dumped of the same optimizer."""
    done = Counter[str]()
    wrong = []
    pairs = [
        (f"{stem}h5.h5", f"{stem}{kind}", kind)
        for kind in DUMPS
        for stem in (path.removesuffix(kind) for path in paths if path.endswith(f"-{kind}"))
        if f"{stem}h5.h5" in paths
    ]
    for path, dump, kind in pairs[:: 1 if EVERYTHING else 2]:
        found = plan_for_itself(path)
        if found is not None:
            plan = found[1]
            output = tmp_path / f"{sum(done.values())}-{os.path.basename(dump)}"
            try:
                write_dump(plan, dump, str(output))
            except GraftRefused:
                continue
            done[kind.partition(".")[2]] += 1
            if listed(str(output)) != listed(dump):
                wrong.append(dump)
    assert not wrong
    assert sum(done.values()) > 30


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


# ---------------------------------------------------------------------------------------------- from one to another


@pytest.fixture
def donor(fixtures_dir: Path) -> OptimizerState:
    """Adam after 7 steps, of OptimizerV2."""
    return read(fixtures_dir / "whole-model.h5").optimizers[0]


def uncompiled(source: Path, output: Path) -> Path:
    """The file as `include_optimizer=False` writes it."""
    output.write_bytes(source.read_bytes())
    with h5py.File(output, "r+") as file:
        del file["optimizer_weights"]
        del file.attrs["training_config"]
    return output


def test_h5_of_an_uncompiled_model(donor: OptimizerState, fixtures_dir: Path, tmp_path: Path) -> None:
    """State, names, configuration and the donor's loss come; the loss is none where nothing tells it."""
    source = fixtures_dir / "whole-model.h5"
    target = uncompiled(source, tmp_path / "target.h5")
    plan = planned(donor, trained(read(target)), Generation.OPTIMIZER_V2)
    written = write_h5(plan, str(target), str(tmp_path / "out.h5"), loss_from=str(source))
    with h5py.File(source, locking=False) as old, h5py.File(tmp_path / "out.h5", locking=False) as new:
        assert list(old["optimizer_weights"].attrs["weight_names"]) == [
            each.decode() for each in new["optimizer_weights"].attrs["weight_names"]
        ]
        wanted, found = (json.loads(each.attrs["training_config"]) for each in (old, new))
    assert found["loss"] == wanted["loss"]
    assert found["optimizer_config"]["class_name"] == "Adam"
    assert found["optimizer_config"]["config"] == pytest.approx(wanted["optimizer_config"]["config"])
    assert content(read(tmp_path / "out.h5").optimizers[0])[:5] == content(donor)[:5]
    assert written.bytes_new == 8 + sum(slot.tensor.size * 4 for slot in donor.slots)
    assert written.bytes_copied == target.stat().st_size
    assert "load_model(path)" in written.notes[0]
    alone = write_h5(plan, str(target), str(tmp_path / "alone.h5"))
    with h5py.File(tmp_path / "alone.h5", locking=False) as new:
        assert json.loads(new.attrs["training_config"])["loss"] is None
    assert "model.compile(optimizer=model.optimizer, loss=...)" in alone.notes[1]


@pytest.mark.parametrize("kind", ["ascii", "fixed", "utf-8", "absent"])
def test_text_in_h5_is_of_the_kind_that_is_there(
    kind: str, donor: OptimizerState, fixtures_dir: Path, tmp_path: Path
) -> None:
    """Keras up to 2.3 wrote bytes, and with h5py 2 fails on what says that it is UTF-8."""
    target = uncompiled(fixtures_dir / "whole-model.h5", tmp_path / "target.h5")
    with h5py.File(target, "r+") as file:
        text = file.attrs["model_config"]
        if kind == "absent":
            del file.attrs["model_config"]
        else:
            text = text if isinstance(text, str) else text.decode()
            given = {"ascii": text.encode(), "fixed": np.bytes_(text.encode()), "utf-8": text}
            file.attrs["model_config"] = given[kind]
    plan = planned(donor, trained(read(target)), Generation.OPTIMIZER_V2)
    write_h5(plan, str(target), str(tmp_path / "out.h5"))
    with h5py.File(tmp_path / "out.h5", locking=False) as new:
        found = h5py.h5a.open(new.id, b"training_config").get_type()
    assert found.is_variable_str()
    assert (found.get_cset() == h5py.h5t.CSET_ASCII) is (kind in {"ascii", "fixed"})


@pytest.mark.parametrize(
    ("generation", "first", "slot"),
    [
        (Generation.KERAS1, "Adam/iterations:0", "training/Adam/m_0:0"),
        (Generation.OPTIMIZER_V2, "Adam/iter:0", "Adam/{}/m:0"),
        (Generation.KERAS2, "iteration:0", "Adam/m/{}:0"),
        (Generation.KERAS3, "adam/iteration", "adam/{}_momentum"),
    ],
)
def test_names_in_h5(
    generation: Generation, first: str, slot: str, donor: OptimizerState, fixtures_dir: Path, tmp_path: Path
) -> None:
    """State variables get the names of their generation, and our reader tells the generation from them."""
    target = uncompiled(fixtures_dir / "whole-model.h5", tmp_path / "target.h5")
    variables = trained(read(target))
    plan = planned(donor, variables, generation)
    write_h5(plan, str(target), str(tmp_path / "out.h5"))
    with h5py.File(tmp_path / "out.h5", locking=False) as file:
        names = [each.decode() for each in file["optimizer_weights"].attrs["weight_names"]]
    path = variables[0].path
    assert names[0] == first
    assert slot.format(path.replace("/", "_") if generation is Generation.KERAS3 else path) in names
    assert len(set(names)) == len(names)
    again = read(tmp_path / "out.h5").optimizers[0]
    assert (again.generation, again.iterations) == (generation, donor.iterations)
    first_moments = [values(each.tensor) for each in donor.slots if each.role.value == "first_moment"]
    assert [values(each.tensor) for each in again.slots if each.role.value == "first_moment"] == first_moments


def test_archives(donor: OptimizerState, fixtures_dir: Path, tmp_path: Path) -> None:
    """A `.keras` without an optimizer, packed or not, gets one; members keep their order, dates and bytes."""
    target = tmp_path / "target.keras"
    with zipfile.ZipFile(fixtures_dir / "keras3.keras") as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename == "config.json":
                document = json.loads(data)
                del document["compile_config"]
                data = json.dumps(document).encode()
            info.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(info, data)
        new.writestr("assets/words.txt", b"a\nb\n" * 1000, zipfile.ZIP_DEFLATED)
    state = read(target)
    order = trained(state)
    own = donor._replace(slots=state.optimizers[0].slots, class_name="Adam")
    plan = planned(own, order, Generation.KERAS3)
    written = write_keras_archive(
        plan, str(target), str(tmp_path / "out.keras"), loss_from=str(fixtures_dir / "whole-model.h5")
    )
    with zipfile.ZipFile(target) as old, zipfile.ZipFile(tmp_path / "out.keras") as new:
        assert new.testzip() is None
        assert new.namelist() == old.namelist()
        assert [each.date_time for each in new.infolist()] == [each.date_time for each in old.infolist()]
        assert new.read("assets/words.txt") == old.read("assets/words.txt")
        assert new.getinfo("model.weights.h5").compress_type == zipfile.ZIP_STORED
        compiled = json.loads(new.read("config.json"))["compile_config"]
    assert compiled["optimizer"]["module"] == "keras.optimizers"
    assert compiled["optimizer"]["config"]["learning_rate"] == pytest.approx(donor.hyperparameters["learning_rate"])
    assert compiled["loss"] is not None
    assert "its loss is the donor's" in written.notes[1]
    again = ckptdoctor.inspect(tmp_path / "out.keras")[0]
    assert again.status is Status.COMPLETE
    assert again.state is not None
    assert again.state.optimizers[0].iterations == donor.iterations


def test_shards(paths: list[str], tmp_path: Path) -> None:
    """Shards are renamed after the output, as Keras looks for them, and the map accounts for every byte."""
    path = next(path for path in paths if path.endswith(".weights.json"))
    state = read(path)
    plan = itself(state)
    assert plan is not None
    write_keras_weights(plan, path, str(tmp_path / "other.weights.json"))
    document = json.loads((tmp_path / "other.weights.json").read_text())
    names = {name for listed_ in document["weight_map"].values() for name in listed_}
    assert names == {f"other_{number:05}.weights.h5" for number in range(len(names))}
    assert {each.name for each in tmp_path.iterdir()} == {*names, "other.weights.json"}
    before = json.loads(Path(path).read_text())["metadata"]["total_size"]
    assert document["metadata"]["total_size"] in {before, before + 4}  # counts are int32 outside of TensorFlow
    assert content(read(tmp_path / "other.weights.json").optimizers[0]) == content(state.optimizers[0])


def test_refusals(donor: OptimizerState, fixtures_dir: Path, tmp_path: Path) -> None:
    """What has no place for the state is refused with a way out, and nothing is written."""
    old = planned(donor, trained(read(fixtures_dir / "whole-model.h5")), Generation.OPTIMIZER_V2)
    output = str(tmp_path / "out")
    with pytest.raises(GraftRefused, match="--as keras3"):
        write_keras_archive(old, str(fixtures_dir / "keras3.keras"), output)
    with pytest.raises(GraftRefused, match="never hold"):
        write_keras_weights(old, str(fixtures_dir / "lost.weights.h5"), output)
    with pytest.raises(GraftRefused, match="weights alone"):
        write_h5(old, str(fixtures_dir / "weights-only.h5"), output)
    np.savez(tmp_path / "named.npz", iterations=np.int64(3), m=np.zeros(3), v=np.zeros(3))
    with pytest.raises(GraftRefused, match="more than one list"):
        write_dump(old, str(tmp_path / "named.npz"), output)
    assert not os.path.exists(output)


def test_an_unknown_learning_rate_is_said(donor: OptimizerState, fixtures_dir: Path, tmp_path: Path) -> None:
    """Keras 3 keeps the rate among the variables: one that nobody knows is the class's default, and a note says so."""
    path = fixtures_dir / "keras3.keras"
    variables = trained(read(path))
    nameless = donor._replace(slots=(), hyperparameters={})
    plan = planned(nameless, variables, Generation.KERAS3)
    written = write_keras_archive(plan, str(path), str(tmp_path / "out.keras"))
    assert any("0.001, Adam's default" in note for note in written.notes)
