"""`saved_model.pb` and `keras_metadata.pb`."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bundles import varint
from support.saved_models import field, meta_graph, saved_model

from ckptdoctor.containers.bundles.saved_model import read_keras_metadata, read_saved_model
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.errors import UnreadableArtifact


def _objects() -> pb.SavedObjectGraph:
    graph = pb.SavedObjectGraph()
    graph.nodes.add().user_object.identifier = "_tf_keras_network"
    graph.nodes[0].user_object.metadata = '{"a": 1}'
    graph.nodes.add().user_object.identifier = "optimizer"
    graph.nodes.add().variable.trainable = True
    graph.nodes.add().variable.name = "moving_mean"
    return graph


def test_parts(tmp_path: Path) -> None:
    """Version, tags, and what each object is."""
    path = tmp_path / "saved_model.pb"
    path.write_bytes(saved_model(_objects(), version="2.10.1", tags=["serve"]))
    parts = read_saved_model(str(path))
    assert (parts.tensorflow_version, parts.tags, parts.metagraphs) == ("2.10.1", ("serve",), 1)
    assert parts.identifiers == {0: "_tf_keras_network", 1: "optimizer"}
    assert parts.metadata == {0: '{"a": 1}'}
    assert parts.trainable == {2: True, 3: False}


def test_of_tensorflow_1(tmp_path: Path) -> None:
    """A SavedModel of TensorFlow 1 has no objects, and may have several graphs: the first counts."""
    path = tmp_path / "saved_model.pb"
    first, second = meta_graph(None, version="1.15.5", tags=["train"]), meta_graph(None, version="9", tags=["serve"])
    path.write_bytes(field(2, first) + field(2, second))
    parts = read_saved_model(str(path))
    assert (parts.tensorflow_version, parts.tags, parts.metagraphs) == ("1.15.5", ("train",), 2)
    assert not parts.identifiers


def test_the_graph_is_skipped(tmp_path: Path) -> None:
    """A GraphDef of 3 GB costs nothing: it is skipped by position."""
    path = tmp_path / "saved_model.pb"
    graph_size, rest = 3 << 30, meta_graph(_objects(), version="2.21.0", tags=[])
    head = b"\x12" + varint(graph_size)
    with path.open("wb") as file:
        file.write(b"\x08\x01\x12" + varint(len(head) + graph_size + len(rest)) + head)
        file.seek(graph_size, 1)
        file.write(rest)
    assert read_saved_model(str(path)).tensorflow_version == "2.21.0"


GOOD = saved_model(_objects(), version="2.10.1", tags=["serve"])

BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", r"saved_model.pb \(0 bytes\) holds no MetaGraph"),
    "no graph": (b"\x08\x01", r"\(2 bytes\) holds no MetaGraph: it is truncated, or no SavedModel"),
    "cut": (GOOD[:-5], "claims .* bytes, .* are left"),
    "random": (bytes(range(0x80, 0x100)) * 3, "is no protocol buffer field|claims"),
    "html": (b"<!DOCTYPE html><html>", "is no protocol buffer field|claims"),
    "length past the end": (b"\x12" + varint(1 << 60), "claims 1,152,921,504,606,846,976 bytes, 0 are left"),
    "objects of garbage": (field(2, field(7, b"\xff" * 10)), "saved_model.pb is corrupt"),
    "information of garbage": (field(2, field(1, b"\xff" * 10)), "saved_model.pb is corrupt"),
    "graph of garbage": (field(2, b"\xff" * 20), "is no protocol buffer field"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad(tmp_path: Path, bad: str) -> None:
    """What is no SavedModel, or a part of one, is an error with its place."""
    data, message = BAD[bad]
    path = tmp_path / "saved_model.pb"
    path.write_bytes(data)
    with pytest.raises(UnreadableArtifact, match=message) as raised:
        read_saved_model(str(path))
    assert raised.value.path == str(path)


def test_keras_metadata(tmp_path: Path) -> None:
    """Keras' metadata by node path."""
    metadata = pb.KerasMetadata()
    metadata.nodes.add(node_id=0, node_path="root", metadata="{}")
    metadata.nodes.add(node_id=1, node_path="root.layer-0", metadata="[]")
    path = tmp_path / "keras_metadata.pb"
    path.write_bytes(metadata.SerializeToString())
    assert read_keras_metadata(str(path)) == {"root": "{}", "root.layer-0": "[]"}


@pytest.mark.parametrize("data", [b"\xff" * 10, b"\x0a\x7fabc", b"\x0a\x04\x2a\x02\xff\xfe"])
def test_bad_keras_metadata(tmp_path: Path, data: bytes) -> None:
    """Metadata that is garbage is an error that names the file."""
    path = tmp_path / "keras_metadata.pb"
    path.write_bytes(data)
    with pytest.raises(UnreadableArtifact, match=r"keras_metadata\.pb is no Keras metadata: it is corrupt"):
        read_keras_metadata(str(path))
