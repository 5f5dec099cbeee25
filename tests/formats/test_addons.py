"""tensorflow_addons' optimizers and tfmot's layers, which are declared: what TensorFlow 2.10 wrote with them.

`fixtures/addons.tar.xz` and its truth are made by `fixtures/make/addons.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import pytest
from support.museum import unpack

import ckptdoctor
from ckptdoctor.examination import Examination
from ckptdoctor.state import OptimizerState, Role, Status

Record: TypeAlias = Mapping[str, Any]
AROUND = {"lookahead_adam", "lookahead_yogi", "movingaverage_adam", "swa_momentum"}
SLOTLESS = {"sgdw"}


@pytest.fixture(scope="session")
def addons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts, unpacked."""
    folder = tmp_path_factory.mktemp("addons")
    return unpack(folder, "addons.tar.xz")


@pytest.fixture(scope="session")
def truth(addons: Path) -> list[Record]:
    """What the framework held when it saved them."""
    records: list[Record] = json.loads((addons / "truth.json").read_text(encoding="utf-8"))
    return records


def _named(addons: Path, case: str) -> Path:
    return addons / "tfa0.20" / case


def _examined(path: Path) -> tuple[Examination, OptimizerState]:
    (found,) = ckptdoctor.inspect(path, stats=True)
    assert found.state is not None, found.error
    (optimizer,) = found.optimizers
    return found, optimizer


def _said(record: Record) -> tuple[str, set[tuple[str, str, tuple[int, ...], float]]]:
    """The innermost class, and every slot: kind, variable, shape, sum."""
    (held,) = record["optimizers"]
    slots = {
        (each["name"], each["variable"].removesuffix(":0"), tuple(each["shape"]), round(each["sum"], 4))
        for each in held["slots"]
    }
    return held["inner_class"] or held["class"], slots


@pytest.mark.parametrize("kind", ["h5", "ckpt", "saved"])
def test_everything_is_read(addons: Path, truth: list[Record], kind: str) -> None:
    """Class, count and each slot by its name, its variable and its values, as the framework held them: complete."""
    chosen = [each for each in truth if each["case"].endswith(f"-{kind}")]
    assert len(chosen) >= 4
    for record in chosen:
        found, optimizer = _examined(addons / record["path"])
        class_name, slots = _said(record)
        case = record["case"].partition("/")[2].rpartition("-")[0]
        if case != "lookahead_adam" or kind != "ckpt":  # whose candidates say that Adamax would fit
            assert optimizer.class_candidates == () or case in AROUND, case
        assert (optimizer.class_name, optimizer.iterations) == (class_name, 7), case
        assert {
            (each.name, each.variable, each.tensor.shape, _sum(found, each.tensor)) for each in optimizer.slots
        } == slots, case
        assert bool(optimizer.wrapper) == (case in AROUND), case
        assert (found.status, optimizer.missing) == (Status.COMPLETE, ()), case


def _sum(found: Examination, tensor: Any) -> float:
    figures = found.statistics[tensor]
    assert figures is not None
    assert figures.mean is not None
    return round(float(figures.mean) * int(tensor.size), 4)


def test_roles_are_those_declared(addons: Path) -> None:
    """Slots of one name in another class are not taken for its: NovoGrad's v is one number, Yogi's m comes second."""
    _, novograd = _examined(_named(addons, "novograd_amsgrad-h5.h5"))
    assert {(each.name, each.role, each.tensor.shape == ()) for each in novograd.slots} == {
        ("m", Role.FIRST_MOMENT, False),
        ("v", Role.SECOND_MOMENT, True),
        ("vhat", Role.MAX_SECOND_MOMENT, False),
    }
    _, yogi = _examined(_named(addons, "yogi-ckpt") / "ckpt")
    assert (yogi.hyperparameters["beta1"], "beta_1" in yogi.hyperparameters) == (pytest.approx(0.9), False)


@pytest.mark.parametrize(
    ("case", "lost", "missing"),
    [
        ("yogi", "m", 4),  # `beta1` is on, so that there has to be one
        ("novograd", "v", 4),
        ("lookahead_adam", "slow", 4),
        ("lookahead_adam", "v", 4),
        ("cocob", "reward", 4),  # one of five without a role in our vocabulary
    ],
)
def test_a_kind_that_is_lost(addons: Path, tmp_path: Path, case: str, lost: str, missing: int) -> None:
    """All slots of a kind are gone: no verdict is green."""
    path = tmp_path / "lost.h5"
    path.write_bytes(_named(addons, f"{case}-h5.h5").read_bytes())
    with h5py.File(str(path), "r+") as file:
        group = file["optimizer_weights"]
        names = [each for each in group.attrs["weight_names"] if not str(each).endswith(f"/{lost}:0")]
        assert len(names) == len(group.attrs["weight_names"]) - missing
        del group.attrs["weight_names"]
        group.attrs["weight_names"] = names
    found, optimizer = _examined(path)
    assert {each.name for each in optimizer.missing} == {lost}
    assert len(optimizer.missing) == missing
    assert found.status is Status.PARTIAL


@pytest.mark.parametrize(("case", "untrained"), [("pruned", 6), ("quantized", 13)])
def test_what_model_optimization_adds(addons: Path, case: str, untrained: int) -> None:
    """Masks, thresholds, ranges and steps are not trained; each kernel and bias in the wrapped layers is."""
    found, _ = _examined(_named(addons, f"{case}-h5.h5"))
    assert found.state is not None
    flags = [each.trainable for each in found.state.variables]
    assert (flags.count(False), flags.count(True), flags.count(None)) == (untrained, 4, 0)


GRAFTED = ("yogi", "novograd", "novograd_amsgrad", "adabelief", "cocob", "lazyadam", "radam_amsgrad", "yogi_without_m")


@pytest.mark.parametrize("case", GRAFTED)
def test_a_graft(addons: Path, tmp_path: Path, case: str) -> None:
    """Into a model that was never compiled, from a file, and into a checkpoint of the model alone: the same state."""
    donor = _named(addons, f"{case}-h5.h5")
    ckptdoctor.graft(donor, _named(addons, f"{case}-bare.h5"), tmp_path / "out.h5")
    ckptdoctor.graft(donor, _named(addons, f"{case}-model") / "ckpt", tmp_path / "out")
    for made in (tmp_path / "out.h5", tmp_path / "out"):
        result = ckptdoctor.diff(donor, made, values=True)
        assert result.equal, (made, result)
        assert _examined(made)[0].status is Status.COMPLETE


@pytest.mark.parametrize("case", sorted(AROUND))
def test_a_graft_of_a_wrapper(addons: Path, tmp_path: Path, case: str) -> None:
    """What the optimizer around keeps comes along, from a checkpoint too, into a model compiled with it."""
    for donor in (_named(addons, f"{case}-h5.h5"), _named(addons, f"{case}-ckpt") / "ckpt"):
        ckptdoctor.graft(donor, _named(addons, f"{case}-fresh.h5"), tmp_path / "out.h5", overwrite=True)
        result = ckptdoctor.diff(_named(addons, f"{case}-h5.h5"), tmp_path / "out.h5", values=True)
        assert result.equal, result
        with pytest.raises(ckptdoctor.errors.GraftRefused, match="keeps slots of its own"):
            ckptdoctor.graft(donor, _named(addons, f"{case}-bare.h5"), tmp_path / "none.h5")


def test_a_dump_of_a_class_that_is_named(addons: Path, tmp_path: Path) -> None:
    """A list without names is read as the declared class where somebody says that it is one."""
    donor, target = _named(addons, "novograd-pkl.pkl"), _named(addons, "novograd-bare.h5")
    ckptdoctor.graft(donor, target, tmp_path / "out.h5", optimizer_class="NovoGrad")
    (found, made), (truth, held) = _examined(tmp_path / "out.h5"), _examined(_named(addons, "novograd-h5.h5"))
    assert [(each.name, each.variable, _sum(found, each.tensor)) for each in made.slots] == [
        (each.name, each.variable, _sum(truth, each.tensor)) for each in held.slots
    ]
    assert (made.class_name, made.iterations, len(made.slots)) == ("NovoGrad", 7, 8)
