"""The legacy HDF5 layout: names in attributes, order in lists, every generation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py as _h5py
import numpy as np
import pytest
from support.whole_models import HIDDEN, OUT, V2_ADAM, layer, save, sequential

from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.keras import hdf5 as hdf5_file
from ckptdoctor.formats.keras.code import code_inside
from ckptdoctor.state import Format, Generation, Producer

h5py: Any = _h5py  # the stubs leave half of it out


def test_a_whole_model(tmp_path: Path) -> None:
    """Weights, configuration and state of tf.keras 2.10 are all found and linked by name."""
    found = save(tmp_path / "m.h5", {"hidden": HIDDEN, "out": OUT}, state=V2_ADAM)
    assert (found.format, found.producer) == (Format.KERAS_H5, Producer("tf.keras", "2.10.0"))
    assert [each.path for each in found.variables] == ["hidden/kernel", "hidden/bias", "out/kernel", "out/bias"]
    (optimizer,) = found.optimizers
    assert (optimizer.class_name, optimizer.generation, optimizer.iterations) == ("Adam", Generation.OPTIMIZER_V2, 7)
    assert optimizer.iterations_key == "optimizer_weights/Adam/iter:0"
    assert [(slot.name, slot.variable, slot.mapping) for slot in optimizer.slots][4:6] == [
        ("v", "hidden/kernel", "name"), ("v", "hidden/bias", "name"),
    ]  # fmt: skip
    assert not optimizer.missing
    assert not found.oddities


def test_the_order_is_the_attributes(tmp_path: Path) -> None:
    """Layers come in the order of `layer_names`, which HDF5's alphabetical order contradicts."""
    layers = {"zz": {"zz/kernel:0": (2, 2)}, "aa": {"aa/kernel:0": (2, 3)}}
    found = save(tmp_path / "m.h5", layers, model=sequential(layer("zz"), layer("aa")))
    assert [each.path for each in found.variables] == ["zz/kernel", "aa/kernel"]


@pytest.mark.parametrize(
    ("version", "order"),
    [("2.0.8", ["z_W", "z_b", "a_W"]), ("2.0.5", ["a_W", "z_W", "z_b"]), ("1.2.2", ["a_W", "z_W", "z_b"])],
)
def test_old_keras_sorts_by_name(tmp_path: Path, version: str, order: list[str]) -> None:
    """Up to Keras 2.0.5 the optimizer holds the weights by name, later in the model's order."""
    layers: Mapping[str, Mapping[str, Any]] = {"z": {"z_W:0": (2, 2), "z_b:0": (2,)}, "a": {"a_W:0": (2, 2)}}
    shapes = {"z_W": (2, 2), "z_b": (2,), "a_W": (2, 2)}
    state = {"Variable:0": np.int64(3), **{f"Variable_{i}:0": shapes[name] for i, name in enumerate(order, 1)}}
    sgd = {"class_name": "SGD", "config": {"lr": 0.1, "momentum": 0.9}}
    model = {"class_name": "Sequential", "config": [layer("z"), layer("a")]}
    found = save(tmp_path / "m.h5", layers, model=model, optimizer=sgd, state=state, version=version)
    assert [slot.variable for slot in found.optimizers[0].slots] == order
    assert {slot.mapping for slot in found.optimizers[0].slots} == {"order"}
    assert found.producer.framework == "keras"


def test_no_count_is_none(tmp_path: Path) -> None:
    """RMSprop of Keras before 2.3 stores no count: it is None, not 0."""
    rmsprop = {"class_name": "RMSprop", "config": {"lr": 0.1, "rho": 0.9}}
    state = {"training/RMSprop/Variable:0": (3, 4), "training/RMSprop/Variable_1:0": (4,)}
    model = sequential(layer("hidden"))
    found = save(tmp_path / "m.h5", {"hidden": HIDDEN}, model=model, optimizer=rmsprop, state=state, version="2.2.4")
    assert found.optimizers[0].iterations is None
    assert [slot.name for slot in found.optimizers[0].slots] == ["rms", "rms"]


def test_what_is_frozen_and_what_never_trains(tmp_path: Path) -> None:
    """Frozen layers, layers in frozen models and statistics are not trained; only the last never were."""
    inner = {"class_name": "Functional", "config": {"name": "inner", "trainable": False, "layers": [layer("deep")]}}
    model = sequential(layer("cold", trainable=False), layer("bn", "BatchNormalization"), inner, layer("warm"))
    layers: Mapping[str, Mapping[str, Any]] = {
        "cold": {"cold/kernel:0": (2, 2)},
        "bn": {"bn/gamma:0": (2,), "bn/moving_mean:0": (2,)},
        "inner": {"deep/kernel:0": (2, 2)},
        "warm": {"warm/kernel:0": (2, 2)},
    }
    found = save(tmp_path / "m.h5", layers, model=model)
    assert {each.path: each.trainable for each in found.variables} == {
        "cold/kernel": False, "bn/gamma": True, "bn/moving_mean": False, "deep/kernel": False, "warm/kernel": True,
    }  # fmt: skip


def test_keras3_trains_its_own_variables_first(tmp_path: Path) -> None:
    """The order of a Keras 3 model: its own variables, then its layers'; bare names get their layer's."""
    layers: Mapping[str, Mapping[str, Any]] = {
        "d": {"kernel": (2, 2)},
        "e": {"kernel": (2, 3)},
        "top_level_model_weights": {"sub/scale": (5,)},
    }
    state = {
        "iteration": np.int32(2), "learning_rate": np.float32(0.1),
        "sub_scale_momentum": (5,), "sub_d_kernel_momentum": (2, 2), "sub_e_kernel_momentum": (2, 3),
    }  # fmt: skip
    sgd = {"class_name": "SGD", "config": {"momentum": 0.9, "loss_scale_factor": None}}
    model = {"class_name": "Sub", "config": {"trainable": True}}
    found = save(tmp_path / "m.h5", layers, model=model, optimizer=sgd, state=state, version="3.0.5")
    assert [each.path for each in found.variables] == ["d/kernel", "e/kernel", "sub/scale"]
    assert [slot.variable for slot in found.optimizers[0].slots] == ["sub/scale", "d/kernel", "e/kernel"]
    assert found.optimizers[0].generation is Generation.KERAS3


def test_an_interrupted_save(tmp_path: Path) -> None:
    """Keras 3's Adafactor cannot be saved so: names repeat and data sets are missing, and the rest is still told."""
    state = {"adafactor/iteration": np.int64(4), "adafactor/learning_rate": np.float32(0.1), "kernel": (3,)}
    listed = [*state, "kernel", "adafactor/m_hidden_kernel_velocity"]
    adafactor = {"class_name": "Adafactor", "config": {"loss_scale_factor": None}}
    layers = {"hidden": {"m/hidden/kernel": (3, 4)}}
    found = save(
        tmp_path / "m.h5", layers, model=sequential(layer("hidden")), optimizer=adafactor, state=state,
        version="3.15.1", listed=listed,
    )  # fmt: skip
    assert [oddity.code for oddity in found.oddities] == ["I005"]
    assert "2 of 5" in found.oddities[0].message
    (optimizer,) = found.optimizers
    assert optimizer.iterations == 4
    assert [(slot.name, slot.variable) for slot in optimizer.slots] == [("r", "m/hidden/kernel")]
    assert {each.name for each in optimizer.missing} == {"c", "velocity"}


def test_a_configuration_without_state(tmp_path: Path) -> None:
    """`include_optimizer=False` and never saved state: the optimizer is recorded and has none."""
    found = save(tmp_path / "m.h5", {"hidden": HIDDEN})
    (optimizer,) = found.optimizers
    assert (optimizer.class_name, optimizer.has_state, optimizer.recorded) == ("Adam", False, True)
    assert save(tmp_path / "n.h5", {"hidden": HIDDEN}, optimizer=None).optimizers == ()


def test_weights_alone(tmp_path: Path) -> None:
    """`save_weights('x.h5')` holds layers and nothing that tells what is trained."""
    found = save(tmp_path / "w.h5", {"hidden": HIDDEN}, model=None, optimizer=None)
    assert found.format is Format.KERAS_H5_WEIGHTS
    assert [each.trainable for each in found.variables] == [None, None]
    assert found.optimizers == ()


def test_code_in_layers_is_told(tmp_path: Path) -> None:
    """A Lambda layer carries code that loading runs."""
    found = save(tmp_path / "m.h5", {"hidden": HIDDEN}, model=sequential(layer("hidden"), layer("l", "Lambda")))
    assert [oddity.code for oddity in found.oddities] == ["X001"]


@pytest.mark.parametrize(
    "model",
    [[], {"class_name": [], "config": {"layers": [1, None, {"config": 3}, {"class_name": {}}]}}, {"config": None}, 7],
)
def test_strange_configurations_are_survived(tmp_path: Path, model: object) -> None:
    """A configuration of any other shape than Keras' tells nothing, and stops nothing."""
    found = save(tmp_path / "m.h5", {"hidden": HIDDEN, "out": OUT}, model=model, state=V2_ADAM)
    assert len(found.optimizers[0].slots) == 8


def test_other_hdf5_is_told_apart(tmp_path: Path) -> None:
    """HDF5 without a Keras layout is an error that says what it holds instead."""
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(UnreadableArtifact, match=r"without a Keras model.*images"):
        hdf5_file.read(str(path))


@pytest.mark.parametrize(
    ("version", "framework"),
    [("1.2.2", "keras"), ("2.3.1", "keras"), ("2.2.4-tf", "tf.keras"), ("2.4.0", "tf.keras"), ("2.15.0", "tf.keras"),
     ("2.16.0", "tf_keras"), ("2.21.0", "tf_keras"), ("3.15.1", "keras")],
)  # fmt: skip
def test_versions_name_their_package(tmp_path: Path, version: str, framework: str) -> None:
    """The version that is written tells which of the three packages wrote it."""
    assert save(tmp_path / "m.h5", {"hidden": HIDDEN}, version=version).producer == Producer(framework, version)


@pytest.mark.parametrize(
    ("count", "said"), [(1, "1 Lambda layer carries Python code"), (2, "2 Lambda layers carry Python code")]
)
def test_numbers_of_lambda_layers(count: int, said: str) -> None:
    """One layer carries, several carry."""
    (oddity,) = code_inside([{"class_name": "Lambda"}] * count)
    assert oddity.message.startswith(said)


@pytest.mark.parametrize(("second", "copies"), [(0.5, 2), (0.25, 0)])
def test_a_layer_used_in_and_outside_of_a_nested_model_is_one(tmp_path: Path, second: float, copies: int) -> None:
    """It is stored twice and trained once; a layer of the same name with other values is another one."""
    outside = {"hidden/kernel:0": np.full((3, 4), second, "f4"), "hidden/bias:0": (4,)}
    state = save(
        tmp_path / "m.h5",
        {"inner": {**HIDDEN, "own/kernel:0": (4, 3)}, "hidden": outside},
        model=sequential(layer("inner"), layer("hidden")),
        state={"Adam/iter:0": np.int64(7), "Adam/hidden/kernel/m:0": (3, 4), "Adam/hidden/kernel/v:0": (3, 4)},
    )
    assert len(state.others) == copies
    assert len(state.variables) == 5 - copies
    assert [slot.variable is not None for slot in state.optimizers[0].slots] == [copies > 0] * 2
