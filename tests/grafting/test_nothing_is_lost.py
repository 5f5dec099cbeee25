"""What the target held and the plan does not replace is in the result, for artifacts of the museum.

The files themselves are compared, not what our readers make of them.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.bundles import Tensor, array, split, write_bundle, write_state, write_v1

import ckptdoctor
from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.containers.bundles.v1 import read_v1
from ckptdoctor.containers.tensors.values import chunks
from ckptdoctor.errors import GraftRefused
from ckptdoctor.grafting.building.receipt import Receipt

FORMATS = (
    "tf-checkpoint", "tf-checkpoint-v1", "saved-model", "keras-h5", "keras-archive", "keras-weights", "optimizer-dump",
)  # fmt: skip
_OPTIMIZERS = ("optimizer_weights", "optimizer")


def _in_hdf5(file: Any) -> list[str]:
    with h5py.File(file) as opened:
        found: list[str] = []
        opened.visititems(lambda name, each: found.append(name) if isinstance(each, h5py.Dataset) else None)
    # Elements of an optimizer's list are numbered, or named after their class: there their number is what counts.
    own = [name for name in found if name.startswith(_OPTIMIZERS)]
    return sorted(set(found) - set(own)) + [f"element {number}" for number in range(len(own))]


def _in_pickle(path: Path) -> list[str]:
    with path.open("rb") as file:
        root = pickle.load(file)
    return [f"element {number}" for number, _ in enumerate(root)] if isinstance(root, (list, tuple)) else []


def _held(path: Path, form: str) -> set[str]:
    """The names of all tensors in a file."""
    if form == "tf-checkpoint-v1" and not path.with_name(f"{path.name}.index").exists():
        return set(read_v1(str(path)).tensors)
    if form in {"tf-checkpoint", "tf-checkpoint-v1"}:
        return set(read_bundle(str(path)).tensors)
    if form == "saved-model":
        return set(read_bundle(str(path / "variables" / "variables")).tensors)
    if path.is_dir():  # an unpacked archive
        return set().union(*(_in_hdf5(each) for each in path.rglob("*.h5")))
    if form == "keras-archive":
        with zipfile.ZipFile(path) as archive:
            names = {name for name in archive.namelist() if not name.endswith(".h5")}
            inner = [name for name in archive.namelist() if name.endswith(".h5")]
            return names.union(*(_in_hdf5(io.BytesIO(archive.read(name))) for name in inner))
    if form == "optimizer-dump":
        return set(_in_pickle(path)) if path.suffix == ".pkl" else set()
    return set(_in_hdf5(path)) if path.suffix == ".h5" else set()  # shards are told by a map of theirs


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("form", FORMATS)
def test_museum(form: str, step: int, museum: Path, museum_truth: list[dict[str, Any]], tmp_path: Path) -> None:
    """A graft of an artifact into itself, with another count, has every name that it had.

    Every third artifact for a start, and all of them with `nightly`.
    """
    lost: list[str] = []
    done = 0
    for number, record in enumerate([each for each in museum_truth if each["format"] == form][::step]):
        path = museum / record["path"]
        out = tmp_path / str(number)
        out.mkdir()
        (found,) = ckptdoctor.inspect(path)
        assert found.state is not None
        chosen = next((each.name for each in found.state.optimizers), None)
        try:
            receipt = ckptdoctor.graft(path, path, out / path.name, iterations=5, optimizer=chosen)
        except GraftRefused:
            continue
        done += 1
        gone = _held(Path(found.resolved), form) - _held(out / path.name, form)
        if gone and not any("left behind" in note for note in receipt.written.notes):
            lost.append(f"{record['case']}: {sorted(gone)[:4]}")
    assert done
    assert not lost, "\n".join(lost)


# ------------------------------------------------------------------------------------- graphs of several optimizers

KERNEL, BIAS = (3, 4), (4,)


def _values(shape: tuple[int, ...], seed: int) -> Tensor:
    return array(np.random.default_rng(seed).random(shape))


def _adam(scope: str, *ops: str, seed: int = 0) -> dict[str, Tensor]:
    """A layer with the slots that these operations made."""
    found: dict[str, Tensor] = {}
    for name, shape in ((f"{scope}/kernel", KERNEL), (f"{scope}/bias", BIAS)):
        found[name] = _values(shape, len(found) + seed)
        found |= {f"{name}/{op}": _values(shape, len(found) + at + seed) for at, op in enumerate(ops)}
    return found


def _powers(steps: int, number: int = 0, betas: tuple[float, float] = (0.9, 0.999)) -> dict[str, Tensor]:
    suffix = f"_{number}" if number else ""
    return {f"beta{at}_power{suffix}": array(beta ** (steps + 1)) for at, beta in enumerate(betas, 1)}


def _scalars(path: Path) -> dict[str, float]:
    bundle = read_bundle(str(path))
    (found,) = ckptdoctor.inspect(path)
    assert found.state is not None
    read = {other.name: other.value for each in found.state.optimizers for other in (*each.other, *each.shared)}
    return {name: float(value) for name, value in read.items() if name in bundle.tensors and value is not None}


def _saved(folder: Path, steps: int, *parts: Mapping[str, Tensor]) -> Path:
    tensors: dict[str, Tensor] = {"global_step": array(steps, "int64")}
    for each in parts:
        tensors |= each
    return Path(write_bundle(folder / f"model.ckpt-{steps}", tensors))


def _gan(folder: Path, steps: int, *, critic: int | None = None, betas: tuple[float, float] = (0.9, 0.999)) -> Path:
    first = _powers(steps if critic is None else critic, betas=betas)
    layers = _adam("d", "Adam", "Adam_1", seed=steps), _adam("g", "Adam", "Adam_1", seed=steps)
    return _saved(folder, steps, *layers, first, _powers(steps, 1))


def test_two_adams_of_one_graph(tmp_path: Path) -> None:
    """Each set of beta powers comes from the donor's set of the same number, and none is lost."""
    donor, target = _gan(tmp_path / "a", 9, critic=45), _gan(tmp_path / "b", 7, critic=35)
    out = tmp_path / "out"
    ckptdoctor.graft(donor, target, out)
    assert set(read_bundle(str(out)).tensors) == set(read_bundle(str(target)).tensors)
    assert _scalars(out) == _scalars(donor)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.999), (0.0, 0.9)])
def test_another_count_for_two_adams(tmp_path: Path, betas: tuple[float, float]) -> None:
    """A count set by hand moves every set of powers by its own betas; check has nothing to say about the result."""
    target, out = _gan(tmp_path / "b", 7, betas=betas), tmp_path / "model.ckpt-20"
    ckptdoctor.graft(None, target, out, iterations=20)
    wanted = {
        name: np.frombuffer(each.data, "<f4")[0] for name, each in (_powers(20, betas=betas) | _powers(20, 1)).items()
    }
    assert _scalars(out) == pytest.approx(wanted, rel=1e-4)
    (found,) = ckptdoctor.inspect(out)
    assert "V004" not in {each.code for each in found.findings}


def test_one_count_for_two_that_differ(tmp_path: Path) -> None:
    """Where a critic stepped five times as often, one count for both would move one of them wrongly."""
    target = _gan(tmp_path / "b", 7, critic=35)
    with pytest.raises(GraftRefused, match="after 7 and 35 steps"):
        ckptdoctor.graft(None, target, tmp_path / "out", iterations=20)


@pytest.mark.parametrize("steps", [0, 7])
def test_two_adams_on_the_same_variables(tmp_path: Path, steps: int) -> None:
    """Whose slots are meant nothing tells: a target is refused as a donor is, and the sentence names both."""
    layers = _adam("net", "Adam", "Adam_1", "Adam_2", "Adam_3")
    path = _saved(tmp_path, 7, layers, _powers(steps), _powers(7, 1))
    for donor in (None, path):
        with pytest.raises(GraftRefused, match=r"nothing tells which one is meant.*Adam_2, Adam_3 at step 7"):
            ckptdoctor.graft(donor, path, tmp_path / "out", iterations=100)
    assert not list(tmp_path.glob("out*"))


def test_names_of_their_own(tmp_path: Path) -> None:
    """Beta powers that may be either's are neither's to write."""
    layers = _adam("d", "D", "D_1"), _adam("g", "G", "G_1")
    path = _saved(tmp_path, 7, *layers, _powers(35), _powers(7, 1))
    with pytest.raises(GraftRefused, match="nothing tells which are those of D"):
        ckptdoctor.graft(path, path, tmp_path / "out", optimizer="D")


def test_one_of_several_optimizers(tmp_path: Path) -> None:
    """A graft into one optimizer of a graph leaves the other as it was."""
    layers = _adam("d", "RMSProp", "RMSProp_1", seed=1), _adam("g", "Adam", "Adam_1", seed=1)
    target = _saved(tmp_path / "b", 7, *layers, _powers(7))
    more = _adam("d", "RMSProp", "RMSProp_1", seed=5), _adam("g", "Adam", "Adam_1", seed=5)
    donor = _saved(tmp_path / "a", 9, *more, _powers(9))
    out = tmp_path / "out"
    ckptdoctor.graft(donor, target, out, optimizer="Adam")
    raw = {path: _bytes(path) for path in (donor, target, out)}
    assert raw[out].keys() == raw[target].keys()
    for key, data in raw[out].items():
        source = donor if "/Adam" in key or "power" in key or key == "global_step" else target
        assert data == raw[source][key], key


def _bytes(path: Path) -> dict[str, bytes]:
    found = read_bundle(str(path)).tensors
    return {key: b"".join(part.tobytes() for part in chunks(ref)) for key, ref in found.items()}


def test_a_warm_start(tmp_path: Path) -> None:
    """Powers of 7 steps beside a counter of 1,007: betas follow from the 7, as the rule that compares them says."""
    target = _saved(tmp_path / "a", 1007, _adam("net", "Adam", "Adam_1"), _powers(7))
    out = tmp_path / "model.ckpt-20"
    ckptdoctor.graft(None, target, out, iterations=20)
    assert _scalars(out) == pytest.approx({"beta1_power": 0.9**21, "beta2_power": 0.999**21}, rel=1e-4)
    (found,) = ckptdoctor.inspect(out)
    assert "V004" not in {each.code for each in found.findings}


def test_a_count_that_explains_no_beta(tmp_path: Path) -> None:
    """Powers that no usual betas explain, after any count that is here, are not carried to another one."""
    target = _saved(tmp_path / "a", 1007, _adam("net", "Adam", "Adam_1"), _powers(7, betas=(0.73, 0.9973)))
    with pytest.raises(GraftRefused, match="no beta that is used gives that"):
        ckptdoctor.graft(None, target, tmp_path / "out", iterations=2000)
    assert not list(tmp_path.glob("out*"))


def test_moving_averages_of_tensorflow_1(tmp_path: Path) -> None:
    """They stand beside the slots, and come from the donor with them."""
    ops = ("Adam", "Adam_1", "ExponentialMovingAverage")
    donor = _saved(tmp_path / "a", 9, _adam("net", *ops, seed=3), _powers(9))
    target = _saved(tmp_path / "b", 7, _adam("net", *ops), _powers(7))
    ckptdoctor.graft(donor, target, tmp_path / "out")
    made, given = _bytes(tmp_path / "out"), _bytes(donor)
    assert {key for key in made if made[key] == given[key]} >= {
        key for key in given if "net/" in key and key.count("/") > 1
    }


def test_the_loss_scale_goes_along(tmp_path: Path) -> None:
    """TensorFlow 1's loss scale is state of the optimizer's wrapper: it comes from the donor."""

    def scale(value: float, steps: int) -> dict[str, Tensor]:
        return {"current_loss_scale": array(value), "good_steps": array(steps, "int64")}

    donor = _saved(tmp_path / "a", 9, _adam("net", "Momentum", seed=3), scale(8192.0, 9))
    target = _saved(tmp_path / "b", 7, _adam("net", "Momentum"), scale(32768.0, 7))
    ckptdoctor.graft(donor, target, tmp_path / "out")
    made, given = _bytes(tmp_path / "out"), _bytes(donor)
    assert [made[name] for name in scale(0, 0)] == [given[name] for name in scale(0, 0)]


# ----------------------------------------------------------------------------------------------------- run directories


def _notes(receipt: Receipt) -> Iterable[str]:
    return [note for note in receipt.written.notes if "latest_checkpoint" in note]


def test_the_state_file_is_told(tmp_path: Path) -> None:
    """A checkpoint that `latest_checkpoint` would not find says which line it takes, until the line is there."""
    target = _saved(tmp_path / "run", 7, _adam("net", "Adam", "Adam_1"), _powers(7))
    (note,) = _notes(ckptdoctor.graft(None, target, tmp_path / "run" / "ckpt-8", iterations=8))
    line = 'model_checkpoint_path: "ckpt-8"'
    assert f"{tmp_path}/run/checkpoint, which is not there, with the line {line}" in note
    write_state(tmp_path / "run", "model.ckpt-7")
    (note,) = _notes(ckptdoctor.graft(None, target, tmp_path / "run" / "ckpt-9", iterations=9))
    assert "names model.ckpt-7 as the latest" in note
    (tmp_path / "run" / "checkpoint").write_text(line + "\n")
    again = ckptdoctor.graft(None, target, tmp_path / "run" / "ckpt-8", iterations=8, overwrite=True)
    assert not _notes(again)
    assert ckptdoctor.inspect(tmp_path / "run")[0].resolved.endswith("ckpt-8")


def test_a_partitioned_v1_checkpoint(tmp_path: Path) -> None:
    """The read-back compares a variable in slices with the whole one that is written."""
    layers = _adam("net", "Adam", "Adam_1")
    sliced = {
        name: each._replace(parts=split(KERNEL, (2, 1))) if each.shape == KERNEL else each
        for name, each in layers.items()
    }
    target = write_v1(tmp_path / "model.ckpt-7", {**sliced, **_powers(7), "global_step": array(7, "int64")})
    ckptdoctor.graft(None, target, tmp_path / "out", iterations=20)
    assert set(read_bundle(str(tmp_path / "out")).tensors) == set(read_v1(target).tensors)
