"""The benchmarks' inputs, made without TensorFlow.

`python inputs.py NAME FOLDER [MEGABYTES]` writes one and prints its path.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402 - after the path
from support.bundles import Tensor, array, write_bundle, zeros  # noqa: E402
from support.objects import legacy, model, tracked, variables, write_model, write_objects  # noqa: E402

MANY = 30_000
"""Variables of the large checkpoints: with m and v, 90,000 tensors."""


def small(folder: Path) -> str:
    """Two dense layers and Adam: 4 variables, 8 slots."""
    return write_model(folder / "small" / "ckpt-7")


def many_names(folder: Path) -> str:
    """30,000 variables with Adam's slots, by a tf.compat.v1 Saver."""
    tensors: dict[str, Tensor] = {
        "global_step": array(7, "int64"),
        "beta1_power": array(0.43),
        "beta2_power": array(0.99),
    }
    for number in range(MANY):
        name = f"model/block_{number // 16:05d}/layer_{number % 16:02d}/kernel"
        for suffix in ("", "/Adam", "/Adam_1"):
            tensors[name + suffix] = zeros((2, 2))
    return write_bundle(folder / "names" / "model.ckpt-7", tensors)


def many_objects(folder: Path) -> str:
    """30,000 variables with a legacy Adam, by tf.train.Checkpoint."""
    net = model({f"block_{number // 16:05d}/layer_{number % 16:02d}/kernel": (2, 2) for number in range(MANY)})
    return write_objects(folder / "objects" / "ckpt-7", tracked(model=net, optimizer=legacy(variables(net))))


def whole_h5(folder: Path) -> str:
    """A whole model of 50 layers by Keras 3, in HDF5: 100 variables, 200 slots."""
    path = folder / "whole.h5"
    write_layers(path, layers=50, units=64)
    return str(path)


def large_archive(folder: Path) -> str:
    """A `.keras` of 400 MB: 11 layers of 12 MB and Adam's slots, stored without compression as Keras does."""
    path, weights = folder / "large.keras", folder / "model.weights.h5"
    write_store(weights, layers=11, shape=(3072, 1024))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "2026-11-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(model_config(11, 1024)))
        archive.write(weights, "model.weights.h5")
    weights.unlink()
    return str(path)


def trained_checkpoint(folder: Path, megabytes: int = 1024) -> str:
    """A checkpoint by tf.train.Checkpoint of a model that Adam has trained: weights and moments as they come."""
    weights, first, second = _moments(_ROWS)
    count = max(1, megabytes // 3 // (_ROWS * 4096 >> 20))
    net = model({f"block_{number:03d}/kernel": (1, 1) for number in range(count)})
    for each in variables(net):
        each.value = array(weights)
    optimizer = legacy(variables(net))
    for _, kind, slot in optimizer.slots:
        slot.value = array(first if kind == "m" else second)
    return write_objects(folder / "trained" / "ckpt-7", tracked(model=net, optimizer=optimizer))


def trained_archive(folder: Path, megabytes: int = 1024) -> str:
    """The same as a `.keras`."""
    count = max(1, megabytes // 3 // (_ROWS * 4096 >> 20))
    path, weights = folder / "trained.keras", folder / "model.weights.h5"
    write_store(weights, layers=count, shape=(_ROWS, 1024), values=_moments(_ROWS))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "2026-11-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(model_config(count, 1024)))
        archive.write(weights, "model.weights.h5")
    weights.unlink()
    return str(path)


def trained_h5(folder: Path, megabytes: int = 1024) -> str:
    """The same as a whole model in HDF5: layers of 16 MB."""
    path = folder / "trained.h5"
    write_layers(path, layers=max(1, megabytes // 3 // 16), units=2048, values=_moments(2048, 2048))
    return str(path)


_ROWS = 4096
"""Of 1,024 numbers: variables of 16 MB."""


def _moments(rows: int, columns: int = 1024) -> tuple[Any, Any, Any]:
    """Weights, and first and second moments as Adam has them."""
    generator = np.random.default_rng(7)
    weights = generator.standard_normal((rows, columns), dtype=np.float32) * np.float32(0.05)
    gradients = generator.standard_normal((rows, columns), dtype=np.float32) * np.float32(0.01)
    return weights, gradients * np.float32(0.1), np.square(gradients) + np.float32(1e-8)


def adam_config() -> dict[str, Any]:
    """A Keras 3 Adam, as `config.json` has it."""
    return {
        "module": "keras.optimizers", "class_name": "Adam", "registered_name": None,
        "config": {
            "name": "adam", "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False,
        },
    }  # fmt: skip


def model_config(layers: int, units: int) -> dict[str, Any]:
    """A compiled Sequential of that many dense layers."""
    dense = [
        {
            "module": "keras.layers",
            "class_name": "Dense",
            "config": {"name": dense_name(at), "units": units, "use_bias": False},
        }
        for at in range(layers)
    ]
    return {
        "module": "keras", "class_name": "Sequential", "config": {"name": "sequential", "layers": dense},
        "compile_config": {"optimizer": adam_config(), "loss": "mse"},
    }  # fmt: skip


def dense_name(number: int) -> str:
    """What Keras calls the n-th dense layer."""
    return f"dense_{number}" if number else "dense"


def write_store(path: Path, *, layers: int, shape: tuple[int, int], values: tuple[Any, Any, Any] | None = None) -> None:
    """Writes a `model.weights.h5` with Adam's state, a variable and two slots a layer: these values, or zeros."""
    import h5py

    with h5py.File(str(path), "w") as file:
        weights, *slots = values or (np.zeros(shape, np.float32),) * 3
        for number in range(layers):
            file[f"layers/{dense_name(number)}/vars/0"] = weights
        file["optimizer/vars/0"] = np.int64(7)
        file["optimizer/vars/1"] = np.float32(0.001)
        for number in range(2 * layers):
            file[f"optimizer/vars/{2 + number}"] = slots[number % 2]


def write_layers(path: Path, *, layers: int, units: int, values: tuple[Any, Any, Any] | None = None) -> None:
    """Writes a whole model in the legacy HDF5 layout with Adam's state: two variables and four slots a layer.

    Kernels and their slots are of these values, or of zeros.
    """
    import h5py

    with h5py.File(str(path), "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = "3.15.1", "tensorflow"
        config = model_config(layers, units)
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config["config"]})
        file.attrs["training_config"] = json.dumps({"optimizer_config": adam_config(), "loss": "mse"})
        weights, names = file.create_group("model_weights"), []
        _write_names(weights, "layer_names", [dense_name(number).encode() for number in range(layers)])
        slots = file.create_group("optimizer_weights")
        slots["iteration"], slots["learning_rate"] = np.int64(7), np.float32(0.001)
        for number in range(layers):
            group = weights.create_group(dense_name(number))
            own = [f"sequential/{dense_name(number)}/{part}" for part in ("kernel", "bias")]
            group.attrs["weight_names"] = [name.encode() for name in own]
            for name, shape in zip(own, ((units, units), (units,)), strict=True):
                own_values = values if values is not None and len(shape) > 1 else (np.zeros(shape, np.float32),) * 3
                group[name] = own_values[0]
                for kind, value in zip(("momentum", "velocity"), own_values[1:], strict=True):
                    slot = f"adam/{name.replace('/', '_')}_{kind}"
                    slots[slot] = value
                    names.append(slot.encode())
        _write_names(slots, "weight_names", [b"iteration", b"learning_rate", *names])


def _write_names(group: Any, attribute: str, names: list[bytes]) -> None:
    """A list of names in as many attributes as it takes (keras `save_attributes_to_hdf5_group`)."""
    values, count = np.asarray(names), 1
    while any(part.nbytes > 64_512 for part in np.array_split(values, count)):
        count += 1
    for number, part in enumerate(np.array_split(values, count)):
        group.attrs[attribute if count == 1 else f"{attribute}{number}"] = part


INPUTS: dict[str, Callable[..., str]] = {
    each.__name__: each
    for each in (
        small, many_names, many_objects, whole_h5, large_archive, trained_checkpoint, trained_archive, trained_h5,
    )
}  # fmt: skip

if __name__ == "__main__":
    sys.stdout.write(INPUTS[sys.argv[1]](Path(sys.argv[2]), *map(int, sys.argv[3:])) + "\n")
