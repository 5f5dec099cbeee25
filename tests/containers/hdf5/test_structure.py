"""HDF5 read without its library says what the library says, or leaves the file to it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import h5py as _h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.museum import FIXTURES, unpack
from support.remote.servers import Web

import ckptdoctor
from ckptdoctor import storage
from ckptdoctor.containers.hdf5.contract import H5Reader
from ckptdoctor.containers.hdf5.opening import Strange, open_h5, without_library
from ckptdoctor.containers.hdf5.structure import fetch_structure
from ckptdoctor.errors import CkptDoctorError
from ckptdoctor.formats.keras.archive import WEIGHTS_H5
from ckptdoctor.isolation.client import isolated
from ckptdoctor.references import H5Data

h5py: Any = _h5py  # its stubs know no streams

NAMES = ("layer_names", "weight_names", "name", "keras_version", "model_config", "nothing")


def everything(file: H5Reader) -> dict[str, object]:
    """All that a reader can be asked of a file."""
    found: dict[str, object] = {}
    for path, groups, datasets in file.walk():
        found[path] = groups, datasets, file.children(path), file.has_group(path)
        for name in NAMES:
            found[f"{path}@{name}"] = file.has_attribute(path, name), _told(file, path, name)
        for each in datasets:
            tensor = file.tensor(f"{path}/{each}" if path else each)
            found[f"{path}/{each}"] = tensor
            if tensor is not None and isinstance(tensor.location, H5Data):
                beginning = file.beginning(tensor.location, tensor.size * 8)
                found[f"{path}/{each} values"] = repr(file.scalar(tensor)), beginning
                chunks = [(chunk.dtype.name, chunk.tobytes()) for chunk in file.read_chunks(tensor.location)]
                place = file.place(tensor.location.dataset.lstrip("/"))
                found[f"{path}/{each} bytes"] = chunks, place if tensor.size else None
    return found


def _told(file: H5Reader, path: str, name: str) -> list[object]:
    said: list[object] = [file.text(path, name)]
    try:
        said.append(file.names(path, name))
    except CkptDoctorError as error:
        said.append(str(error))
    return said


def by_library(path: str, member: str | None) -> dict[str, object]:
    """The same by the library; in a worker, for damaged files."""
    with open_h5(path, member) as file:
        return everything(file) | ({"oddities": file.oddities} if file.oddities else {})


def by_us(path: str, member: str | None = None) -> dict[str, object]:
    """The same without it."""
    with without_library(), open_h5(path, member) as file:
        return everything(file)


def _museum(folder: Path) -> list[tuple[str, str | None]]:
    """Every HDF5 file of the museum, and those in archives."""
    root = unpack(folder, "museum.tar.xz")
    plain: list[tuple[str, str | None]] = [(str(each), None) for each in sorted(root.rglob("*.h5"))]
    archives = [str(each) for each in sorted(root.rglob("*.keras")) if is_zipfile(each)]
    return plain + [(each, WEIGHTS_H5) for each in archives if WEIGHTS_H5 in ZipFile(each).namelist()]


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.nightly)])
def test_the_museum(step: int, tmp_path: Path) -> None:
    """Every file of every Keras is known, and nothing in it is seen otherwise."""
    found = _museum(tmp_path)
    assert len(found) > 50
    for path, member in found[::step]:
        assert by_us(path, member) == by_library(path, member), path


def _agree(path: str, member: str | None) -> bool:
    """Whether a file is known; what is known of it is what the library says."""
    try:
        ours = by_us(path, member)
    except (Strange, CkptDoctorError):
        return False
    assert ours == isolated(by_library, path, member, path=path)
    return True


SCALARS = st.sampled_from(["int8", "uint8", "int32", "int64", "uint16", "float16", "float32", "float64", "bool"])
ARRAYS = st.tuples(SCALARS, st.lists(st.integers(0, 4), max_size=3).map(tuple))
KEYS = st.text(st.characters(exclude_characters="/\0", max_codepoint=127), min_size=1, max_size=12).filter(
    lambda text: text.strip(".") != ""
)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=300)
ATTRIBUTES = st.one_of(
    TEXTS,
    TEXTS.map(lambda text: np.bytes_(text.encode())),
    st.lists(TEXTS, max_size=9),
    st.lists(TEXTS.map(str.encode), min_size=1, max_size=9).map(np.array),
)


@settings(max_examples=40, deadline=None)
@given(
    groups=st.dictionaries(
        st.lists(KEYS, max_size=4).map("/".join),
        st.tuples(st.dictionaries(st.sampled_from(NAMES), ATTRIBUTES), st.dictionaries(KEYS, ARRAYS, max_size=20)),
        max_size=12,
    )
)
def test_what_h5py_writes(groups: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Groups of any size and depth, attributes of every kind that Keras has written, elements of every type."""
    path = tmp_path_factory.mktemp("h5") / "a.h5"
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for where, (attributes, arrays) in groups.items():
            try:
                group = file.require_group(where) if where else file
            except (TypeError, ValueError):  # a data set has the name
                continue
            for name, value in attributes.items():
                group.attrs[name] = value
            for name, (dtype, shape) in arrays.items():
                if name not in group:
                    group[name] = generator.integers(0, 100, shape).astype(dtype)
    assert by_us(str(path)) == by_library(str(path), None)


def test_large_groups_and_bfloat16(tmp_path: Path) -> None:
    """B-trees of two levels, continued headers, attributes of 60 kB; bfloat16 as opaque bytes; big-endian shapes."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for number in range(1500):
            file[f"all/{number}"] = np.float32(number)
        file["all/half"] = np.array([1.5], ml_dtypes.bfloat16).view("V2")
        for number in range(40):
            file.attrs[f"weight_names{number}"] = np.bytes_(b"x" * 1500)
        file.attrs["model_config"] = np.bytes_(b"{" * 60_000)
    ours = by_us(str(path))
    assert ours == by_library(str(path), None)
    assert ours["all/half values"] == ("1.5", b"\xc0\x3f")


def test_big_endian_values(tmp_path: Path) -> None:
    """They come in this machine's order, and their place says that they lie otherwise."""
    path = str(tmp_path / "a.h5")
    with h5py.File(path, "w") as file:
        file["a"] = np.arange(5.0).astype(">f4")
    with open_h5(path) as theirs, without_library(), open_h5(path) as ours:
        for file in (ours, theirs):
            (chunk,) = file.read_chunks(H5Data(path, "/a"))
            assert chunk.dtype == np.float32
            assert chunk.tolist() == [0, 1, 2, 3, 4]
        assert ours.place("a") == theirs.place("a")


def test_values_that_are_not_all_there(tmp_path: Path) -> None:
    """A data set that is said to lie beyond the end has no place; the library says what is wrong."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["a"] = np.zeros(1000)
        place = file["a"].id.get_offset()
    layout, moved = (b"\3\1" + each.to_bytes(8, "little") for each in (place, place + 8))
    path.write_bytes(path.read_bytes().replace(layout, moved))
    with without_library(), open_h5(str(path)) as file, pytest.raises(Strange):
        file.place("a")


def _newer(path: Path) -> None:
    with h5py.File(path, "w", libver="latest") as file:
        file["a/b"] = np.zeros(3)


def _tracked(path: Path) -> None:
    with h5py.File(path, "w", track_order=True) as file:
        file["a/b"] = np.zeros(3)


def _packed(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("a/b", data=np.zeros(3), compression="gzip")


def _linked(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a/b"] = np.zeros(3)
        file["a/c"] = h5py.SoftLink("/a/b")


def _outside(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a"] = h5py.ExternalLink("other.h5", "/a")


def _twice(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a/b"] = np.zeros(3)
        file["c"] = file["a"]


def _never_written(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("a/b", (3,), "f4")


def _unusual(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["a/b"] = np.zeros(3, "c8")


def _cut(path: Path) -> None:
    path.write_bytes((FIXTURES / "whole-model.h5").read_bytes()[:-1])


def _not_ascii(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["größe/b"] = np.zeros(3)  # HDF5 makes a group of the new kind of what holds it


OTHERS = (_newer, _not_ascii, _tracked, _packed, _linked, _outside, _twice, _never_written, _unusual, _cut)


@pytest.mark.parametrize("write", OTHERS)
def test_the_rest_is_left_to_the_library(write: Any, tmp_path: Path) -> None:
    """A newer structure, chunks, links: nothing is said of them here, and the whole way goes on with the library."""
    path = tmp_path / "a.h5"
    write(path)
    with pytest.raises(Strange):
        by_us(str(path))
    assert "HDF5" in ckptdoctor.inspect(path)[0].verdict


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(["whole-model.h5", "lost.weights.h5", "weights-only.h5"]),
    places=st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 255)), min_size=1, max_size=3),
    end=st.integers(0, 60_000),
)
def test_damaged_files(
    name: str, places: list[tuple[int, int]], end: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What is known of a damaged file is what the library says of it: never more."""
    data = bytearray((FIXTURES / name).read_bytes())
    for place, value in places:
        data[place % len(data)] = value
    path = tmp_path_factory.mktemp("h5") / "a.h5"
    path.write_bytes(data[: max(end, 1)])
    _agree(str(path), None)


def test_parts_that_lie_over_one_another(tmp_path: Path) -> None:
    """A heap of the file's size for each of its groups is not read for each."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for number in range(300):
            file.create_group(f"{number}")
        file["last"] = np.zeros(1 << 20)
    data = bytearray(path.read_bytes())
    at = data.find(b"HEAP")
    while at >= 0:
        data[at + 8 : at + 16] = (len(data) // 2).to_bytes(8, "little")
        at = data.find(b"HEAP", at + 1)
    path.write_bytes(data)
    with pytest.raises(Strange):
        by_us(str(path))


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server."""
    storage.use(None)
    with Web() as server:
        yield server
    storage.use(None)


def _large(path: Path) -> bytes:
    """Groups in groups, long names, an attribute of 40 kB, and a megabyte of values between the headers of any two."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = np.bytes_(b"x" * 40_000)
        for number in range(40):
            group = file.create_group(f"layers/dense_{number}/{'long' * 20}")
            group["kernel"] = np.zeros((500, 500), np.float32)
            group.attrs["name"] = f"dense_{number}"
    return path.read_bytes()


def test_nothing_is_waited_for(web: Web, tmp_path: Path) -> None:
    """Of a file at a URL every header is there before the library asks: it causes hardly a request."""
    web.files["/m.h5"] = data = _large(tmp_path / "m.h5")
    url = storage.named(f"{web.url}/m.h5")
    fetch_structure(url, 0, len(data))
    asked = len(web.asked)
    assert 40 <= asked < 200
    seen: list[str] = []
    with storage.open_stream(url) as stream, h5py.File(stream, "r") as file:
        file.visititems(lambda name, each: seen.append(f"{name} {getattr(each, 'shape', None)}"))
    assert len(seen) == 40 * 3 + 1
    assert len(web.asked) - asked <= 3
    fetched = sum(len(each) for each in _bodies(web, data))
    assert fetched < len(data) / 5


def _bodies(web: Web, data: bytes) -> Iterator[bytes]:
    for each in web.asked:
        first, _, last = each.headers["range"].removeprefix("bytes=").partition("-")
        yield data[int(first) : int(last) + 1]


def test_files_in_memory(tmp_path: Path) -> None:
    """What h5py makes in memory is no different."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["a/b"] = np.arange(3.0)
    path = tmp_path / "a.h5"
    path.write_bytes(buffer.getvalue())
    assert by_us(str(path)) == by_library(str(path), None)
