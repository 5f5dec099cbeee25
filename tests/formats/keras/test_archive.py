"""`.keras` archives, `.weights.h5` and their shards: a tree of objects, with or without its key."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py as _h5py
import numpy as np
import pytest
from support.archives import ADAM_STATE, DENSE, TWO, Groups, layer, model, save, weights

import ckptdoctor
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.keras import archive as keras_archive
from ckptdoctor.formats.keras import hdf5
from ckptdoctor.formats.keras import hdf5 as hdf5_file
from ckptdoctor.formats.keras import weights as keras_weights
from ckptdoctor.references import H5Data
from ckptdoctor.state import Format, Generation, Producer

h5py: Any = _h5py  # the stubs leave half of it out


@pytest.mark.parametrize("zipped", [True, False])
def test_an_archive(tmp_path: Path, *, zipped: bool) -> None:
    """Zipped or not: layers get their names back from the configuration, slots their variables by order."""
    found = save(tmp_path, {**DENSE, "optimizer": ADAM_STATE}, zipped=zipped)
    assert (found.format, found.producer) == (Format.KERAS_ARCHIVE, Producer("keras", "3.15.1"))
    assert [(each.path, each.trainable) for each in found.variables] == [
        ("hidden/kernel", True), ("hidden/bias", True), ("out/kernel", True), ("out/bias", True),
    ]  # fmt: skip
    (optimizer,) = found.optimizers
    assert (optimizer.class_name, optimizer.iterations, len(optimizer.slots)) == ("Adam", 7, 8)
    assert optimizer.hyperparameters["learning_rate"] == 0.01
    location = optimizer.slots[0].tensor.location
    assert isinstance(location, H5Data)
    assert (location.member is not None) == zipped


def test_variables_are_sorted_as_numbers(tmp_path: Path) -> None:
    """HDF5 lists 0, 1, 10, 2: the state is read 0, 1, 2, … 10."""
    found = save(tmp_path, {**DENSE, "optimizer": ADAM_STATE + [(1,)] * 0})
    keys = [slot.tensor.key for slot in found.optimizers[0].slots]
    assert keys == [f"optimizer/vars/{index}" for index in range(2, 10)]


def test_every_class_counts_for_itself(tmp_path: Path) -> None:
    """Layers without weights use up their number; TensorFlow 2.12 and 2.13 count layers with weights twice."""
    layers = (layer("in", "InputLayer"), layer("a"), layer("r", "ReLU"), layer("n", "LayerNormalization"), layer("b"))
    groups: Groups = {"layers/dense": [(3, 4)], "layers/layer_normalization": [(4,), (4,)], "layers/dense_1": [(4, 2)]}
    found = save(tmp_path, groups, model(*layers))
    assert [each.path for each in found.variables] == ["a/kernel", "n/gamma", "n/beta", "b/kernel"]
    twice = {f"_layer_checkpoint_dependencies/{name}": groups[f"layers/{name}"] for name in ("dense",)}
    twice["_layer_checkpoint_dependencies/dense_2"] = [(4, 2)]
    second = save(tmp_path, twice, model(layer("a"), layer("b")), version="2.13.1")
    assert [each.path for each in second.variables] == ["a/kernel", "b/kernel"]


def test_nested_frozen_and_statistics(tmp_path: Path) -> None:
    """Nested models keep their path, frozen ones freeze what is inside, statistics are never trained."""
    inner = {"class_name": "Sequential", "config": {"name": "inner", "trainable": False, "layers": [layer("deep")]}}
    config = model(inner, layer("bn", "BatchNormalization"), layer("drop", "Dropout"))
    groups: Groups = {
        "layers/sequential/layers/dense": [(3, 4), (4,)],
        "layers/batch_normalization": [(4,)] * 4,
        "layers/dropout/seed_generator": [(2,)],
    }
    found = save(tmp_path, groups, config)
    assert {each.path: each.trainable for each in found.variables} == {
        "inner/deep/kernel": False, "inner/deep/bias": False, "bn/gamma": True, "bn/beta": True,
        "bn/moving_mean": False, "bn/moving_variance": False,
        "drop/seed_generator/seed_generator_state": False,
    }  # fmt: skip


def test_bidirectional_goes_forward_first(tmp_path: Path) -> None:
    """The forward layer's weights are trained first, although its backward twin is stored before it."""
    groups: Groups = {
        "layers/bidirectional/backward_layer/cell": [(3, 8)],
        "layers/bidirectional/forward_layer/cell": [(3, 4)],
    }
    wrapped = layer("bi", "Bidirectional", layer=layer("lstm", "LSTM"))
    found = save(tmp_path, groups, model(wrapped))
    assert [each.tensor.shape for each in found.variables] == [(3, 4), (3, 8)]
    assert all(each.trainable for each in found.variables)


def test_a_subclassed_model_is_placed_by_shape(tmp_path: Path) -> None:
    """Attributes are stored by name, trained by creation: where shapes settle it, they do, and it is said."""
    groups: Groups = {
        "aa": [(4, 2), (2,)], "zz": [(3, 4), (4,)], "": [(5,)],
        "optimizer": [np.int64(7), np.float32(0.1), (5,), (3, 4), (4,), (4, 2), (2,)],
    }  # fmt: skip
    sgd = {"class_name": "SGD", "config": {"momentum": 0.9, "loss_scale_factor": None}}
    config = {"class_name": "Mine", "config": {}, "compile_config": {"optimizer": sgd}}
    found = save(tmp_path, groups, config)
    (optimizer,) = found.optimizers
    assert [slot.variable for slot in optimizer.slots] == ["vars/0", "zz/0", "zz/1", "aa/0", "aa/1"]
    assert {slot.mapping for slot in optimizer.slots} == {"shape"}


def test_state_without_a_configuration(tmp_path: Path) -> None:
    """Saving .h5 first makes Keras 3 forget the optimizer in the next .keras: its state is inferred and reported."""
    config = {**TWO, "compile_config": {"loss": "mse"}}
    (optimizer,) = save(tmp_path, {**DENSE, "optimizer": ADAM_STATE}, config).optimizers
    assert (optimizer.class_name, optimizer.class_inferred, optimizer.iterations) == ("Adam", True, 7)
    assert "RMSprop" in optimizer.notes[0]


def test_a_configuration_without_state(tmp_path: Path) -> None:
    """Legacy optimizers are dropped when a .keras is saved: they are recorded, without state."""
    legacy = {"class_name": "Adam", "config": {"name": "Adam", "learning_rate": 0.1, "decay": 0.0}}
    config = model(layer("hidden"), layer("out"), optimizer=legacy)
    (optimizer,) = save(tmp_path, DENSE, config, version="2.15.0").optimizers
    assert (optimizer.class_name, optimizer.has_state) == ("Adam", False)
    assert optimizer.generation is Generation.OPTIMIZER_V2


def test_works_without_metadata_and_says_without_weights(tmp_path: Path) -> None:
    """Missing metadata is no matter, missing weights are an error by name."""
    assert save(tmp_path, {**DENSE, "optimizer": ADAM_STATE}, version=None).producer == Producer()
    path = tmp_path / "empty.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(UnreadableArtifact, match=r"neither model\.weights\.h5 nor"):
        keras_archive.read(str(path))


def test_npz_weights_of_plain_arrays(tmp_path: Path) -> None:
    """The npz store keeps each object's variables in a pickle; arrays in it are read, and where they lie."""
    inner = tmp_path / "w.npz"
    stores: Groups = {"layers/dense": [(3, 4), (4,)], "layers/dense_1": [(4, 2), (2,)], "optimizer": ADAM_STATE}
    arrays = {
        group: {str(i): np.full(v, 0.5, "f4") if isinstance(v, tuple) else v for i, v in enumerate(each)}
        for group, each in stores.items()
    }
    with open(inner, "wb") as stream:
        np.savez(stream, **{group: np.array(each, dtype=object) for group, each in arrays.items()})  # type: ignore[arg-type]
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(TWO))
        archive.write(inner, "model.weights.npz")
    found = keras_archive.read(str(path))
    assert [each.path for each in found.variables] == ["hidden/kernel", "hidden/bias", "out/kernel", "out/bias"]
    assert (found.optimizers[0].iterations, len(found.optimizers[0].slots)) == (7, 8)


# ------------------------------------------------------------------------------------------------ weights alone


def test_weights_alone_use_the_labels(tmp_path: Path) -> None:
    """`.weights.h5` has no configuration: names come from Keras 3.6's labels, the class from the state."""
    path = weights(tmp_path / "m.weights.h5", {**DENSE, "optimizer": ADAM_STATE}, labels={"layers/dense": "hidden"})
    found = hdf5_file.read(str(path))
    assert found.format is Format.KERAS_WEIGHTS
    assert [each.path for each in found.variables] == ["hidden/kernel", "hidden/bias", "dense_1/kernel", "dense_1/bias"]
    assert [each.trainable for each in found.variables] == [None] * 4
    (optimizer,) = found.optimizers
    assert (optimizer.class_name, optimizer.class_inferred, optimizer.generation) == ("Adam", True, Generation.KERAS3)
    assert [slot.variable for slot in optimizer.slots][::2] == [each.path for each in found.variables]


def test_metrics_tell_tensorflows_keras(tmp_path: Path) -> None:
    """Only TensorFlow's Keras saves metrics: its list has no learning rate, and the metrics are no variables."""
    state = [ADAM_STATE[0], *ADAM_STATE[2:]]
    path = weights(tmp_path / "m.weights.h5", {**DENSE, "metrics/mean": [np.float32(1)], "optimizer": state})
    found = hdf5_file.read(str(path))
    assert found.optimizers[0].generation is Generation.KERAS2
    assert len(found.optimizers[0].slots) == 8
    assert [each.key for each in found.others] == ["metrics/mean/vars/0"]


def test_strange_names_among_the_state(tmp_path: Path) -> None:
    """Names that are no plain numbers are passed over and told; a gap in the numbers is told."""
    path = weights(tmp_path / "m.weights.h5", {**DENSE, "optimizer": ADAM_STATE})
    with h5py.File(path, "r+") as file:
        for name in ("-1", "03", "9" * 400, "junk"):
            file[f"optimizer/vars/{name}"] = np.float32(1)
        del file["optimizer/vars/4"]
    found = hdf5_file.read(str(path))
    assert [oddity.code for oddity in found.oddities] == ["I007", "I005"]
    assert found.optimizers[0].iterations == 7


def test_shards_are_joined(tmp_path: Path) -> None:
    """A group that spans shards is read as one, in the order of its numbers."""
    weights(tmp_path / "m_00000.weights.h5", {**DENSE, "optimizer": ADAM_STATE[:5]})
    weights(tmp_path / "m_00001.weights.h5", {"optimizer": ADAM_STATE[5:]}, first=5)
    both = ["m_00000.weights.h5", "m_00001.weights.h5"]
    path = tmp_path / "m.weights.json"
    mapping = {"/layers/dense/vars": both[:1], "/layers/dense_1/vars": both[0], "/optimizer/vars": both}
    path.write_text(json.dumps({"metadata": {"total_size": 1.0}, "weight_map": mapping}))
    found = keras_weights.read(str(path))
    assert (found.optimizers[0].iterations, len(found.optimizers[0].slots)) == (7, 8)
    assert not found.oddities
    (tmp_path / both[1]).unlink()
    assert [oddity.code for oddity in keras_weights.read(str(path)).oddities] == ["I002"]


@pytest.mark.parametrize("name", ["../x.h5", "/etc/passwd", "a/b.h5", "", ".", "..", 3, None, "a\0b"])
def test_shards_lie_beside_their_list(tmp_path: Path, name: object) -> None:
    """A shard's name that is anything but a file beside the list is refused."""
    path = tmp_path / "m.weights.json"
    path.write_text(json.dumps({"weight_map": {"/optimizer/vars": [name]}}))
    with pytest.raises(UnreadableArtifact, match="no file beside it"):
        keras_weights.read(str(path))


def test_low_rank_adapters_are_trained_and_not_stored(tmp_path: Path) -> None:
    """Keras merges them into the kernel on saving; the configuration's `lora_rank` says what the slots are of."""
    shapes = [(4,), (3, 2), (2, 4), (4, 2), (2,)]
    state = save(
        tmp_path,
        {**DENSE, "optimizer": [np.int64(7), np.float32(0.5), *(shape for shape in shapes for _ in "mv")]},
        model(layer("hidden", lora_rank=2), layer("out", lora_rank=None)),
    )
    owners = [slot.variable for slot in state.optimizers[0].slots[::2]]
    assert owners == ["hidden/bias", "hidden/lora_kernel_a", "hidden/lora_kernel_b", "out/kernel", "out/bias"]
    frozen = [variable.path for variable in state.variables if variable.trainable is False]
    assert frozen == ["hidden/kernel"]
    assert [variable.path for variable in state.variables if variable.tensor.location is None] == owners[1:3]


@pytest.mark.parametrize("version", ["2.12.0", "2.15.0"])
def test_written_on_windows(version: str, tmp_path: Path) -> None:
    """Parts of paths are joined by backslashes there: metrics are no weights, layers have their names."""
    kept = [np.int64(7), *(shape for shape in [(3, 4), (4,), (4, 2), (2,)] for _ in "mv")]
    config = {"class_name": "Adam", "config": {"name": "Adam", "is_legacy_optimizer": False}}
    numbers = ("dense", "dense_2") if version == "2.12.0" else ("dense", "dense_1")
    holder = "_layer_checkpoint_dependencies" if version == "2.12.0" else "layers"
    groups: Groups = dict(zip((f"{holder}\\{each}" for each in numbers), DENSE.values(), strict=True))
    groups |= {"metrics\\mean": [(), ()], "optimizer": kept, "optimizer\\inner_optimizer": kept}
    found = save(tmp_path, groups, model(layer("hidden"), layer("out"), optimizer=config), version=version)
    assert [each.path for each in found.variables] == ["hidden/kernel", "hidden/bias", "out/kernel", "out/bias"]
    (optimizer,) = found.optimizers
    assert [slot.variable for slot in optimizer.slots[::2]] == [each.path for each in found.variables]
    assert optimizer.wrapper is not None
    alone = hdf5.read(str(weights(tmp_path / "m.weights.h5", groups)))
    assert len(alone.variables) == 4
    assert len(alone.optimizers[0].slots) == 8


@pytest.mark.parametrize("name", ["adam", "Adam", "ADAM"])
@pytest.mark.parametrize(("version", "generation"), [("2.15.0", Generation.KERAS2), ("3.15.1", Generation.KERAS3)])
def test_compiled_with_a_name(name: str, version: str, generation: Generation, tmp_path: Path) -> None:
    """compile(optimizer="adam"), as most scripts have it: the class with the defaults of its generation."""
    kept = ADAM_STATE if generation is Generation.KERAS3 else [ADAM_STATE[0], *ADAM_STATE[2:]]
    config = model(*TWO["config"]["layers"], optimizer=name)
    found = save(tmp_path, {**DENSE, "optimizer": kept}, config, version=version)
    (optimizer,) = found.optimizers
    assert (optimizer.class_name, optimizer.class_inferred, optimizer.generation) == ("Adam", False, generation)
    assert optimizer.hyperparameters["beta_2"] == 0.999
    assert len(optimizer.slots) == 8
    none = save(tmp_path, DENSE, config, version=version)
    assert none.optimizers[0].class_name == "Adam"
    assert not none.optimizers[0].has_state


def test_weights_where_a_user_block_would_end(tmp_path: Path) -> None:
    """A member that lies at byte 512 of an archive makes it no HDF5 file with a user block."""
    inner = weights(tmp_path / "w.h5", {**DENSE, "optimizer": ADAM_STATE}).read_bytes()
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("p", b" " * (512 - 30 - len("p") - 30 - len("model.weights.h5")))
        archive.writestr("model.weights.h5", inner)
        archive.writestr("config.json", json.dumps(TWO))
    assert path.read_bytes()[512:516] == b"\x89HDF"
    (found,) = ckptdoctor.inspect(path)
    assert found.format is Format.KERAS_ARCHIVE
    assert found.state is not None
    assert found.state.optimizers[0].class_name == "Adam"
