"""Averages and weights in each other's place, and optimizers that begin anew, in every format of Keras' optimizers."""

from __future__ import annotations

import shlex
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.commands import ckptdoctor as command
from support.museum import unpack

import ckptdoctor
from ckptdoctor.errors import CkptDoctorError, Refused
from ckptdoctor.grafting.building.kept import by_key
from ckptdoctor.state import Role, TrainingState

ENDINGS = (".weights.h5", ".weights.json", ".keras", ".h5")


def state(path: Path) -> TrainingState:
    """What an artifact holds."""
    (found,) = ckptdoctor.inspect(path)
    assert found.state is not None, found.error
    return found.state


def values(held: TrainingState) -> dict[str, bytes]:
    """Every tensor's bytes by its key."""
    return {key: ref.numpy().tobytes() for key, ref in by_key(held).items() if ref.dtype != "string"}


def output(folder: Path, source: Path) -> Path:
    """A name for a copy, under which it is loaded."""
    return folder / f"out{next((each for each in ENDINGS if source.name.endswith(each)), '')}"


# ------------------------------------------------------------------------------------------------------------ averages


@pytest.mark.parametrize(
    "path",
    [
        "orbax-keras3.15-jax/ema",
        "tf/v2.21-tf1-adam_ema",
        "tf/v1.12-tf1-adam_ema",
        "tf/v2.12-tfk-ckpt-ema",
        "tf/v2.16-k3-ckpt-ema",
    ],
)
def test_in_and_out(museum: Path, tmp_path: Path, path: str) -> None:
    """Each weight is its average then and the other way round, nothing else changes, and it can be undone."""
    before = state(museum / path)
    ckptdoctor.repair(museum / path, tmp_path / "in", fixes=["averages"])
    after = state(tmp_path / "in")
    weights = {each.path: each.tensor for each in before.variables}
    pairs = {
        slot.tensor.key: weights[slot.variable or ""].key
        for each in before.optimizers
        for slot in each.slots
        if slot.role is Role.MOVING_AVERAGE
    }
    assert len(pairs) == 4
    pairs |= {weight: average for average, weight in pairs.items()}
    old = values(before)
    assert values(after) == {key: old[pairs.get(key, key)] for key in old}
    ckptdoctor.repair(tmp_path / "in", tmp_path / "out", fixes=["averages"])
    assert values(state(tmp_path / "out")) == old


def test_the_finding_names_it(museum: Path, tmp_path: Path) -> None:
    """Where values were read and averages are others than the weights, its hint ends with a command that works."""
    for each in (museum / "tf/v2.16-k3-ckpt-ema").iterdir():
        shutil.copy(each, tmp_path)
    hints = [
        each.hint for each in ckptdoctor.check(tmp_path / "ckpt", deep=True).results[0].findings if each.code == "S012"
    ]
    words = shlex.split(hints[0].partition("in the file: ckptdoctor ")[2])
    assert command(*words).code == 0
    assert (tmp_path / "ckpt-repaired.index").exists()


@pytest.mark.parametrize("name", ["movingaverage_adam", "swa_momentum"])
def test_of_tensorflow_addons(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, name: str) -> None:
    """Its wrappers keep averages as slots."""
    folder = unpack(tmp_path_factory.mktemp("addons"), "addons.tar.xz") / "tfa0.20"
    for source in (folder / f"{name}-h5.h5", folder / f"{name}-ckpt"):
        old, back = values(state(source)), output(tmp_path / "back", source)
        back.parent.mkdir(exist_ok=True)
        for start, goal in ((source, output(tmp_path, source)), (output(tmp_path, source), back)):
            ckptdoctor.repair(start, goal, fixes=["averages"], overwrite=True)
        assert values(state(output(tmp_path, source))) != old == values(state(back))


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("keras3.6-jax/adam_ema_accum-keras.keras", "swapped in already"),
        ("keras/k3.15tf-adam_ema-h5.h5", "swapped in already"),
        ("keras/k3.15tf-adam-h5.h5", "nothing to mend"),
    ],
)
def test_nothing_to_swap(museum: Path, tmp_path: Path, path: str, said: str) -> None:
    """Where the averages are the weights already, or there are none, that is said and nothing is written."""
    out = output(tmp_path, museum / path)
    with pytest.raises(CkptDoctorError, match=said):
        ckptdoctor.repair(museum / path, out, fixes=["averages"])
    assert not list(tmp_path.iterdir())


def test_only_the_place_tells(museum: Path, tmp_path: Path) -> None:
    """Averages in the order of the model are taken for its variables', unless their values fit the other way round."""
    source = tmp_path / "model"
    with zipfile.ZipFile(museum / "keras/k3.15jax-sameshape-keras.keras") as archive:
        archive.extractall(source)
    config = source / "config.json"
    config.write_text(config.read_text().replace('"use_ema": false', '"use_ema": true'))
    with h5py.File(str(source / "model.weights.h5"), "r+") as file:
        held = file["optimizer/vars"]
        old = [held[str(number)][()] for number in range(len(held))]
        weights = [file[f"layers/{name}/vars/0"][()] for name in ("dense", "dense_1", "dense_2")]
        new = [*old[:2], *(each * np.float32(0.9) for each in weights), *old[2:]]
        for name in list(held):
            del held[name]
        for number, each in enumerate(new):
            held[str(number)] = each
    ckptdoctor.repair(source, tmp_path / "out", fixes=["averages"])
    assert state(tmp_path / "out").variables[1].tensor.numpy().tobytes() == new[3].tobytes()
    with h5py.File(str(source / "model.weights.h5"), "r+") as file:
        for name, each in (("2", new[3]), ("3", new[2])):
            file[f"optimizer/vars/{name}"][...] = each
    with pytest.raises(Refused, match="the other way round"):
        ckptdoctor.repair(source, tmp_path / "again", fixes=["averages"])
    assert not (tmp_path / "again").exists()


# --------------------------------------------------------------------------------------------------------------- reset


@pytest.mark.parametrize(
    ("path", "begins"),
    [
        ("keras/k1.2.2-adam_decay-h5.h5", {"m": 0.0, "v": 0.0}),
        ("keras/k2.2.4-nadam-h5.h5", {"m": 0.0}),
        ("keras/tf2.4-ftrl-h5.h5", {"accumulator": 0.1, "linear": 0.0}),
        ("keras/k3.15tf-adam-wjson.weights.json", {"momentum": 0.0}),
        ("keras/k3.15lo-adam-wjson.weights.json", {"momentum": 0.0}),
        ("keras/k3.15tf-adam-dir", {"velocity": 0.0}),
        ("keras/tf2.15-adam_ema-keras.keras", {"average": None, "m": 0.0}),
        ("keras/k3.15jax-adam_ema-keras.keras", {"average": 0.0}),
        ("tf/v2.21-tf1-adam_ema", {"m": 0.0, "ExponentialMovingAverage": None}),
        ("tf/v1.15-tf1-rmsprop", {"rms": 1.0, "momentum": 0.0}),
        ("tf/v1.12-tf1-two_adams", {"m": 0.0}),
        ("tf/v2.10-tfk-ckpt-adagrad", {"accumulator": 0.1}),
        ("tf/v2.15-tfk-ckpt-nadam", {"v": 0.0}),
        ("tf/v2.21-tfk_pkg-sm-adam", {"v": 0.0}),
        ("orbax-keras3.15-jax/ema", {"average": 0.0, "momentum": 0.0}),
    ],
)
def test_a_new_optimizer(museum: Path, tmp_path: Path, path: str, begins: dict[str, float | None]) -> None:
    """Slots as the class builds them (None: as the weights are), the count is 0; weights and settings stay."""
    source = museum / path
    before, out = state(source), output(tmp_path, source)
    ckptdoctor.repair(source, out, fixes=["reset"])
    after = state(out)
    weights = {each.path: each.tensor.numpy() for each in after.variables}
    for old, new in zip(before.optimizers, after.optimizers, strict=True):
        assert new.iterations in {0, None}
        assert new.hyperparameters == old.hyperparameters
        assert begins.keys() <= {slot.name for slot in new.slots}
        for slot in new.slots:
            start = begins.get(slot.name, 0.0)
            wanted = weights[slot.variable or ""] if start is None else np.float32(start)
            assert (slot.tensor.numpy() == wanted).all(), slot
        powers = {each.name: each.value for each in new.other if "power" in each.name}
        assert all(abs(float(each or 0) - (0.9 if "beta1" in name else 0.999)) < 1e-6 for name, each in powers.items())
        singles = [each.value for each in new.other if each.name.strip("_") in {"u_product", "momentum_cache"}]
        assert singles == [1.0] * len(singles)
    kept = {each.tensor.key: each.tensor.numpy().tobytes() for each in before.variables}
    assert {each.tensor.key: each.tensor.numpy().tobytes() for each in after.variables} == kept
    assert "S005" not in {each.code for each in ckptdoctor.check(out, deep=True).results[0].findings}


@pytest.mark.parametrize(
    "path", ["keras/k3.15lo-lossscale_adam-keras.keras", "keras/k3.15tf-lossscale_adam-wh5.weights.h5"]
)
def test_what_is_stored_twice(museum: Path, tmp_path: Path, path: str) -> None:
    """A LossScaleOptimizer writes the optimizer in it a second time; both are the same then, and the scale stays."""
    out = output(tmp_path, museum / path)
    done = ckptdoctor.repair(museum / path, out, fixes=["reset"])
    assert done.done[0].told[1] == "the loss scale stays at 32768"
    after = state(out)
    assert after.optimizers[0].wrapper is not None
    assert after.optimizers[0].wrapper.loss_scale == 32768.0
    inner = {ref.key.rpartition("/")[2]: ref for ref in after.others if "inner_optimizer" in ref.key}
    outer = by_key(after)
    assert len(inner) > 8
    for number, ref in inner.items():
        twin = outer[f"optimizer/vars/{int(number) + 4}"]
        assert ref.numpy().tobytes() == twin.numpy().tobytes()


@pytest.mark.parametrize("how", ["gzip", "chunked", ">f4"])
def test_stored_in_another_way(museum: Path, tmp_path: Path, how: str) -> None:
    """Packed, in chunks or in another byte order, as other tools write HDF5, values are exchanged all the same."""
    source = tmp_path / "a.h5"
    shutil.copy(museum / "keras/tf2.4-ftrl-h5.h5", source)
    known: dict[str, dict[str, Any]] = {"gzip": {"compression": "gzip"}, "chunked": {"chunks": True}}
    options = known.get(how, {"dtype": how})
    with h5py.File(str(source), "r+") as file:
        names: list[str] = []
        file["optimizer_weights"].visititems(lambda name, each: names.append(name) if hasattr(each, "shape") else None)
        for name in (each for each in names if file["optimizer_weights"][each].shape):
            data = file["optimizer_weights"][name][()]
            del file["optimizer_weights"][name]
            file["optimizer_weights"].create_dataset(name, data=data, **options)
    ckptdoctor.repair(source, tmp_path / "b.h5", fixes=["reset"])
    slots = state(tmp_path / "b.h5").optimizers[0].slots
    held = [slot.tensor.numpy() for slot in slots if slot.name == "accumulator"]
    assert len(held) == 4
    assert all((each == np.float32(0.1)).all() for each in held)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("keras/k3.15tf-multi-h5.h5", "is not known"),
        ("keras/k3.15tf-adam-npzkeras.keras", "npz"),
        ("tf/v2.21-tf1-adam_v1", "V1 checkpoint are not exchanged"),
        ("keras/tf2.4-uncompiled-h5.h5", "nothing to mend"),
        ("keras/tf2.4-adam-getw.npz", "are not exchanged"),
    ],
)
def test_what_is_not_reset(museum: Path, tmp_path: Path, path: str, said: str) -> None:
    """One sentence, and nothing is written."""
    source = museum / path
    out = tmp_path / source.name
    with pytest.raises(Refused, match=said):
        ckptdoctor.repair(source, out, fixes=["reset"])
    assert not list(tmp_path.iterdir())


def test_a_class_that_nothing_tells(museum: Path, tmp_path: Path) -> None:
    """Where a list may be of classes that begin differently, no guess is made; values rule out some."""
    source = tmp_path / "a.weights.h5"
    shutil.copy(museum / "keras/k3.15tf-adam-wh5.weights.h5", source)
    ckptdoctor.repair(source, tmp_path / "b.weights.h5", fixes=["reset"])  # moments below 0 are no accumulators
    with h5py.File(str(source), "r+") as file:
        for number, each in file["optimizer/vars"].items():
            if int(number) > 1:
                each[...] = abs(each[...]) + 0.1
    with pytest.raises(Refused, match="nothing tells whether optimizer is Adam or Ftrl"):
        ckptdoctor.repair(source, tmp_path / "c.weights.h5", fixes=["reset"])


@pytest.mark.parametrize(("value", "code"), [(np.nan, "V001"), (-1.0, "V002")])
def test_slots_that_cannot_be(museum: Path, tmp_path: Path, value: float, code: str) -> None:
    """Where only slots are broken, the finding's hint lets the optimizer begin anew, and then it is gone."""
    source = tmp_path / "a.h5"
    shutil.copy(museum / "keras/tf2.4-ftrl-h5.h5", source)
    key = next(each.tensor.key for each in state(source).optimizers[0].slots if each.name == "accumulator")
    with h5py.File(str(source), "r+") as file:
        file[key][0] = value
    found = {each.code: each.hint for each in ckptdoctor.check(source, deep=True).results[0].findings}
    assert command(*shlex.split(found[code].partition("anew: ckptdoctor ")[2])).code == 0
    left = ckptdoctor.check(tmp_path / "a-repaired.h5", deep=True).results[0].findings
    assert code not in {each.code for each in left}
    with h5py.File(str(source), "r+") as file:
        file[state(source).variables[0].tensor.key][0] = np.nan
    found = {each.code: each.hint for each in ckptdoctor.check(source, deep=True).results[0].findings}
    assert "reset" not in found["V001"]


def test_in_place(museum: Path, tmp_path: Path) -> None:
    """A checkpoint of several files takes its own name again, and the original of each is kept."""
    for each in (museum / "tf/v2.10-tfk-ckpt-adam").iterdir():
        shutil.copy(each, tmp_path / each.name)
    (prefix,) = [each.with_suffix("") for each in tmp_path.glob("*.index")]
    old = values(state(prefix))
    ckptdoctor.repair(prefix, in_place=True, fixes=["reset"])
    assert state(prefix).optimizers[0].iterations == 0
    for each in list(tmp_path.glob("*.bak")):
        each.rename(str(each)[: -len(".bak")])
    assert values(state(prefix)) == old
