"""HDF5 read on our terms: nothing outside the file, nothing unchecked, every error one sentence with its place."""

from __future__ import annotations

import contextlib
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py as _h5py
import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptdoctor.containers.hdf5 import file as hdf5
from ckptdoctor.containers.hdf5.file import H5File
from ckptdoctor.containers.hdf5.pool import read_chunks, release
from ckptdoctor.containers.hdf5.structure import MAX_DEPTH
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import H5Data, TensorRef

h5py: Any = _h5py  # the stubs leave half of it out


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> str:
    return str(tmp_path / "a.h5")


def values(tensor: TensorRef | None, chunk_bytes: int = 8 << 20) -> np.ndarray[Any, Any]:
    """All elements of a tensor that a test knows to be there."""
    assert tensor is not None
    assert isinstance(tensor.location, H5Data)
    parts = list(read_chunks(tensor.location, chunk_bytes=chunk_bytes))
    assert all(part.nbytes <= max(chunk_bytes, part.itemsize) for part in parts)
    release()
    return np.concatenate(parts) if parts else np.zeros(0)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 4), (2, 3, 5), (4, 1, 1, 3), (0, 3)])
@pytest.mark.parametrize("chunk_bytes", [1, 16, 1 << 20])
def test_reads_in_c_order_whatever_the_chunk(path: str, shape: tuple[int, ...], chunk_bytes: int) -> None:
    """Chunks of any size, put together, are the array in C order."""
    array = np.arange(int(np.prod(shape)), dtype=">f4").reshape(shape)
    with h5py.File(path, "w") as file:
        file["a/b"] = array
    with H5File(path) as opened:
        tensor = opened.tensor("a/b")
    assert tensor is not None
    assert (tensor.dtype, tensor.shape) == ("float32", shape)
    np.testing.assert_array_equal(values(tensor, chunk_bytes), array.reshape(-1))


@pytest.mark.parametrize(
    "options", [{"compression": "gzip", "shuffle": True, "fletcher32": True}, {"compression": "lzf"}]
)
def test_reads_built_in_filters(path: str, options: dict[str, Any]) -> None:
    """gzip, shuffle, fletcher32 and lzf come with h5py and are read."""
    array = np.arange(24, dtype="i8").reshape(4, 6)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=array, chunks=(2, 3), **options)
    with H5File(path) as opened:
        np.testing.assert_array_equal(values(opened.tensor("x")), array.reshape(-1))


def test_refuses_a_filter_that_is_a_plugin(path: str) -> None:
    """A filter that HDF5 would look for outside is refused before it looks."""
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.arange(64, dtype="u1"), chunks=(64,), scaleoffset=0)
    with H5File(path) as opened:
        tensor = opened.tensor("x")
        assert [oddity.code for oddity in opened.oddities] == ["X004"]
        with pytest.raises(LimitExceeded, match="filter 6, which is not built in"):
            opened.scalar(TensorRef("x", "uint8", (), tensor.location if tensor else None))


def test_turns_the_search_for_plugins_off() -> None:
    """Importing the module sets HDF5's own switch against plug-ins."""
    assert os.environ["HDF5_PLUGIN_PRELOAD"]
    assert hdf5.__name__ in sys.modules


@pytest.mark.parametrize("labelled", [True, False])
def test_knows_bfloat16_by_its_two_opaque_bytes(path: str, *, labelled: bool) -> None:
    """bfloat16 is opaque to HDF5; it is read with its attribute (`.weights.h5`) and without (legacy layout)."""
    array = np.array([1.5, -2.0, float("nan")], dtype=ml_dtypes.bfloat16)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", data=array.view("V2"))
        if labelled:
            data.attrs["dtype"] = "bfloat16"
    with H5File(path) as opened:
        tensor = opened.tensor("x")
    assert tensor is not None
    assert tensor.dtype == "bfloat16"
    np.testing.assert_array_equal(values(tensor).astype("f4"), array.astype("f4"))


def _external_link(file: Any) -> None:
    file["g"] = h5py.ExternalLink("/etc/hostname", "x")


def _external_storage(file: Any) -> None:
    file.create_dataset("g/x", shape=(4,), dtype="u1", external=[("/etc/hostname", 0, 4)])


def _virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", shape=(4,))
    file.create_virtual_dataset("g/x", layout)


def _soft_link(file: Any) -> None:
    file["real/x"] = np.zeros(4)
    file["g"] = h5py.SoftLink("/real")


@pytest.mark.parametrize(
    ("make", "code"),
    [(_external_link, "X002"), (_external_storage, "X002"), (_virtual, "X002"), (_soft_link, "I007")],
)
def test_follows_nothing_that_leads_elsewhere(path: str, make: Any, code: str) -> None:
    """Links and storage outside the file are noted and never followed, at any component of a path."""
    with h5py.File(path, "w") as file:
        make(file)
    with H5File(path) as opened:
        assert opened.tensor("g/x") is None
        assert [oddity.code for oddity in opened.oddities] == [code]
        list(opened.walk())
        assert {oddity.code for oddity in opened.oddities} == {code}


def test_opens_no_other_file(path: str) -> None:
    """The file that an external data set names is never opened, not even to look."""
    with h5py.File(path, "w") as file:
        _external_storage(file)
        _virtual_name = file.create_dataset("plain", data=np.zeros(3)).name
    with H5File(path) as opened, pytest.raises(UnreadableArtifact, match="not a data set of this file"):
        list(opened.read_chunks(H5Data(path, "/g/x")))
    assert _virtual_name == "/plain"


def test_survives_cycles_and_depth(path: str) -> None:
    """Groups that hold themselves are read once; below the depth limit nothing is."""
    with h5py.File(path, "w") as file:
        file["a/x"] = 1.0
        file["a/self"] = file["a"]
        group = file["a"].create_group("deep")
        for _ in range(MAX_DEPTH + 20):
            group = group.create_group("d")
    with H5File(path) as opened:
        found = [where for where, _, _ in opened.walk()]
        messages = " ".join(oddity.message for oddity in opened.oddities)
    assert len(found) <= MAX_DEPTH + 4
    assert "same group" in messages
    assert "depth" in messages


def test_refuses_a_shape_bomb(path: str) -> None:
    """A data set that declares terabytes and stores nothing is noted when seen and refused when read."""
    with h5py.File(path, "w") as file:
        file.create_dataset("x", shape=(1 << 20, 1 << 20), dtype="f4", chunks=(256, 256))
    with H5File(path) as opened:
        tensor = opened.tensor("x")
        assert [oddity.code for oddity in opened.oddities] == ["X004"]
        assert tensor is not None
        assert isinstance(tensor.location, H5Data)
        with pytest.raises(LimitExceeded, match="stores 0"):
            next(opened.read_chunks(tensor.location))


def test_names_what_is_no_tensor(path: str) -> None:
    """Strings, compounds and references are described without a location, so that nothing tries to read them."""
    with h5py.File(path, "w") as file:
        file.create_dataset("text", data=["a", "b"], dtype=h5py.string_dtype())
        file["compound"] = np.zeros(2, dtype=[("a", "i4"), ("b", "f4")])
        file.create_dataset("reference", shape=(1,), dtype=h5py.ref_dtype)
        file["null"] = h5py.Empty("f4")
    with H5File(path) as opened:
        tensors = [opened.tensor(name) for name in ("text", "compound", "reference", "null")]
    assert all(tensor is not None and tensor.location is None for tensor in tensors)
    assert tensors[0] is not None
    assert tensors[0].dtype == "string"
    assert all(tensor is not None and tensor.dtype.startswith("unknown(") for tensor in tensors[1:])


@pytest.mark.parametrize(
    "value",
    [
        np.array([b"one", b"two"]),
        np.array(["one", "two"], dtype=h5py.string_dtype()),
        np.array([b"one", b"two"], dtype=h5py.string_dtype("ascii")),
    ],
)
def test_decodes_names_of_every_h5py(path: str, value: Any) -> None:
    """Fixed-width bytes of h5py 2 and variable-length text of h5py 3 are the same list."""
    with h5py.File(path, "w") as file:
        file.attrs["names"] = value
        file.attrs["none"] = []
        file.attrs["text"] = np.bytes_(b"plain")
    with H5File(path) as opened:
        assert opened.names("", "names") == ["one", "two"]
        assert opened.names("", "none") == []
        assert opened.names("", "absent") is None
        assert opened.text("", "text") == "plain"


def test_joins_split_attributes(path: str) -> None:
    """Lists that Keras split for HDF5's limit come back whole and in order."""
    with h5py.File(path, "w") as file:
        for index in range(12):
            file.attrs[f"weight_names{index}"] = np.array([f"w{index}".encode()])
    with H5File(path) as opened:
        assert opened.names("", "weight_names") == [f"w{index}" for index in range(12)]


def test_lists_children_as_they_were_written(path: str) -> None:
    """Groups come in the order of creation, which HDF5's alphabetical listing hides."""
    with h5py.File(path, "w") as file:
        for name in ("zz", "aa", "mm"):
            file[f"{name}/vars/0"] = 1.0
    with H5File(path) as opened:
        assert opened.children("") == (["zz", "aa", "mm"], [])


def test_walks_in_the_order_of_writing_where_places_were_used_again(path: str) -> None:
    """A group that HDF5 puts where an outgrown table was still comes when it was written."""
    names = [f"{'zyxwvutsrqponmlkjihg'[number]}_a_name_that_is_long" for number in range(20)]
    with h5py.File(path, "w") as file:
        for name in names:
            for variable in range(2):
                file[f"layers/{name}/vars/{variable}"] = np.zeros(8)
    with H5File(path) as opened:
        assert opened.children("layers")[0] != names  # else this tests nothing
        found = {where: groups for where, groups, _ in opened.walk()}
    assert found["layers"] == names
    assert [where.split("/")[1] for where in found if where.endswith("/vars")] == names


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_reads_inside_an_archive(tmp_path: Path, path: str, method: int) -> None:
    """A member is read in place when stored and from a spool when packed, to the same values."""
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(100.0)
    archive = str(tmp_path / "m.zip")
    with zipfile.ZipFile(archive, "w", method) as out:
        out.writestr("first.txt", "in front")
        out.write(path, "weights.h5")
    with H5File(archive, "weights.h5") as opened:
        tensor = opened.tensor("x")
    assert tensor is not None
    assert tensor.location == H5Data(archive, "/x", "weights.h5")
    np.testing.assert_array_equal(values(tensor), np.arange(100.0))


def test_reads_a_changed_file_anew(path: str) -> None:
    """A file kept open for values is opened again when it was replaced."""
    location = H5Data(path, "/x")
    for number in (1.0, 2.0):
        with h5py.File(f"{path}.new", "w") as file:
            file["x"] = number
        os.replace(f"{path}.new", path)
        assert [chunk.tolist() for chunk in read_chunks(location)] == [[number]]
    release()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: data[:4], "not an HDF5 file"),
        (lambda _: b"", "HDF5"),
        (lambda data: data[:9] + b"\xff" * 20 + data[29:], "HDF5 cannot read it"),
    ],
)
def test_tells_damage_in_a_sentence(path: str, damage: Any, sentence: str) -> None:
    """Whatever h5py raises on a damaged file becomes one sentence that names the file."""
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(1000.0)
    data = Path(path).read_bytes()
    Path(path).write_bytes(damage(data))
    with pytest.raises(UnreadableArtifact, match=sentence) as caught:
        H5File(path)
    assert str(caught.value).startswith("a.h5: ")


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    """A directory or FIFO is refused before anything waits for it."""
    fifo = tmp_path / "fifo.h5"
    os.mkfifo(fifo)
    with pytest.raises(UnreadableArtifact, match="not a regular file"):
        H5File(str(fifo))


@settings(deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_raises_nothing_but_its_own_error(tmp_path: Path, data: st.DataObject) -> None:
    """However a file is damaged, reading all of it ends in an answer or in an UnreadableArtifact."""
    source = tmp_path / "good.h5"
    if not source.exists():
        with h5py.File(source, "w") as file:
            file["g/x"] = np.arange(6.0)
            file["g"].attrs["weight_names"] = ["x"]
    content = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    bad = tmp_path / "bad.h5"
    bad.write_bytes(content)
    with contextlib.suppress(UnreadableArtifact), H5File(str(bad)) as opened:
        opened.names("g", "weight_names")
        for where, _, names in opened.walk():
            for name in names:
                tensor = opened.tensor(f"{where}/{name}")
                if tensor is not None and isinstance(tensor.location, H5Data):
                    list(opened.read_chunks(tensor.location))
