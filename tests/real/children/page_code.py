"""Makes what the pages of the rules speak of, and runs their code on it, for test_pages_real.py.

python page_code.py make FOLDER
python page_code.py run FOLDER     < {page: [block of code, …]}
python page_code.py resolve        < [dotted name, …]
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import h5py
import keras
import numpy as np
import tensorflow as tf
import tf_keras

STEPS, EARLIER = 7, 3
LIBRARIES = {"tf": tf, "keras": keras, "tf_keras": tf_keras, "h5py": h5py, "numpy": np}
keras.utils.set_random_seed(1)  # mixed precision skips steps from some beginnings
X, Y = np.linspace(-1, 1, 24).reshape(8, 3).astype("float32"), np.linspace(0, 1, 16).reshape(8, 2).astype("float32")

EXPECTED = {
    "I001": 'not os.path.exists("model.part.keras") and steps(keras.saving.load_model("model.keras")) == 0',
    "I003": "steps(model) == 3 and slots(build(model))",
    "I006": "steps(model) == 7 and slots(build(model))",
    "I007": 'steps(keras.saving.load_model("again.keras")) == 7',
    "S001": 'os.path.exists("run/ckpt-1.index")',
    "S002": "steps(model) == 9000",
    "S004": "steps(model) == 7 and slots(model)",
    "S006": "steps(model) == 0",
    "S009": "steps(model) == 7 and slots(model)",
    "S011": "steps(model) == 7 and slots(model)",
    "S012": 'os.path.exists("release.keras")',
    "V005": "numpy.isclose(float(model.optimizer.learning_rate), 1e-4)",
    "L001": "steps(model) == 9000",
    "L002": "steps(model) == 7",
    "P001": 'tf.train.latest_checkpoint("run") == "run/ckpt-9000" and steps(model) == 7',
    "P002": 'steps(keras.saving.load_model("release.keras")) is None'
    ' and "optimizer_weights" not in h5py.File("release.h5")',
    "P003": "steps(model) == 7 and slots(build(model))",
    "P004": 'keras.saving.load_model("model.keras").built',
    "P005": 'tf.train.latest_checkpoint("run") == "run/ckpt-9000"',
    "X001": "steps(keras.Sequential([keras.Input((2,)), Double()])) is None",
    "X002": "all(new[name][()].tolist() == [1, 2, 3] for name in ('plain', 'linked', 'stored', 'virtual'))",
    "X003": "len(arrays.files) == len(model.optimizer.variables)",
}
"""Page → what holds after its code has run."""


def make_model(library: Any = keras, optimizer: Any = None, *, code: bool = False) -> Any:
    """A compiled model of two layers; with `code` a Lambda layer too."""
    inputs = library.Input((3,))
    hidden = library.layers.Dense(4, name="hidden")(inputs)
    hidden = library.layers.Lambda(lambda value: value * 2)(hidden) if code else hidden
    made = library.Model(inputs, library.layers.Dense(2, name="out")(hidden))
    made.compile(optimizer or library.optimizers.Adam(0.01), loss=library.losses.MeanSquaredError())
    return made


def train(trained: Any, steps: int) -> Any:
    """One full batch a step."""
    trained.fit(X, Y, batch_size=len(X), epochs=steps, verbose=0)
    return trained


def steps(trained: Any) -> int | None:
    """The count; the inner one in a LossScaleOptimizer."""
    optimizer = getattr(trained, "optimizer", None)
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return None if optimizer is None else int(optimizer.iterations)


def build(model: Any) -> Any:
    """Builds the optimizer, as the first step does: what was restored before lands in its slots then."""
    model.optimizer.build(model.trainable_variables)
    return model


def slots(trained: Any) -> bool:
    """Whether there are slots that are not zero."""
    arrays = [np.asarray(each) for each in trained.optimizer.variables if len(each.shape)]
    return bool(arrays) and all(array.any() for array in arrays)


def make(folder: Path) -> None:
    """Everything that a page's code or command names."""
    model = make_model()
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    for more, number in ((EARLIER, 8000), (STEPS - EARLIER, 9000)):
        train(model, more)
        checkpoint.save_counter.assign(number - 1)
        checkpoint.save(str(folder / "run" / "ckpt"))
    (folder / "cut").mkdir()
    for each in (folder / "run").glob("ckpt-9000.*"):
        data = each.read_bytes()
        short = data if each.suffix == ".index" else data[: len(data) // 2]
        (folder / "cut" / each.name.replace("-9000", "")).write_bytes(short)
    (folder / "salvaged").mkdir()
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    shutil.copy(folder / "model.keras", folder / "broken.keras")
    np.savez(folder / "optimizer.npz", *[np.asarray(each) for each in model.optimizer.variables])
    model.save(folder / "model.h5")
    averaged = make_model(optimizer=keras.optimizers.Adam(0.5, use_ema=True))
    for _ in range(STEPS):  # as a callback saves it: the end of fit would put the averages in the weights' place
        averaged.train_on_batch(X, Y)
    averaged.save(folder / "epoch-3.keras")
    train(make_model(code=True), STEPS).save(folder / "suspect.keras")
    train(make_model(tf_keras), STEPS).save(folder / "saved_model")
    old = train(make_model(tf_keras, tf_keras.optimizers.legacy.Adam(0.01)), STEPS)
    tf.train.Checkpoint(model=old, optimizer=old.optimizer).write(str(folder / "old" / "ckpt-9000"))
    keras.mixed_precision.set_global_policy("mixed_float16")
    train(make_model(), STEPS).save(folder / "mixed.keras")
    keras.mixed_precision.set_global_policy("float32")
    _make_linked(folder)


def _make_linked(folder: Path) -> None:
    """HDF5 that reads other files, in the three ways that there are."""
    values = np.array([1, 2, 3], "int32")
    with h5py.File(str(folder / "other.h5"), "w") as file:
        file["values"] = values
    values.tofile(folder / "other.raw")
    layout = h5py.VirtualLayout((3,), "int32")  # type: ignore[attr-defined]
    layout[:] = h5py.VirtualSource("other.h5", "values", shape=(3,))  # type: ignore[attr-defined]
    with h5py.File(str(folder / "linked.h5"), "w") as file:
        file["plain"] = values
        file["linked"] = h5py.ExternalLink("other.h5", "values")  # type: ignore[attr-defined]
        file.create_dataset("stored", (3,), "int32", external=[(str(folder / "other.raw"), 0, values.nbytes)])
        file.create_virtual_dataset("virtual", layout)  # type: ignore[attr-defined]


def run(folder: Path, page: str, code: list[str]) -> str:
    """Runs a page's code in a copy of the folder; answers what went wrong."""
    place = folder / f"run-{page}"
    shutil.copytree(folder / "made", place)
    os.chdir(place)
    if page == "S011":
        shutil.copy("mixed.keras", "model.keras")
    fresh = make_model(optimizer=keras.optimizers.Adam(0.5, use_ema=page == "S012"))
    model = train(fresh, 1) if page == "S012" else fresh
    space: dict[str, Any] = {**LIBRARIES, "os": os, "model": model, "optimizer": model.optimizer}
    space["checkpoint"] = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    space.update(steps=steps, slots=slots, build=build)
    try:
        for each in code:
            exec(compile(each, page, "exec"), space)
        if page == "X002":
            os.unlink("other.h5")
            os.unlink("other.raw")
            space["new"] = h5py.File("own.h5")
        if page in EXPECTED and not eval(EXPECTED[page], space):
            return f"not so: {EXPECTED[page]}"
    except Exception:  # noqa: BLE001 - whatever it is, the page is wrong
        return traceback.format_exc(limit=-2)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    return ""


def resolves(name: str, libraries: Mapping[str, Any]) -> bool:
    """Whether a dotted name leads somewhere."""
    first, *rest = name.split(".")
    found = libraries[first]
    for each in rest:
        if not hasattr(found, each):
            return False
        found = getattr(found, each)
    return True


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    elif sys.argv[1] == "run":
        given = json.load(sys.stdin)
        json.dump({page: run(Path(sys.argv[2]), page, code) for page, code in given.items()}, sys.stdout)
    else:
        json.dump([each for each in json.load(sys.stdin) if not resolves(each, LIBRARIES)], sys.stdout)
