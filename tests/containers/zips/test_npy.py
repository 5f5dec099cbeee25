"""numpy's files: equal to `np.load`, in place, and suspicious of what they claim."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ckptdoctor.containers.pickles.reading import ForbiddenImport
from ckptdoctor.containers.tensors.values import chunks
from ckptdoctor.containers.zips.npy import MAGIC, read_npy, read_npz
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import Coded, FileRange, Inline, TensorRef

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

dtypes = st.sampled_from(["<f4", ">f4", "<f8", "<f2", "<i8", ">i4", "|u1", "|b1", "<c8"])
arrays = dtypes.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
)
either = arrays | arrays.map(np.asfortranarray)


def assert_same(got: object, want: np.ndarray[Any, Any]) -> None:
    """Holds a reference against the array that it should stand for."""
    assert isinstance(got, TensorRef)
    assert (got.dtype, got.shape) == (want.dtype.newbyteorder("<").name, want.shape)
    column_major = isinstance(got.location, (FileRange, Coded)) and got.location.fortran_order
    flat = b"".join(np.asarray(chunk).tobytes() for chunk in chunks(got))
    assert flat == want.astype(want.dtype.newbyteorder("<")).tobytes("F" if column_major else "C")


@SLOW
@given(value=either)
def test_reads_what_save_wrote(tmp_path: Path, value: np.ndarray[Any, Any]) -> None:
    """Any array comes back equal, whatever its byte order and element order."""
    path = tmp_path / "a.npy"
    np.save(path, value)
    assert_same(read_npy(str(path)), value)


@SLOW
@given(values=st.lists(either, max_size=4), named=st.dictionaries(st.sampled_from("abc/:0 "), either, max_size=3))
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_reads_what_savez_wrote(
    tmp_path: Path, save: Callable[..., None], values: list[Any], named: dict[str, Any]
) -> None:
    """Every member comes back equal under its name, deflated or not."""
    path = tmp_path / "a.npz"
    save(path, *values, **named)
    got = read_npz(str(path))
    want = {**named, **{f"arr_{index}": value for index, value in enumerate(values)}}
    assert set(got) == set(want)
    for name, value in want.items():
        assert_same(got[name], value)


@SLOW
@given(data=st.binary(max_size=120))
def test_garbage_is_refused(tmp_path: Path, data: bytes) -> None:
    """Bytes behind npy's magic number are read or refused, with no other exception than ours."""
    path = tmp_path / "a.npy"
    path.write_bytes(MAGIC + data)
    with contextlib.suppress(UnreadableArtifact):
        read_npy(str(path))


@SLOW
@given(position=st.integers(0, 10_000), byte=st.integers(0, 255))
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_damaged_archives_are_survived(tmp_path: Path, save: Callable[..., None], position: int, byte: int) -> None:
    """A changed byte leads to another reading or to a refusal, never to another exception."""
    path = tmp_path / "a.npz"
    save(path, np.int64(7), np.arange(6.0).reshape(2, 3), m=np.array([None, {"a": 1}], dtype=object))
    data = bytearray(path.read_bytes())
    data[position % len(data)] = byte
    path.write_bytes(data)
    with contextlib.suppress(UnreadableArtifact):
        read_npz(str(path))


def test_stored_arrays_stay_in_place(tmp_path: Path) -> None:
    """A stored member is a range of the archive; a deflated one is a place to inflate it from, or inline if small."""
    large, small = np.random.default_rng(0).random((300, 300)), np.ones(3)
    for save, kinds in ((np.savez, (FileRange, FileRange)), (np.savez_compressed, (Coded, Inline))):
        path = tmp_path / f"{save.__name__}.npz"
        save(path, large=large, small=small)
        got = read_npz(str(path))
        for name, kind in zip(("large", "small"), kinds, strict=True):
            ref = got[name]
            assert isinstance(ref, TensorRef)
            assert isinstance(ref.location, kind)
        assert_same(got["large"], large)


def test_memory_does_not_grow_with_deflated_arrays(tmp_path: Path) -> None:
    """A deflated array of 32 MB is located and streamed in pieces."""
    path = tmp_path / "a.npz"
    np.savez_compressed(path, np.zeros((4, 1024, 1024)))
    tracemalloc.start()
    try:
        ref = read_npz(str(path))["arr_0"]
        assert isinstance(ref, TensorRef)
        total = sum(chunk.size for chunk in chunks(ref, 1 << 16))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == ref.size
    assert peak < 2_000_000


def test_arrays_of_objects_are_structures(tmp_path: Path) -> None:
    """`np.save` of a ragged list is that list, of a dict that dict; their arrays lie in the same file."""
    path = tmp_path / "a.npy"
    weights = np.empty(2, object)
    weights[:] = [np.int64(7), np.ones((2, 2))]
    np.save(path, weights, allow_pickle=True)
    got = read_npy(str(path))
    assert isinstance(got, list)
    assert_same(got[1], np.ones((2, 2)))
    np.save(path, {"m": [np.ones(2)]}, allow_pickle=True)  # type: ignore[arg-type]
    inside = read_npy(str(path))
    assert isinstance(inside, dict)
    assert list(inside) == ["m"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_objects_in_archives_are_structures(tmp_path: Path, save: Callable[..., None]) -> None:
    """An object array in an archive is read by the same pickle reader, also where it had to be inflated."""
    path = tmp_path / "a.npz"
    save(path, w=np.array([1, np.arange(3.0), None], dtype=object))
    got = read_npz(str(path))["w"]
    assert isinstance(got, list)
    assert got[0] == 1
    assert_same(got[1], np.arange(3.0))


def test_pickles_inside_are_not_run(tmp_path: Path) -> None:
    """An object array that would run a command is refused, where `allow_pickle` would have run it."""

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, ("true",)

    path = tmp_path / "a.npy"
    np.save(path, np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(ForbiddenImport, match="system"):
        read_npy(str(path))


def test_bfloat16_keeps_its_name(tmp_path: Path) -> None:
    """Numpy writes bfloat16 as two opaque bytes; that is what they are read as."""
    path = tmp_path / "a.npy"
    np.save(path, np.array([1.5, -2], ml_dtypes.bfloat16))
    got = read_npy(str(path))
    assert isinstance(got, TensorRef)
    assert got.dtype == "bfloat16"
    assert np.concatenate(list(chunks(got))).astype(float).tolist() == [1.5, -2]


def header(text: bytes, data: bytes = b"", *, length: int | None = None) -> bytes:
    """An npy file with this header."""
    return MAGIC + b"\x01\x00" + struct.pack("<H", len(text) if length is None else length) + text + data


def test_shapes_of_python_2(tmp_path: Path) -> None:
    """Long integers of Python 2 in a shape are numbers."""
    path = tmp_path / "a.npy"
    path.write_bytes(header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 1L), }", b"\0" * 8))
    got = read_npy(str(path))
    assert isinstance(got, TensorRef)
    assert got.shape == (2, 1)


BROKEN = {
    "no header": MAGIC,
    "version 9": MAGIC + b"\x09\x00\x00\x00",
    "a header longer than the file": header(b"{}", length=5000),
    "a header that is too long": header(b" " * 20_000),
    "no dict": header(b"[1, 2]"),
    "a call": header(b"__import__('os').system('true')"),
    "a deep expression": header(b"(" * 5000),
    "a key too many": header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (), 'x': 1}"),
    "a negative shape": header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"),
    "a shape of floats": header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1.5,)}"),
    "4 TiB": header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,)}"),
    "an overflowing shape": header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}"),
    "records": header(b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", b"\0" * 4),
    "an unknown type": header(b"{'descr': '<q7', 'fortran_order': False, 'shape': (1,)}", b"\0" * 8),
    "data missing": header(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", b"\0" * 8),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_broken_headers_are_refused(tmp_path: Path, data: bytes) -> None:
    """What a header claims is checked before anything is made of it."""
    path = tmp_path / "a.npy"
    path.write_bytes(data)
    with pytest.raises(UnreadableArtifact):
        read_npy(str(path))


def archive(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytearray:
    """A zip archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as made:
        for name, data in members:
            made.writestr(name, data)
    return bytearray(buffer.getvalue())


def small() -> bytes:
    """A small array as an npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ones(2))
    return buffer.getvalue()


def test_tricks_with_archives_are_refused(tmp_path: Path) -> None:
    """Encrypted members, names that disagree and methods that numpy does not write are refused, each by its name."""
    path = tmp_path / "a.npz"
    encrypted = archive(("a.npy", small()))
    encrypted[6] |= 1
    encrypted[encrypted.rindex(b"PK\x01\x02") + 8] |= 1
    renamed = archive(("a.npy", small()))
    renamed[30:31] = b"b"
    packed = archive(("a.npy", small()), compression=zipfile.ZIP_BZIP2)
    for data, reason in ((encrypted, "encrypted"), (renamed, "disagree"), (packed, "method 12")):
        path.write_bytes(data)
        with pytest.raises(UnreadableArtifact, match=reason):
            read_npz(str(path))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_with_the_same_name_are_refused(tmp_path: Path) -> None:
    """Of two members with one name nobody knows which one a loader takes."""
    path = tmp_path / "a.npz"
    path.write_bytes(archive(("a.npy", small()), ("a.npy", small())))
    with pytest.raises(UnreadableArtifact, match="more than once"):
        read_npz(str(path))


def test_bombs_of_objects_are_refused(tmp_path: Path) -> None:
    """A member that would inflate to hundreds of megabytes of pickle is not inflated."""
    path = tmp_path / "a.npz"
    text = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"
    path.write_bytes(archive(("a.npy", header(text, b"\0" * (70 << 20))), compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(LimitExceeded):
        read_npz(str(path))


def test_truncated_archives_are_refused(tmp_path: Path) -> None:
    """An archive without its directory is refused."""
    path = tmp_path / "a.npz"
    np.savez(path, np.ones(3))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UnreadableArtifact):
        read_npz(str(path))
