"""OCDBT databases: what they hold, and what every lie in them comes to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.orbax.lies import LIES, as_node
from support.orbax.ocdbt import DATA, MANIFEST, NODE, At, branch, database, files, frame, leaf, manifest, numbers, write

from ckptdoctor.containers.ocdbt import nodes
from ckptdoctor.containers.ocdbt.database import Database
from ckptdoctor.containers.zarrs.store import small
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import Inline


def _read(folder: Path) -> Database:
    return Database(str(folder), str(folder))


def test_values(tmp_path: Path) -> None:
    """Values stand in the tree, or in data files."""
    (tmp_path / "ocdbt.process_0").mkdir()
    (tmp_path / "ocdbt.process_0" / "x").write_bytes(b"0123456789")
    found = _read(database(tmp_path, {"a/.zarray": b"{}", "a/0": At("ocdbt.process_0/x", 2, 3)}))
    assert found.values["a/.zarray"] == Inline(b"{}")
    assert small(found, "a/0") == b"234"
    found.require_files()


def test_a_tree(tmp_path: Path) -> None:
    """Keys of leaves continue those of the nodes above."""
    leaves = [frame(NODE, leaf({"x": b"1", "y": b"2"})), frame(NODE, leaf({"": b"3", "z": b"4"}))]
    first, second = len(leaves[0]), len(leaves[1])

    def root(at: int) -> bytes:
        children = {"aa": At(DATA, at, first), "ab": At(DATA, at + first, second)}
        return frame(NODE, branch(children, shared=2), packed=False)

    size = len(root(0))
    assert len(root(size)) == size
    found = _read(write(tmp_path, [root(size), *leaves], height=1))
    values = {key: value.data for key, value in found.values.items() if isinstance(value, Inline)}
    assert values == {"aax": b"1", "aay": b"2", "ab": b"3", "abz": b"4"}


def test_not_compressed(tmp_path: Path) -> None:
    """Nodes may lie as they are."""
    assert set(_read(write(tmp_path, [frame(NODE, leaf({"k": b"v"}), packed=False)])).values) == {"k"}


def test_an_empty_database(tmp_path: Path) -> None:
    """A manifest without a root has no keys."""
    (tmp_path / "manifest.ocdbt").write_bytes(frame(MANIFEST, manifest(At(DATA, 0, 0))))
    assert not _read(tmp_path).values


def test_numbered_manifests(tmp_path: Path) -> None:
    """The settings may stand alone, and the newest version in the file of the highest number."""
    database(tmp_path, {"k": b"v"})
    settings = manifest(At(DATA, 0, 0), kind=1)[: 16 + 1 + 2 + 4 + 1 + 1 + 4]
    whole = manifest(At(DATA, 0, (tmp_path / DATA).stat().st_size), kind=1)
    (tmp_path / "manifest.ocdbt").write_bytes(frame(MANIFEST, settings))
    with pytest.raises(UnreadableArtifact, match="numbered"):
        _read(tmp_path)
    (tmp_path / "manifest.0000000000000001").write_bytes(frame(MANIFEST, manifest(At("d/gone", 0, 9), kind=1)))
    (tmp_path / "manifest.0000000000000002").write_bytes(frame(MANIFEST, whole))
    assert set(_read(tmp_path).values) == {"k"}


def test_a_missing_data_file(tmp_path: Path) -> None:
    """It is named, with the values that it holds."""
    found = _read(database(tmp_path, {"w/0": At("ocdbt.process_0/d/1", 0, 8)}))
    with pytest.raises(UnreadableArtifact, match=r"ocdbt.process_0/d/1 is missing, and with it w/0") as caught:
        found.require_files()
    assert caught.value.code == "I002"


@pytest.mark.parametrize("name", LIES)
def test_lies(tmp_path: Path, name: str) -> None:
    """One clear sentence, soon."""
    build, says = LIES[name]
    build(tmp_path)
    with pytest.raises(UnreadableArtifact, match=says):
        _read(tmp_path).require_files()


def test_the_same_value_many_times(tmp_path: Path) -> None:
    """Many keys of one large value would unpack it many times."""
    (tmp_path / "big").write_bytes(bytes(1 << 20))
    values: dict[str, bytes | At] = {f"{number}/0": At("big", 0, 1 << 20) for number in range(10)}
    with pytest.raises(LimitExceeded, match="share"):
        _read(database(tmp_path, values))


def test_keys_of_a_node_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefixes let few bytes stand for many: what they come to is counted."""
    monkeypatch.setattr(nodes, "MAX_NODE", 10_000)
    keys = numbers(200, *[199] * 199, 200, *[0] * 199)
    as_node(bytes([0]) + files() + keys + bytes(200) + numbers(*[0] * 400))(tmp_path)
    with pytest.raises(LimitExceeded, match="keys"):
        _read(tmp_path)


def test_links(tmp_path: Path) -> None:
    """A link that leads out of the checkpoint is refused; one into a Hugging Face cache's own blobs is not."""
    outside = tmp_path / "outside"
    outside.mkdir()
    inside = database(tmp_path / "inside", {"k": b"v"})
    (inside / DATA).rename(outside / "data")
    os.symlink(outside / "data", inside / DATA)
    with pytest.raises(UnreadableArtifact, match="leads out") as caught:
        _read(inside)
    assert caught.value.code == "X002"
    cache = tmp_path / "models--a"
    (cache / "blobs").mkdir(parents=True)
    snapshot = database(cache / "snapshots" / "1f", {"k": b"v"})
    (snapshot / DATA).rename(cache / "blobs" / "77")
    os.symlink("../../../blobs/77", snapshot / DATA)
    assert set(_read(snapshot).values) == {"k"}


def test_a_fifo_does_not_wait(tmp_path: Path) -> None:
    """What is no regular file is not opened."""
    folder = database(tmp_path, {"w/0": At("pipe", 0, 8)})
    os.mkfifo(folder / "pipe")
    with pytest.raises(UnreadableArtifact, match="not a regular file"):
        _read(folder)
