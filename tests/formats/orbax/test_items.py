"""Items in every layout: one tree, whatever its arrays lie in, and what is said of those that lack something."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.orbax.ocdbt import database
from support.orbax.zarr_arrays import v2, v3, write

from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.run import check_paths
from ckptdoctor.examination import Examination, examine
from ckptdoctor.state import Status

W = np.arange(6, dtype="float32").reshape(2, 3)
LEAVES = {
    "params.w": W,
    "opt_state.0.count": np.asarray(7, "int32"),
    "opt_state.0.mu.w": W + 1,
    "opt_state.0.nu.w": W + 2,
    "step": np.asarray(7, "int32"),
}


def _one(path: Path) -> Examination:
    (found,) = examine(str(path))
    return found


def _codes(found: Examination) -> set[str]:
    return {each.code for each in found.findings} - {"P002", "I009"}


def _entry(name: str, kind: str, **more: object) -> tuple[str, object]:
    keys = name.split(".")
    path = [{"key": key, "key_type": 1 if key.isdigit() else 2} for key in keys]
    return str(tuple(keys)), {"key_metadata": path, "value_metadata": {"value_type": kind, **more}}


def _metadata(folder: Path, **settings: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    nodes = dict([*(_entry(name, "np.ndarray") for name in LEAVES), _entry("opt_state.1", "None")])
    (folder / "_METADATA").write_text(json.dumps({"tree_metadata": nodes, **settings}))
    (folder / "_CHECKPOINT_METADATA").write_text(json.dumps({"commit_timestamp_nsecs": 1}))
    return folder


def _stored(*, three: bool = False) -> Iterator[tuple[str, dict[str, bytes]]]:
    for name, array in LEAVES.items():
        chunk = tuple(max(1, extent - 1) for extent in array.shape)
        yield name, v3(array, chunk, packers=["zstd"]) if three else v2(array, chunk, packer="zstd")


def _msgpack(values: dict[str, object]) -> bytes:
    """Nested maps of placeholders and numbers."""
    data = b"\xde" + struct.pack(">H", len(values))
    for key, value in values.items():
        data += b"\xd9" + bytes([len(key)]) + key.encode()
        if isinstance(value, dict):
            data += _msgpack(value)
        elif isinstance(value, str):
            data += b"\xd9" + bytes([len(value)]) + value.encode()
        else:
            data += b"\xc0" if value is None else b"\xd2" + struct.pack(">i", value)
    return data


def _is_right(found: Examination) -> None:
    assert found.error is None, found.error
    (optimizer,) = found.optimizers
    assert found.status is Status.COMPLETE
    assert (optimizer.iterations, optimizer.class_name) == (7, "Adam")
    assert {(each.name, each.variable) for each in optimizer.slots} == {("mu", "w"), ("nu", "w")}
    assert found.state is not None
    assert found.state.counters == {"step": 7}


def test_directories(tmp_path: Path) -> None:
    """Those of zarr v2 and v3, without OCDBT."""
    for three in (False, True):
        folder = _metadata(tmp_path / str(three))
        write(folder, dict(_stored(three=three)))
        _is_right(_one(folder))
        assert not _codes(_one(folder))


def test_a_database(tmp_path: Path) -> None:
    """The same values under the same keys, in OCDBT."""
    folder = _metadata(tmp_path / "item")
    database(folder, {f"{name}/{key}": data for name, values in _stored() for key, data in values.items()})
    _is_right(_one(folder))


def test_the_first_layout(tmp_path: Path) -> None:
    """Orbax 0.2: the tree is in the file `checkpoint`, which names the arrays or holds the values."""
    folder = write(tmp_path / "item", {name: values for name, values in _stored() if name != "step"})
    held = {"mu": {"w": "PLACEHOLDER://opt_state.0.mu.w"}, "nu": {"w": "PLACEHOLDER://opt_state.0.nu.w"}}
    state = {"0": {"count": "PLACEHOLDER://opt_state.0.count", **held}, "1": None}
    tree = {"params": {"w": "PLACEHOLDER://params.w"}, "opt_state": state, "step": 7}
    (folder / "checkpoint").write_bytes(_msgpack(tree))
    _is_right(_one(folder))
    assert not _codes(_one(folder))
    shutil.rmtree(folder / "opt_state.0.mu.w")
    found = _one(folder)
    assert "I002" in _codes(found)
    assert found.status is Status.PARTIAL


def test_names_alone(tmp_path: Path) -> None:
    """Without its tree an item is read by the names of its arrays, and Orbax restores nothing of it."""
    folder = write(tmp_path / "item", dict(_stored()))
    found = _one(folder)
    _is_right(found)
    assert _codes(found) == {"I002"}


def test_lost_chunks(tmp_path: Path) -> None:
    """A moment of which a chunk is gone is no moment: old versions restore zeros there."""
    folder = write(_metadata(tmp_path / "item"), dict(_stored()))
    next((folder / "opt_state.0.mu.w").glob("0.*")).unlink()
    found = _one(folder)
    assert _codes(found) >= {"I002"}
    assert "zeros" in next(each.message for each in found.findings if each.code == "I002")
    assert found.status is Status.PARTIAL
    assert [(each.name, each.variable) for each in found.optimizers[0].missing] == [("mu", "w")]
    _metadata(folder, store_array_data_equal_to_fill_value=False)
    assert "I002" not in _codes(_one(folder))


def test_damaged_values(tmp_path: Path) -> None:
    """A chunk that does not unpack is nothing that inspect reads, and everything that --deep is for."""
    folder = write(_metadata(tmp_path / "item"), dict(_stored()))
    chunk = next((folder / "opt_state.0.nu.w").glob("0.*"))
    chunk.write_bytes(chunk.read_bytes()[:-2])
    _is_right(_one(folder))
    (found,) = check_paths([str(folder)], Policy(deep=True))
    assert found.exit_code == 1
    assert "I004" in {each.code for each in found.findings}


def test_trees_and_arrays_of_different_saves(tmp_path: Path) -> None:
    """Shapes that contradict each other are an error."""
    folder = write(_metadata(tmp_path / "item"), dict(_stored()))
    nodes = json.loads((folder / "_METADATA").read_text())["tree_metadata"]
    nodes.update([_entry("params.w", "jax.Array", write_shape=[3, 3])])
    (folder / "_METADATA").write_text(json.dumps({"tree_metadata": nodes}))
    found = _one(folder)
    assert found.error is not None
    assert "different saves" in str(found.error)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{}",
        "[]",
        '{"tree_metadata": []}',
        '{"tree_metadata": {"a": {}}}',
        '{"tree_metadata": {"a": {"key_metadata": [{"key": null}], "value_metadata": {}}}}',
        '{"tree_metadata": {"a": {"key_metadata": [{"key": 1e400}], "value_metadata": {}}}}',
        '{"tree_metadata": {"__import__(\'os\').abort()": {"key_metadata": 7, "value_metadata": {}}}}',
    ],
)
def test_trees_that_are_none(tmp_path: Path, text: str) -> None:
    """What Orbax did not write is one sentence."""
    folder = write(_metadata(tmp_path / "item"), dict(_stored()))
    (folder / "_METADATA").write_text(text)
    assert _one(folder).error is not None
