"""Values are exchanged in any file of torch.save, and everything else in it loads as before."""

from __future__ import annotations

import copy
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptdoctor.containers.pickles.reading import Key
from ckptdoctor.containers.torchfiles.reading import load
from ckptdoctor.containers.torchfiles.writing.archive import create
from ckptdoctor.containers.torchfiles.writing.file import exchange
from ckptdoctor.containers.torchfiles.writing.opcodes import written
from ckptdoctor.containers.torchfiles.writing.splicing import GONE, Gone, Script
from ckptdoctor.errors import CkptDoctorError, GraftRefused

torch = pytest.importorskip("torch", exc_type=ImportError)

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(allow_nan=False),
    st.text(max_size=8),
    st.builds(lambda n: torch.arange(n, dtype=torch.float32), st.integers(0, 5)),
    st.builds(lambda n: torch.ones(n, 3, dtype=torch.bfloat16).t(), st.integers(1, 3)),
)
_KEYS = st.one_of(st.text(max_size=4), st.integers(0, 300))
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(_KEYS, inner, max_size=4), st.tuples(inner, inner)
    ),
    max_leaves=12,
)


def _root(path: Path) -> Any:
    return load(str(path)).root


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        same = isinstance(other, torch.Tensor) and one.dtype == other.dtype
        return same and torch.equal(one, other)
    if isinstance(one, dict):
        same = isinstance(other, dict) and list(one) == list(other)
        return same and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        same = type(one) is type(other) and len(one) == len(other)
        return same and all(_same(*pair) for pair in zip(one, other, strict=True))
    return bool(type(one) is type(other) and one == other)


@given(st.dictionaries(_KEYS, _VALUES, min_size=1, max_size=5), _VALUES, st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_value_is_exchanged(tmp_path: Path, whole: dict[Any, Any], new: Any, data: st.DataObject) -> None:
    """Whatever the protocol and the container: that value is the new one, and the others are as they were."""
    shared = data.draw(st.sampled_from(list(whole.values())))
    whole = {**whole, "shared": [shared, shared]}
    key = data.draw(st.sampled_from(list(whole)))
    as_zip = data.draw(st.booleans())
    source, donor, out = (tmp_path / name for name in ("source.pt", "donor.pt", "out.pt"))
    protocol = data.draw(st.sampled_from([2, 3, 4]))
    torch.save(whole, source, pickle_protocol=protocol, _use_new_zipfile_serialization=as_zip)
    torch.save(new, donor)
    change = data.draw(st.sampled_from(["exchange", "leave out", "add"]))
    expected = copy.copy(whole)
    out.unlink(missing_ok=True)
    if change == "exchange":
        exchange(str(source), str(out), {(key,): load(str(donor)).root})
        expected[key] = new
    elif change == "add":
        exchange(str(source), str(out), {("added to it",): load(str(donor)).root})
        expected["added to it"] = new
    else:
        exchange(str(source), str(out), {(key,): GONE})
        del expected[key]
    assert _same(expected, torch.load(out, weights_only=False))
    if as_zip:
        assert _same(expected, torch.load(out, weights_only=False, mmap=True))
        if protocol == 2:
            torch.load(out, weights_only=True)


@given(_VALUES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_new_file(tmp_path: Path, value: Any) -> None:
    """A file that is new from its first byte."""
    torch.save(value, tmp_path / "donor.pt")
    (tmp_path / "out.pt").unlink(missing_ok=True)
    create(str(tmp_path / "out.pt"), load(str(tmp_path / "donor.pt")).root)
    assert _same(value, torch.load(tmp_path / "out.pt", weights_only=True, mmap=True))


def test_storages_that_nobody_uses_go(tmp_path: Path) -> None:
    """A file does not keep the bytes of what was exchanged, and begins each storage at a multiple of 64."""
    torch.save({"large": torch.zeros(1000), "kept": torch.ones(3)}, tmp_path / "source.pt")
    exchange(str(tmp_path / "source.pt"), str(tmp_path / "out.pt"), {("large",): 1})
    assert (tmp_path / "out.pt").stat().st_size < 2500
    assert torch.load(tmp_path / "out.pt", weights_only=True)["kept"].tolist() == [1, 1, 1]
    assert _root(tmp_path / "out.pt")["kept"].location.offset % 64 == 0


def test_large_storages_begin_within_a_page_as_in_their_source(tmp_path: Path) -> None:
    """The kernel copies whole pages then; small ones take no more room than before."""
    large, small = torch.arange(300_000.0), torch.ones(100)
    torch.save({"a": 1, "large": large, "small": small}, tmp_path / "source.pt")
    torch.save({"much": "." * 777, "large": large + 1, "small": small + 1}, tmp_path / "donor.pt")
    donor = _root(tmp_path / "donor.pt")
    exchange(str(tmp_path / "source.pt"), str(tmp_path / "out.pt"), {("a",): donor})
    source, out = _root(tmp_path / "source.pt"), _root(tmp_path / "out.pt")
    for before, after in ((source["large"], out["large"]), (donor["large"], out["a"]["large"])):
        assert (after.location.offset - before.location.offset) % 4096 == 0
        assert after.location.offset % 64 == 0
    assert (tmp_path / "out.pt").stat().st_size < 2 * (4 * 300_000 + 4 * 100) + 4096 * 2 + 4000
    again = torch.load(tmp_path / "out.pt", weights_only=True, mmap=True)
    assert torch.equal(again["large"], large)
    assert torch.equal(again["a"]["large"], large + 1)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whole_tensors_are_what_they_are_opcode_by_opcode(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever is exchanged and left out, taking tensors as one makes the same pickle with the same storages."""
    tensors = [torch.arange(float(number + 1)) for number in range(6)]
    tensors += [tensors[0], tensors[1][:1], torch.ones(2, dtype=torch.int64)]
    picked = st.lists(st.sampled_from(tensors), min_size=1, max_size=6)
    whole = {name: dict(enumerate(data.draw(picked))) for name in "abcd"}
    torch.save(whole, tmp_path / "source.pt")
    with zipfile.ZipFile(tmp_path / "source.pt") as archive:
        pickle = archive.read("source/data.pkl")
    gone = data.draw(st.sets(st.sampled_from("abcd"), min_size=1, max_size=3))
    content = written(_root(tmp_path / "source.pt")["a"], lambda _: "0")
    changes: dict[tuple[Key, ...], bytes | Gone] = {
        (name,): data.draw(st.one_of(st.just(GONE), st.just(content))) for name in sorted(gone)
    }
    fast, exact = (Script(pickle, "", whole_tensors=each) for each in (True, False))
    assert (fast.whole_tensors, exact.whole_tensors) == (True, False)
    assert fast.storages == exact.storages
    assert fast.exchanged(changes) == exact.exchanged(changes)
    assert fast.storages == exact.storages
    assert fast.free == exact.free


def test_tied_tensors_stay_tied(tmp_path: Path) -> None:
    """Two references to one tensor are one storage in the result."""
    tied = torch.ones(4)
    torch.save({"new": [tied, tied]}, tmp_path / "donor.pt")
    torch.save({"old": 1}, tmp_path / "source.pt")
    new = _root(tmp_path / "donor.pt")["new"]
    exchange(str(tmp_path / "source.pt"), str(tmp_path / "out.pt"), {("new",): new})
    one, other = torch.load(tmp_path / "out.pt", weights_only=True)["new"]
    assert one.data_ptr() == other.data_ptr()


def test_what_has_no_place_is_refused(tmp_path: Path) -> None:
    """A dictionary that is not there, and objects that only their program can build."""
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CkptDoctorError, match="set in"):
        exchange(str(tmp_path / "list.pt"), str(tmp_path / "out.pt"), {("a", "b"): 1})
    assert not (tmp_path / "out.pt").exists()
    torch.save({"sampler": torch.nn.Linear(1, 1)}, tmp_path / "object.pt")
    with pytest.raises(GraftRefused, match="only its own program"):
        written(load(str(tmp_path / "object.pt")).root, lambda _: "0")


@pytest.mark.parametrize(
    "data", [b"", b"\x80\x02", b"\x80\x02(.", b"N", b"\x80\x02}u.", b"\x80\x02h\x05.", b"\x80\x02cos\n"]
)
def test_broken_pickles(data: bytes) -> None:
    """What is no whole pickle is said to be none."""
    with pytest.raises(CkptDoctorError, match="taken apart"):
        Script(data, "file.pt")
