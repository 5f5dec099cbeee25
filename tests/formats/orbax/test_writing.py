"""Optimizers written into Orbax checkpoints: where the result lies, what stays, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.museum import FIXTURES

import ckptdoctor
from ckptdoctor import inspect
from ckptdoctor.errors import GraftRefused, UnreadableArtifact
from ckptdoctor.examination import Examination
from ckptdoctor.formats.orbax.writing.steps import placed
from ckptdoctor.state import Status


def _files(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def _as_before_0_5_23(folder: Path, out: Path) -> Path:
    """An item of today as Orbax before 0.5.23 has it: the file `checkpoint` has the tree, and names of arrays in it."""
    msgpack = pytest.importorskip("msgpack")
    shutil.copytree(folder, out)
    (out / "checkpoint").write_bytes(msgpack.packb(_old_tree(folder)))
    return out


def _old_tree(folder: Path) -> object:
    nodes = json.loads((folder / "_METADATA").read_text(encoding="utf-8"))["tree_metadata"].values()
    root: dict[str, Any] = {}
    kinds: dict[tuple[str, ...], int] = {}
    for node in nodes:
        keys = [str(each["key"]) for each in node["key_metadata"]]
        kinds |= {tuple(keys[:depth]): node["key_metadata"][depth]["key_type"] for depth in range(len(keys))}
        here = root
        for key in keys[:-1]:
            here = here.setdefault(key, {})
        empty = node["value_metadata"]["value_type"] in {"None", "Dict", "List"}
        here[keys[-1]] = None if empty else f"PLACEHOLDER://{'.'.join(keys)}"

    def listed(value: Any, path: tuple[str, ...]) -> Any:
        if not isinstance(value, dict):
            return value
        below = {key: listed(each, (*path, key)) for key, each in value.items()}
        return [below[key] for key in sorted(below, key=int)] if kinds[path] == 1 else below

    return listed(root, ())


@pytest.mark.parametrize("target", ["params", "adamw"])
def test_the_tree_of_orbax_before_0_5_23(museum: Path, tmp_path: Path, target: str) -> None:
    """What this Orbax goes by says the same as what later ones do; without the optimizer too."""
    msgpack = pytest.importorskip("msgpack")
    jax, donor = museum / "orbax-jax", museum / "orbax-jax" / "adamw"
    into, out = _as_before_0_5_23(jax / target, tmp_path / "old"), tmp_path / "out"
    ckptdoctor.graft(donor, into, out)
    assert inspect(out)[0].status is Status.COMPLETE
    assert msgpack.unpackb((out / "checkpoint").read_bytes()) == _old_tree(out) == _old_tree(donor)
    ckptdoctor.strip(out, tmp_path / "stripped")
    left = msgpack.unpackb((tmp_path / "stripped" / "checkpoint").read_bytes())
    assert left == _old_tree(tmp_path / "stripped")
    assert "opt_state" not in left


def _examined(path: Path) -> Examination:
    (found,) = inspect(path)
    return found


@pytest.fixture
def checkpoint(museum: Path) -> Path:
    """A checkpoint of Keras, with its optimizer."""
    return museum / "orbax-keras3.15-jax" / "functional"


@pytest.mark.parametrize("link", [False, True])
def test_the_same_again(checkpoint: Path, tmp_path: Path, link: bool) -> None:  # noqa: FBT001 - a parameter
    """Grafted into itself a checkpoint holds what it held, under the same names; the input is as it was."""
    before = _files(checkpoint)
    output = tmp_path / "out"
    receipt = ckptdoctor.graft(checkpoint, checkpoint, output, link=link)
    assert _files(checkpoint) == before
    assert bool(receipt.written.bytes_linked) == link
    assert ckptdoctor.diff(checkpoint, output, values=True).equal
    old, new = _examined(checkpoint), _examined(output)
    assert [each.code for each in new.findings] == [each.code for each in old.findings]
    (step,) = os.listdir(output)
    after = _files(output)
    for name in before:
        if name.startswith(f"{step}/") and name.endswith((".json", "_METADATA", "process_0", ".txt")):
            assert name in after
    tree = f"{step}/pytree/_METADATA"
    assert list(json.loads(after[tree])["tree_metadata"]) == list(json.loads(before[tree])["tree_metadata"])
    assert json.loads(after[tree]) == json.loads(before[tree])
    arrays = f"{step}/pytree/array_metadatas/process_0"
    assert json.loads(after[arrays]) == json.loads(before[arrays])
    shardings = f"{step}/pytree/_sharding"
    assert json.loads(after[shardings]) == json.loads(before[shardings])


def test_the_count_alone(checkpoint: Path, tmp_path: Path) -> None:
    """--iterations N sets the count; slots stay."""
    output = tmp_path / "out"
    ckptdoctor.graft(None, checkpoint, output, iterations=123)
    found = _examined(output)
    assert found.status is Status.COMPLETE
    assert found.state is not None
    assert found.state.optimizers[0].iterations == 123


def test_a_count_that_is_too_large(checkpoint: Path, tmp_path: Path) -> None:
    """JAX counts in 32 bits."""
    with pytest.raises(GraftRefused, match=r"int32.* can hold"):
        ckptdoctor.graft(None, checkpoint, tmp_path / "out", iterations=1 << 40)
    assert not list(tmp_path.iterdir())


def test_another_rate(checkpoint: Path, tmp_path: Path) -> None:
    """What the configuration says changes with the state, and the optimizer keeps its name in both."""
    output = tmp_path / "out"
    ckptdoctor.graft(checkpoint, checkpoint, output, learning_rate=0.125)
    text = next(output.rglob("_strings.json")).read_text()
    config = json.loads(json.loads(text)["config"])["compile_config"]["optimizer"]["config"]
    assert config["learning_rate"] == 0.125
    found = _examined(output)
    assert found.state is not None
    assert found.state.optimizers[0].hyperparameters["learning_rate"] == 0.125
    assert not found.state.optimizers[0].conflicts
    assert f"optimizer_variables/{config['name']}/" in str(found.state.optimizers[0].iterations_key)


@pytest.mark.parametrize(
    ("target", "output", "place"),
    [
        ("run/7", "out", "out/7"),
        ("run/7", "run/12", "run/12"),
        ("run/ckpt_7", "run/ckpt_12", "run/ckpt_12"),
        ("run/ckpt_7", "out_2", "out_2/ckpt_7"),
        ("run/final", "out", "out"),
    ],
)
def test_where_a_step_goes(tmp_path: Path, target: str, output: str, place: str) -> None:
    """Named as a step an output is one; named otherwise it is the root of a run of one step."""
    assert placed(str(tmp_path / target), str(tmp_path / output))[0] == str(tmp_path / place)


def test_beside_the_others(checkpoint: Path, tmp_path: Path) -> None:
    """A number for a name makes the next step of a run."""
    ckptdoctor.graft(checkpoint, checkpoint, tmp_path / "run")
    (step,) = os.listdir(tmp_path / "run")
    ckptdoctor.graft(None, tmp_path / "run" / step, tmp_path / "run" / "99", iterations=50)
    found = _examined(tmp_path / "run")
    assert found.resolved == str(tmp_path / "run" / "99")
    assert found.state is not None
    assert found.state.optimizers[0].iterations == 50


def test_not_within_the_target(checkpoint: Path, tmp_path: Path) -> None:
    """Nothing is put into a step that is read."""
    ckptdoctor.graft(checkpoint, checkpoint, tmp_path / "run")
    (step,) = os.listdir(tmp_path / "run")
    before = _files(tmp_path)
    with pytest.raises(GraftRefused, match="inside an input"):
        ckptdoctor.graft(None, tmp_path / "run", tmp_path / "run" / step / "out", iterations=50)
    assert _files(tmp_path) == before


def test_what_lies_beside(checkpoint: Path, tmp_path: Path) -> None:
    """Items and files that nobody knows are kept; links that lead out of the checkpoint are refused."""
    ckptdoctor.graft(checkpoint, checkpoint, tmp_path / "run")
    (step,) = os.listdir(tmp_path / "run")
    (tmp_path / "run" / step / "assets").mkdir()
    (tmp_path / "run" / step / "assets" / "words.txt").write_text("a b c")
    (tmp_path / "run" / step / "pytree" / "note.txt").write_text("mine")
    ckptdoctor.graft(None, tmp_path / "run", tmp_path / "out", iterations=50)
    assert (tmp_path / "out" / step / "assets" / "words.txt").read_text() == "a b c"
    assert (tmp_path / "out" / step / "pytree" / "note.txt").read_text() == "mine"
    (tmp_path / "run" / step / "assets" / "secret").symlink_to("/etc/hostname")
    with pytest.raises(UnreadableArtifact, match="leads out"):
        ckptdoctor.graft(None, tmp_path / "run", tmp_path / "more", iterations=50)
    assert sorted(os.listdir(tmp_path)) == ["out", "run"]


@pytest.mark.parametrize("generation", ["keras2", "optimizer-v2", "tf1"])
def test_other_generations(checkpoint: Path, tmp_path: Path, generation: str) -> None:
    """OrbaxCheckpoint is of Keras 3."""
    with pytest.raises(GraftRefused, match="Keras 3"):
        ckptdoctor.graft(checkpoint, checkpoint, tmp_path / "out", generation=generation)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_chain_of_another_model_is_refused(museum: Path, tmp_path: Path) -> None:
    """Keras takes a chain of optax where its own optimizer says what it is; not one of other variables."""
    with pytest.raises(GraftRefused, match="no counterpart"):
        ckptdoctor.graft(museum / "orbax-jax" / "adamw", FIXTURES / "keras3.keras", tmp_path / "out.keras")
    assert not list(tmp_path.iterdir())
