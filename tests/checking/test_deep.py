"""`--deep`: what reading every byte shows, on files that were changed on purpose."""

from __future__ import annotations

import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py as _h5py
import numpy as np
import pytest
from support.bundles import Tensor, array, strings, write_bundle

from ckptdoctor.checking.deep import scan
from ckptdoctor.diagnosis.evidence import Evidence
from ckptdoctor.diagnosis.rules import judge
from ckptdoctor.diagnosis.scan import Scan
from ckptdoctor.examination import examine
from ckptdoctor.references import FileRange

h5py: Any = _h5py


def scanned(path: Path | str) -> tuple[Scan, dict[str, str]]:
    """What a scan shows of the one artifact at a path, and what the rules say of it: code → message."""
    (found,) = examine(str(path))
    assert found.state is not None, found.error
    result = scan(found.state, found.resolved)
    findings = judge(Evidence(str(path), found.state, scan=result))
    return result, {each.code: each.message for each in findings if each.code != "P002"}


@pytest.fixture
def model(tmp_path: Path, fixtures_dir: Path) -> Path:
    """A whole model with Adam's state, to be changed."""
    return Path(shutil.copy(fixtures_dir / "whole-model.h5", tmp_path))


def _slot(kind: str) -> str:
    return f"optimizer_weights/Adam/hidden/kernel/{kind}:0"


def _change(path: Path, dataset: str, change: Callable[[np.ndarray], object]) -> None:
    with h5py.File(path, "r+") as file:
        values = file[dataset][()]
        change(values)
        file[dataset][...] = values


@pytest.mark.parametrize("name", ["whole-model.h5", "keras3.keras", "run-a", "savedmodel", "tf1", "optimizer.pkl"])
def test_real_artifacts_are_clean(fixtures_dir: Path, name: str) -> None:
    """What frameworks wrote has nothing that a scan complains of, and nothing is skipped."""
    result, findings = scanned(fixtures_dir / name)
    assert result.tensors
    assert not result.skipped
    assert not {code for code in findings if code[0] in "IVX"}


def test_every_tensor_is_scanned(fixtures_dir: Path) -> None:
    """Model variables, slots and scalars, each once; the moments of Adam in pairs."""
    (found,) = examine(str(fixtures_dir / "run-a"))
    result, _ = scanned(fixtures_dir / "run-a")
    assert found.state is not None
    slots = {slot.tensor for optimizer in found.state.optimizers for slot in optimizer.slots}
    assert slots < result.tensors.keys()
    assert all(each.checksum_ok for each in result.tensors.values())
    assert len(result.pairs) == len(slots) / 2
    assert result.nbytes == sum(ref.location.nbytes for ref in result.tensors if isinstance(ref.location, FileRange))


def test_nan_and_inf(model: Path) -> None:
    """V001 says which tensors, how many values, and of how many."""

    def spoil(values: np.ndarray) -> None:
        values[0, :2] = np.nan
        values[1, 0] = -np.inf

    _change(model, _slot("m"), spoil)
    result, findings = scanned(model)
    assert "hidden/kernel/m:0 (2 NaN, 1 Inf of 24)" in findings["V001"]
    assert result.pairs[0].figures.worst < 8


def test_numbers_of_two_parts(tmp_path: Path) -> None:
    """Complex numbers have no order, but they can be NaN and infinite."""
    values = np.array([1 + 2j, complex(np.nan, 1), complex(0, np.inf), 3], np.complex64)
    prefix = write_bundle(tmp_path / "p", {"z": Tensor("complex64", (4,), values.tobytes())})
    _, findings = scanned(prefix)
    assert "z (1 NaN, 1 Inf of 4)" in findings["V001"]


def test_a_negative_second_moment(model: Path) -> None:
    """V002 names the slot and the least value."""
    _change(model, _slot("v"), lambda values: values.__setitem__((0, 0), -0.25))
    _, findings = scanned(model)
    assert "v of hidden/kernel (least -0.25)" in findings["V002"]


def test_swapped_moments(model: Path) -> None:
    """V003: first and second moments of another variable or run violate the bound of Cauchy and Schwarz."""
    _change(model, _slot("v"), lambda values: values.__imul__(1e-4))
    result, findings = scanned(model)
    assert "for hidden/kernel, |m| / sqrt(v) goes up to" in findings["V003"]
    assert "no run of Adam brings it above 7.3" in findings["V003"]
    assert result.pairs[0].figures.above > 0


def test_underflowed_moments_prove_nothing(model: Path) -> None:
    """Where v has underflowed to 0 beside a first moment next to nothing, nothing is wrong."""
    _change(model, _slot("m"), lambda values: values.fill(1e-18))
    _change(model, _slot("v"), lambda values: values.fill(0))
    _, findings = scanned(model)
    assert "V003" not in findings


def test_count_reset_and_zero_slots(model: Path) -> None:
    """S005: count 0, slots used. S006: count above 0, slots all zero."""
    with h5py.File(model, "r+") as file:
        file["optimizer_weights/Adam/iter:0"][...] = 0
    _, findings = scanned(model)
    assert "Adam is at iteration 0, but 8 of its slots are not zero" in findings["S005"]
    with h5py.File(model, "r+") as file:
        file["optimizer_weights/Adam/iter:0"][...] = 7
        for kind in "mv":
            for name in ("hidden/kernel", "hidden/bias", "score/kernel", "score/bias"):
                file[f"optimizer_weights/Adam/{name}/{kind}:0"][...] = 0
    _, findings = scanned(model)
    assert "every one of its 8 slots is zero" in findings["S006"]


def _shard(prefix: str) -> Path:
    return Path(f"{prefix}.data-00000-of-00001")


def test_a_flipped_bit_in_any_tensor(tmp_path: Path) -> None:
    """I004 names the tensor whose bytes do not match their checksum, wherever the bit is; strings too."""
    tensors: dict[str, Tensor] = {
        "a/weights": array(np.arange(6, dtype=np.float32)),
        "b/half": array(np.arange(5), "bfloat16"),
        "c/text": strings(b"some", b"words"),
        "d/flag": array([True, False], "bool"),
    }
    prefix = str(tmp_path / "ckpt-1")
    write_bundle(prefix, tensors)
    whole = _shard(prefix).read_bytes()
    (found,) = examine(prefix)
    assert found.state is not None
    ranges = {
        ref.key: ref.location
        for ref in (*(each.tensor for each in found.state.variables), *found.state.others)
        if isinstance(ref.location, FileRange)
    }
    assert set(tensors) == set(ranges)
    for key, place in ranges.items():
        for position in range(place.offset, place.offset + place.nbytes):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << (position % 8)
            _shard(prefix).write_bytes(flipped)
            result, findings = scanned(prefix)
            wrong = [ref.key for ref, each in result.tensors.items() if each.checksum_ok is False]
            assert wrong == [key], position
            assert f"1 of {len(tensors)} tensors do not match: {key}" in findings["I004"]


def test_index_and_data_of_two_saves(tmp_path: Path) -> None:
    """Where no checksum matches at all, the files are of different saves."""
    values = {f"w{number}": array(np.full(4, number)) for number in range(3)}
    write_bundle(str(tmp_path / "a"), values)
    write_bundle(str(tmp_path / "b"), {name: array(np.full(4, 9)) for name in values})
    shutil.copy(_shard(str(tmp_path / "b")), _shard(str(tmp_path / "a")))
    _, findings = scanned(tmp_path / "a")
    assert "no checksum of 3 tensors matches: the index and the data are of different saves" in findings["I004"]


def test_a_damaged_zip_member(tmp_path: Path, fixtures_dir: Path) -> None:
    """A `.keras` whose member does not match its checksum is told, the member named."""
    path = Path(shutil.copy(fixtures_dir / "keras3.keras", tmp_path))
    with zipfile.ZipFile(path) as archive, h5py.File(archive.open("model.weights.h5")) as file:
        data = file["optimizer/vars/2"]
        inside = data.id.get_offset()
        info = archive.getinfo("model.weights.h5")
    raw = bytearray(path.read_bytes())
    name, extra = struct.unpack_from("<2H", raw, info.header_offset + 26)
    raw[info.header_offset + 30 + name + extra + inside] ^= 1
    path.write_bytes(raw)
    result, findings = scanned(path)
    assert len(result.damaged) == 1
    assert "model.weights.h5" in findings["I004"]


def test_what_cannot_be_read_is_told(model: Path) -> None:
    """A data set whose bytes are not there is not called clean."""
    with h5py.File(model, "r+") as file:
        del file[_slot("m")]
        file.create_dataset(_slot("m"), (3, 8), "f4", external=[("elsewhere.bin", 0, 96)])
    result, findings = scanned(model)
    assert "elsewhere" not in "".join(result.skipped)
    assert "X002" in findings


def test_a_type_that_nobody_reads(fixtures_dir: Path) -> None:
    """A slot whose values are a program's own matter was not scanned, which is told."""
    (found,) = examine(str(fixtures_dir / "whole-model.h5"))
    state = found.state
    assert state is not None
    (optimizer,) = state.optimizers
    first, *others = optimizer.slots
    unknown = first._replace(tensor=first.tensor.at(None))
    state = state._replace(optimizers=(optimizer._replace(slots=(unknown, *others)),))
    result = scan(state, state.path)
    assert list(result.skipped) == [first.tensor.key]
    assert first.tensor not in result.tensors


@pytest.mark.parametrize("swapped", [True, False])
def test_averages_already_swapped_in(tmp_path: Path, *, swapped: bool) -> None:
    """S012 says so where the moving averages equal the weights."""
    tensors = {
        "w": array([1.0, 2.0]),
        "w/Adam": array([0.1, 0.2]),
        "w/Adam_1": array([0.1, 0.2]),
        "w/ExponentialMovingAverage": array([1.0, 2.0] if swapped else [1.0, 1.5]),
        "global_step": array(7, "int64"),
    }
    write_bundle(str(tmp_path / "m"), tensors)
    result, findings = scanned(tmp_path / "m")
    assert result.equal_averages == (("w",) if swapped else ())
    assert ("already swapped in" in findings["S012"]) is swapped


def test_progress_adds_up(fixtures_dir: Path) -> None:
    """Whoever follows a scan is told bytes that end at the total."""
    seen: list[tuple[int, int]] = []
    (found,) = examine(str(fixtures_dir / "whole-model.h5"))
    assert found.state is not None
    scan(found.state, found.resolved, lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0
    assert seen == sorted(seen)
