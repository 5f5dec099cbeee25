"""Bundles made from others: what stays is untouched, what is new is there, and nothing is changed in silence."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import bundles

from ckptdoctor.containers.bundles.reading import TensorBundle, read_bundle, read_strings, shard_path
from ckptdoctor.containers.bundles.writing import NewTensor, Text, write_bundle
from ckptdoctor.containers.bytes import copying
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.protos import parse
from ckptdoctor.containers.tables.sstable import Table
from ckptdoctor.containers.tensors.shard_data import pieces
from ckptdoctor.containers.tensors.values import assembled
from ckptdoctor.errors import GraftRefused, UnreadableArtifact
from ckptdoctor.references import FileRange, Inline, TensorRef


def _value(bundle: TensorBundle, name: str) -> Any:
    return assembled(bundle.tensors[name]).reshape(bundle.tensors[name].shape)


def _entries(prefix: str) -> dict[bytes, bytes]:
    with RegularFile(f"{prefix}.index") as file:
        return dict(Table(file).entries())


@pytest.fixture(name="base")
def _base(tmp_path: Path) -> str:
    """A bundle of three data files, with strings and a partitioned tensor."""
    return bundles.write_bundle(
        tmp_path / "base",
        {
            "a": bundles.array(np.arange(12.0).reshape(3, 4)),
            "b": bundles.array([1.5, 2.5], shard=1),
            "old/m": bundles.array([7.0] * 5, shard=2),
            "cut": bundles.array(np.arange(8.0).reshape(4, 2), parts=bundles.split((4, 2), (1, 3))),
            "text": bundles.strings(b"one", b"two \xff"),
        },
        num_shards=3,
    )


@pytest.fixture(name="donor")
def _donor(tmp_path: Path) -> TensorBundle:
    return read_bundle(bundles.write_bundle(tmp_path / "donor", {"m": bundles.array(np.arange(5.0) / 3)}))


@pytest.mark.parametrize("link", [False, True])
def test_add_and_drop(base: str, donor: TensorBundle, tmp_path: Path, *, link: bool) -> None:
    """New tensors are added, dropped ones are gone, and the entries of all others are the same bytes as before."""
    out = str(tmp_path / "out")
    report = write_bundle(
        out,
        {
            "new/m": NewTensor("float32", (5,), donor.tensors["m"]),
            "new/half": NewTensor("float32", (5,), donor.tensors["m"], -0.5),
            "new/zero": NewTensor("float64", (2, 2), None),
            "new/raw": NewTensor("int64", (), (7).to_bytes(8, "little")),
            "new/text": NewTensor("string", (), Text(b"x" * 300)),
        },
        base=base,
        drop=["old/m"],
        link=link,
    )
    found = read_bundle(out)
    before, after = _entries(base), _entries(out)
    assert before.keys() - after.keys() == {b"old/m"}
    assert all(after[key] == value for key, value in before.items() if key and key != b"old/m")
    np.testing.assert_array_equal(_value(found, "new/m"), _value(donor, "m"))
    np.testing.assert_array_equal(_value(found, "new/half"), _value(donor, "m") * -0.5)
    np.testing.assert_array_equal(_value(found, "new/zero"), np.zeros((2, 2)))
    np.testing.assert_array_equal(_value(found, "cut"), np.arange(8.0).reshape(4, 2))
    assert int(_value(found, "new/raw")) == 7
    assert read_strings(found.tensors["new/text"]) == [b"x" * 300]
    assert read_strings(found.tensors["text"]) == [b"one", b"two \xff"]
    assert found.num_shards == (5 if link else 4)
    # The data file of what was dropped alone is not carried along.
    assert [os.path.getsize(shard_path(out, number, found.num_shards)) for number in (1, 2)] == [
        os.path.getsize(shard_path(base, 1, 3)),
        0,
    ]
    shared = os.path.samefile(shard_path(base, 0, 3), shard_path(out, 0, found.num_shards))
    assert shared is link
    assert (report.linked > 0, report.copied > 0) == (link, not link)


def test_own_tensors_stay_in_place(base: str, tmp_path: Path) -> None:
    """A tensor that is taken from the base itself, under another name, costs no bytes."""
    out = str(tmp_path / "out")
    ref = read_bundle(base).tensors["old/m"]
    write_bundle(out, {"new/m": NewTensor("float32", (5,), ref)}, base=base, drop=["old/m"])
    found = read_bundle(out)
    assert found.num_shards == 3
    np.testing.assert_array_equal(_value(found, "new/m"), [7.0] * 5)


def test_replaced(base: str, tmp_path: Path) -> None:
    """A tensor with the name of one of the base takes its place, also if that is partitioned."""
    out = str(tmp_path / "out")
    write_bundle(out, {"cut": NewTensor("float32", (1,), None), "a": NewTensor("float32", (2,), None)}, base=base)
    found = read_bundle(out)
    assert (found.tensors["cut"].shape, found.tensors["a"].shape) == ((1,), (2,))


def test_alone(donor: TensorBundle, tmp_path: Path) -> None:
    """A bundle without a base, also one of nothing."""
    write_bundle(str(tmp_path / "out"), {"x": NewTensor("float32", (5,), donor.tensors["m"])})
    np.testing.assert_array_equal(_value(read_bundle(str(tmp_path / "out")), "x"), _value(donor, "m"))
    write_bundle(str(tmp_path / "empty"), {})
    assert read_bundle(str(tmp_path / "empty")).tensors == {}


def test_unknown_fields(tmp_path: Path) -> None:
    """Fields of the header and of entries that nobody knows survive."""
    marked = b"\xf8\x07\x2a"  # field 127, a varint

    def edit(index: bundles.Index) -> None:
        index.header.MergeFromString(marked)
        index.entries[b"a"].MergeFromString(marked)

    base = bundles.write_bundle(tmp_path / "base", {"a": bundles.array([1.0])}, edit=edit)
    out = str(tmp_path / "out")
    write_bundle(out, {"b": NewTensor("float32", (), None)}, base=base)
    assert marked in _entries(out)[b""]
    assert _entries(out)[b"a"] == _entries(base)[b"a"]


def test_big_endian(tmp_path: Path) -> None:
    """Nothing is added to a big-endian bundle; one can be a donor."""
    base = bundles.write_bundle(tmp_path / "big", {"a": bundles.array([1.5, 2.5])}, big_endian=True)
    with pytest.raises(GraftRefused, match="big-endian"):
        write_bundle(str(tmp_path / "out"), {"b": NewTensor("float32", (), None)}, base=base)
    assert not list(tmp_path.glob("out*"))
    write_bundle(str(tmp_path / "out"), {"a": NewTensor("float32", (2,), read_bundle(base).tensors["a"])}, link=True)
    np.testing.assert_array_equal(_value(read_bundle(str(tmp_path / "out")), "a"), [1.5, 2.5])


def test_corrupt_donor(donor: TensorBundle, tmp_path: Path) -> None:
    """A byte that flipped in the donor is found while it is copied."""
    path = Path(shard_path(donor.prefix, 0, 1))
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableArtifact, match="checksum"):
        write_bundle(str(tmp_path / "out"), {"m": NewTensor("float32", (5,), donor.tensors["m"])})


def test_never_overwrites(donor: TensorBundle, tmp_path: Path) -> None:
    """A file that is there already stays as it is."""
    (tmp_path / "out.index").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write_bundle(str(tmp_path / "out"), {"m": NewTensor("float32", (5,), donor.tensors["m"])})
    assert (tmp_path / "out.index").read_bytes() == b"mine"


def test_link_across_file_systems(
    base: str, donor: TensorBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where hard links are not possible, files are copied, and the report says which."""

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    out = str(tmp_path / "out")
    report = write_bundle(out, {"m": NewTensor("float32", (5,), donor.tensors["m"])}, base=base, link=True)
    assert report.linked == 0
    assert "base.data-00000-of-00003" in report.unlinked
    np.testing.assert_array_equal(_value(read_bundle(out), "m"), _value(donor, "m"))


@pytest.mark.parametrize("missing", [(), ("copy_file_range",), ("copy_file_range", "sendfile")])
def test_ways_of_copying(missing: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way of copying gives the same bytes, and tells its progress."""
    for name in missing:
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(copying, "_STEP", 1000)
    data = os.urandom(4321)
    (tmp_path / "a").write_bytes(data)
    seen: list[int] = []
    assert copying.copy_file(str(tmp_path / "a"), str(tmp_path / "b"), seen.append) == 4321
    assert (tmp_path / "b").read_bytes() == data
    assert sum(seen) == 4321


def test_fifo_is_refused(tmp_path: Path) -> None:
    """A FIFO in the place of a file is refused instead of waited for."""
    os.mkfifo(tmp_path / "a")
    with pytest.raises(UnreadableArtifact, match="regular"):
        copying.copy_file(str(tmp_path / "a"), str(tmp_path / "b"))


def _inline(values: Any) -> TensorRef:
    return TensorRef("x", str(values.dtype), values.shape, Inline(values.tobytes()))


@pytest.mark.parametrize(
    ("values", "dtype", "exact"),
    [
        (np.array([1.5, np.nan, -np.inf], np.float16), "float32", True),
        (np.array([1.5, -0.0], ml_dtypes.bfloat16), "float32", True),
        (np.array([1.5, 1 / 3], np.float64), "float32", False),
        (np.array([1.5, 0.25], np.float64), "float32", True),
        (np.array([1e300], np.float64), "float32", False),
        (np.array([2**24 + 1], np.int64), "float32", False),
    ],
)
def test_casts(values: Any, dtype: str, *, exact: bool) -> None:
    """A type is changed where that loses nothing, and refused where it would."""
    if exact:
        got = np.frombuffer(b"".join(pieces(_inline(values), "y", dtype, values.shape)), dtype)
        np.testing.assert_array_equal(got, values.astype(dtype))
    else:
        with pytest.raises(GraftRefused, match="exact"):
            list(pieces(_inline(values), "y", dtype, values.shape))


@pytest.mark.parametrize("content", [bytes(7), _inline(np.zeros(3, np.float32))])
def test_wrong_size(content: bytes | TensorRef) -> None:
    """Values of another shape are refused."""
    with pytest.raises(GraftRefused, match="needs"):
        list(pieces(content, "y", "float32", (2,)))


@settings(deadline=None, max_examples=40)  # it writes files
@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=6),
    dropped=st.sets(st.integers(0, 5)),
    link=st.booleans(),
)
def test_any_bundle(
    shapes: list[list[int]], dropped: set[int], tmp_path_factory: pytest.TempPathFactory, *, link: bool
) -> None:
    """Whatever the base holds: what is not dropped is read as before, and every new tensor as it was given."""
    folder = tmp_path_factory.mktemp("any")
    arrays = {f"t{number}": np.full(shape, number, np.float32) for number, shape in enumerate(shapes)}
    base = bundles.write_bundle(
        folder / "base",
        {name: bundles.array(each, shard=number % 2) for number, (name, each) in enumerate(arrays.items())},
        num_shards=2,
    )
    drop = {f"t{number}" for number in dropped}
    refs = read_bundle(base).tensors
    new = {f"new/{name}": NewTensor("float32", refs[name].shape, refs[name], 2.0) for name in arrays}
    write_bundle(str(folder / "out"), new, base=base, drop=drop, link=link)
    found = read_bundle(str(folder / "out"))
    assert found.tensors.keys() == (arrays.keys() - drop) | new.keys()
    for name, each in arrays.items():
        np.testing.assert_array_equal(_value(found, f"new/{name}"), each * 2)
        if name not in drop:
            np.testing.assert_array_equal(_value(found, name), each)
            location = found.tensors[name].location
            assert isinstance(location, FileRange)


@pytest.mark.parametrize("kind", [pb.BundleHeader, pb.BundleEntry, pb.TrackableObjectGraph, pb.SavedObjectGraph])
def test_a_message_that_is_cut_is_refused_in_a_sentence(kind: type[Any]) -> None:
    """Writers read with the library, which sees more than readers do: what it refuses is no traceback."""
    with pytest.raises(UnreadableArtifact, match="the header is no protocol buffer: it is corrupt"):
        parse(kind, b"\x0a\x05ab", "the header", "ckpt")
