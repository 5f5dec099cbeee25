"""What `repair` mends is found and loaded by TensorFlow and Keras, and training ends where the unbroken run does."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
from support.commands import ckptdoctor
from support.frameworks import child, run

from ckptdoctor import repair

pytestmark = pytest.mark.real
CHILD = str(Path(__file__).with_name("repair_keras_child.py"))
JAX = {"KERAS_BACKEND": "jax"}


@pytest.mark.skipif(
    not all(importlib.util.find_spec(each) for each in ("jax", "orbax", "keras")),
    reason="JAX, orbax-checkpoint and Keras are not installed",
)
def test_paths_that_load_model_looks_for(tmp_path: Path) -> None:
    """As saved, load_model makes new weights without a word; mended, training goes on exactly."""
    child(CHILD, "make", tmp_path, settings=JAX)
    lost = child(CHILD, "resume", tmp_path, "", settings=JAX)
    assert min(lost.values()) > 1e-3
    for kind in lost:
        shutil.copytree(tmp_path / kind, tmp_path / f"{kind}-in-place")
        made = ckptdoctor("repair", tmp_path / kind, "--fix", "orbax-paths", "--output", tmp_path / f"{kind}-mended")
        assert made.code == 0, made.err
        made = ckptdoctor("repair", tmp_path / f"{kind}-in-place", "--fix", "orbax-paths", "--in-place")
        assert made.code == 0, made.err
    for suffix in ("-mended", "-in-place"):
        assert set(child(CHILD, "resume", tmp_path, suffix, settings=JAX).values()) == {0.0}


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_a_run_that_was_moved(tmp_path: Path) -> None:
    """latest_checkpoint answers None where absolute paths lead nowhere, and then the same checkpoint as before."""
    code = (
        "import os, sys, tensorflow as tf\n"
        "value = tf.train.Checkpoint(v=tf.Variable(1.0))\n"
        "folder = sys.argv[1]\n"
        "manager = tf.train.CheckpointManager(value, folder, max_to_keep=2)\n"
        "if len(sys.argv) > 2:\n"
        "    for number in (9, 10):\n"
        "        manager.save(number)\n"
        "else:\n"
        "    print(tf.train.latest_checkpoint(folder), manager.checkpoints)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    run(script, tmp_path / "run", "make")
    (tmp_path / "run").rename(tmp_path / "moved")
    state = tmp_path / "moved" / "checkpoint"
    state.write_text(state.read_text().replace('"ckpt', f'"{tmp_path}/run/ckpt'))  # as an absolute directory has it
    assert run(script, tmp_path / "moved")[0].startswith("None ")
    result = ckptdoctor("repair", tmp_path / "moved", "--in-place")
    assert result.code == 0, result.err
    moved = tmp_path / "moved"
    assert run(script, moved) == [f"{moved / 'ckpt-10'} {[str(moved / 'ckpt-9'), str(moved / 'ckpt-10')]}"]


@pytest.mark.skipif(importlib.util.find_spec("tf_keras") is None, reason="TensorFlow and tf_keras are not installed")
def test_what_is_salvaged_is_loaded(tmp_path: Path) -> None:
    """TensorFlow restores every tensor that is whole, without its graph of objects too, and Keras every variable."""
    script = str(Path(__file__).with_name("salvage_child.py"))
    child(script, "make", tmp_path)
    wanted: dict[str, int] = {}
    for name, settings in (("new", 0), ("rewritten", 1), ("legacy", 4)):  # which are no variables of the optimizer
        index = tmp_path / f"{name}-ckpt.index"
        whole = (tmp_path / f"{name}-ckpt.data-00000-of-00001").read_bytes()
        changed = bytearray(whole)
        changed[20_000] ^= 1
        for how, data in (("graph", whole[:-10]), ("half", whole[: len(whole) // 2]), ("changed", changed)):
            shutil.copy(index, tmp_path / f"{name}-ckpt-{how}.index")
            (tmp_path / f"{name}-ckpt-{how}.data-00000-of-00001").write_bytes(data)
            kept = salvaged(tmp_path / f"{name}-ckpt-{how}", tmp_path / f"{name}-ckpt-{how}-salvaged")
            wanted[f"{name}-ckpt-{how}-salvaged"] = kept - settings
    for ending in (".weights.h5", ".keras"):
        whole = (tmp_path / f"new{ending}").read_bytes()
        for percent in (30, 60):  # after 60 of 100 every layer is whole; the rate of the optimizer is a new one's, too
            (tmp_path / f"new-{percent}{ending}").write_bytes(whole[: len(whole) * percent // 100])
            kept = salvaged(tmp_path / f"new-{percent}{ending}", tmp_path / f"new-{percent}-salvaged{ending}")
            wanted[f"new-{percent}-salvaged{ending}"] = kept + 1
    found = child(script, "load", tmp_path)
    assert {name: len(same) for name, same in found.items()} == wanted
    assert sum(wanted.values()) > 200


def salvaged(path: Path, output: Path) -> int:
    """Salvages; answers how many tensors are whole, and not left out for others of their variable that are lost."""
    (told,) = [each.told for each in repair(path, output, fixes=["salvage"]).done]
    return int(told[0].split()[0]) - sum(
        each.count("/.OPTIMIZER_SLOT/") for each in told if each.startswith("left out")
    )
