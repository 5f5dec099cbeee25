"""Foreign files are named by their bytes."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptdoctor.formats.foreign import recognise


def name_foreign(path: str, head: bytes) -> str | None:
    """The sentence alone; None for what nobody knows."""
    found = recognise(path, head)
    return None if found is None else found.sentence


def archive(*names: str, data: bytes = b"x") -> bytes:
    """A zip archive with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name in names:
            made.writestr(name, data)
    return buffer.getvalue()


def tarred() -> bytes:
    """A tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        info = tarfile.TarInfo("model.h5")
        made.addfile(info, io.BytesIO())
    return buffer.getvalue()


def field(tag: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return bytes([tag, len(data)]) + data


def safetensors() -> bytes:
    """A safetensors file of one tensor."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"\0" * 4


LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 12345\n".encode()
NODE = field(0x0A, field(0x0A, b"x") + field(0x12, b"Placeholder"))
META_GRAPH = field(0x0A, field(0x12, field(0x0A, field(0x0A, b"Add"))))
MIND = field(0x0A, field(0x0A, b"conv1.weight") + field(0x12, b"\x08\x40" + field(0x12, b"Float32")))
EVENTS = struct.pack("<Q", 24) + b"\0\0\0\0" + b"\x09" + b"\0" * 8 + b"\x1a\x0dbrain.Event:2"

FILES = {
    "git lfs pull": LFS,
    "12,345 bytes": LFS,
    "an empty file": b"",
    "an HTML page": b"\n<!DOCTYPE html><html><title>Sign in</title>",
    "an XML error message": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "a DVC pointer": b"outs:\n- md5: 0123\n  path: model.h5\n",
    "zero bytes": bytes(1000),
    "a TorchScript model": archive("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py"),
    "a joblib dump": b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x12joblib.numpy_pickle\x94",
    "safetensors": safetensors(),
    "GGUF": b"GGUF\x03\0\0\0",
    "an ONNX model": b"\x08\x08" + field(0x12, b"pytorch") + field(0x1A, b"2.0"),
    "a TensorFlow Lite model": b"\x1c\0\0\0TFL3\x14\0\x20\0",
    "a frozen graph": NODE,
    "MetaGraph": META_GRAPH,
    "MindSpore": MIND,
    "TensorBoard": EVENTS,
    "msgpack": b"\x82\xa6params\x81\xa5Dense\xc0\xa4step\x07",
    "gzip-compressed": gzip.compress(b"x"),
    "a tar archive": tarred(),
    "7-Zip": b"7z\xbc\xaf\x27\x1c\0\4",
    "RAR": b"Rar!\x1a\x07\x01\0",
    "a MATLAB file": b"MATLAB 5.0 MAT-file, Platform: GLNXA64",
    "an R object": b"X\n\0\0\0\x03\0\4\3\0",
    "OCDBT": b"\x0c\xdb\x3a\x2a\xca\0\0\0",
    "ELF": b"\x7fELF\x02\x01\x01",
    "a JSON document": b'{"class_name": "Sequential"}',
    "JSON error message": b'{"error": "Repository not found"}',
    "sharded model": b'{"metadata": {}, "weight_map": {"a": "b"}}',
    "checkpoint` state file": b'model_checkpoint_path: "ckpt-7"\n',
    "YAML": b"learning_rate: 0.1\n",
    "a text file": "Gewichte für später".encode(),
    "SavedModel in it": archive("model/saved_model.pb", "model/variables/variables.index"),
    "a zip archive of 1 member, none of which": archive("cat.png"),
    "a zip archive of 2 members, none of which": archive("cat.png", "dog.png"),
}


@pytest.mark.parametrize(("wanted", "data"), FILES.items(), ids=FILES)
def test_files_are_named(tmp_path: Path, wanted: str, data: bytes) -> None:
    """Each format is recognised from its bytes, under a name that says nothing."""
    path = tmp_path / "model.h5"
    path.write_bytes(data)
    assert wanted in (name_foreign(str(path), data[:4096]) or "")


@pytest.mark.parametrize(
    "wanted", ["git lfs pull", "an empty file", "an HTML page", "JSON error message", "zero bytes"]
)
def test_what_only_stands_in_for_an_artifact(tmp_path: Path, wanted: str) -> None:
    """Pointers and failed downloads are told from files of other formats."""
    path = tmp_path / "model.h5"
    path.write_bytes(FILES[wanted])
    found = recognise(str(path), FILES[wanted][:4096])
    assert found is not None
    assert not found.artifact


def test_truncated_torch_archives(tmp_path: Path) -> None:
    """A torch file whose end is missing is still a torch file."""
    path = tmp_path / "model.pt"
    path.write_bytes(archive("archive/data.pkl", "archive/data/0")[:-40])
    assert "truncated" in (name_foreign(str(path), path.read_bytes()[:4096]) or "")


DIRECTORIES = {
    "distributed": [".metadata", "__0_0.distcp"],
    "DeepSpeed": ["mp_rank_00_model_states.pt"],
    "Zarr": [".zgroup", "w/0.0"],
    "MLflow": ["MLmodel", "data/model.keras"],
}


@pytest.mark.parametrize(("wanted", "names"), DIRECTORIES.items(), ids=DIRECTORIES)
def test_directories_are_named(tmp_path: Path, wanted: str, names: list[str]) -> None:
    """Checkpoints that are directories are recognised by what lies in them."""
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert wanted in (name_foreign(str(tmp_path), b"") or "")


def test_the_unknown_stays_unnamed(tmp_path: Path) -> None:
    """Bytes that mean nothing to anybody get no name, and neither does a directory of them."""
    path = tmp_path / "noise"
    path.write_bytes(bytes(range(200, 256)))
    assert name_foreign(str(path), path.read_bytes()) is None
    assert name_foreign(str(tmp_path), b"") is None


OURS = [b"\x89HDF\r\n\x1a\n" + bytes(100), b"\x93NUMPY\x01\x00v\x00{'descr': '<f4'}", pickle.dumps([1.5, {"a": b"x"}])]


@pytest.mark.parametrize("data", OURS)
def test_our_own_formats_are_not_foreign(tmp_path: Path, data: bytes) -> None:
    """HDF5, npy and plain pickles are none of the foreign formats."""
    path = tmp_path / "file"
    path.write_bytes(data)
    assert name_foreign(str(path), data) is None


@given(head=st.binary(max_size=300))
def test_any_beginning_is_survived(head: bytes) -> None:
    """Whatever a file begins with, the answer is a phrase or None."""
    answer = name_foreign("/nonexistent", head)
    assert answer is None or answer.isprintable()
