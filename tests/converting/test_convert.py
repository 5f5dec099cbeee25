"""Conversions: what torch loads of the result is what the artifact held, and an optimizer goes on as it would have."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.commands import Result, ckptdoctor
from support.schemas import load

import ckptdoctor as api
from ckptdoctor.containers.safetensors import read_safetensors
from ckptdoctor.containers.tensors.values import assembled
from ckptdoctor.containers.torchfiles.writing.distributed import Added, create
from ckptdoctor.errors import GraftRefused
from ckptdoctor.references import Inline, TensorRef

torch = pytest.importorskip("torch", exc_type=ImportError)

from support.pytorch.nets import AFTER, BEFORE, decayed, difference, net, resumed, train  # noqa: E402 - they need torch


def convert(*arguments: str | Path, code: int = 0) -> Result:
    """Runs a conversion."""
    result = ckptdoctor("convert", *arguments)
    assert result.code == code, result.err + result.out
    return result


def _adamw(groups: Any) -> Any:
    return torch.optim.AdamW(groups, 0.01)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run in several layouts, and the model at its end."""
    folder = tmp_path_factory.mktemp("run")
    model = net()
    optimizer = _adamw(decayed(model))
    train(model, optimizer, 0, BEFORE)
    whole = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "betas": (0.5, None)}
    torch.save(whole, folder / "zip.pt")
    torch.save(whole, folder / "stream.pt", _use_new_zipfile_serialization=False)
    torch.save({"net": model, "opt": optimizer, "epoch": 3}, folder / "objects.pt")
    text = {"state": {str(key): each for key, each in optimizer.state_dict()["state"].items()}}
    damaged = {"model": model.state_dict(), "optimizer": {**optimizer.state_dict(), **text}}
    torch.save(damaged, folder / "text.pt", _use_new_zipfile_serialization=False)
    train(model, optimizer, BEFORE, AFTER)
    return folder, model


def test_a_stream_becomes_an_archive(run: tuple[Path, Any], tmp_path: Path) -> None:
    """Nothing is lost, and torch.load takes it in the ways that it refuses for a stream."""
    folder, model = run
    convert(folder / "stream.pt", "--output", tmp_path / "out.pt")
    found = torch.load(tmp_path / "out.pt", weights_only=True, mmap=True)
    before = torch.load(folder / "stream.pt", weights_only=True)
    assert list(found) == list(before)
    assert (found["epoch"], found["betas"]) == (3, (0.5, None))
    assert all(torch.equal(found["model"][name], each) for name, each in before["model"].items())
    assert difference(model, resumed(found["model"], found["optimizer"], _adamw, groups=True)) == 0


def test_pickled_objects_become_state_dicts(run: tuple[Path, Any], tmp_path: Path) -> None:
    """A model and an optimizer that were pickled whole, which weights_only=True refuses."""
    folder, model = run
    convert(folder / "objects.pt", "--output", tmp_path / "out.pt")
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    assert difference(model, resumed(found["net"], found["opt"], _adamw, groups=True)) == 0
    assert found["epoch"] == 3


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
@pytest.mark.filterwarnings("ignore:.*TypedStorage is deprecated")
@pytest.mark.parametrize("flat", [None, False, True])
def test_distributed_and_back(run: tuple[Path, Any], tmp_path: Path, flat: bool | None) -> None:  # noqa: FBT001 - a parameter
    """A directory of every layout as one file, and a file as a directory that get_state_dict's users load."""
    dcp: Any = pytest.importorskip("torch.distributed.checkpoint")
    states: Any = pytest.importorskip("torch.distributed.checkpoint.state_dict")
    folder, model = run
    saved = torch.load(folder / "zip.pt", weights_only=True)
    begun = net()
    begun.load_state_dict(saved["model"])
    optimizer = _adamw(decayed(begun))
    optimizer.load_state_dict(saved["optimizer"])
    options = states.StateDictOptions(flatten_optimizer_state_dict=bool(flat))
    both = states.get_state_dict(begun, optimizer, options=options)
    weights, state = both if flat is not None else (begun.state_dict(), optimizer.state_dict())
    dcp.save({"model": weights, "optimizer": state, "epoch": 3}, checkpoint_id=tmp_path / "ranks")
    convert(tmp_path / "ranks", "--output", tmp_path / "out.pt")
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    groups = found["optimizer"]["param_groups"]
    assert {type(key) for key in found["optimizer"]["state"]} == {int}
    if flat is None or len(groups) == 2:  # flattened directories do not store the grouping
        assert difference(model, resumed(found["model"], found["optimizer"], _adamw, groups=True)) == 0
    if flat is not None:
        return
    convert(tmp_path / "out.pt", "--output", tmp_path / "again", "--to", "torch-dcp")
    again = net(5)
    other = _adamw(decayed(again))
    weights, state = states.get_state_dict(again, other)
    target = {"model": weights, "optimizer": state}
    dcp.load(target, checkpoint_id=tmp_path / "again")
    states.set_state_dict(again, other, model_state_dict=target["model"], optim_state_dict=target["optimizer"])
    train(again, other, BEFORE, AFTER)
    assert difference(model, again) == 0


def test_numbers_that_were_text(run: tuple[Path, Any], tmp_path: Path) -> None:
    """Parameters' numbers as text, which load_state_dict drops silently, are numbers in the result of a conversion."""
    folder, model = run
    convert(folder / "text.pt", "--output", tmp_path / "ranks", "--to", "torch-dcp")
    convert(tmp_path / "ranks", "--output", tmp_path / "out.pt")
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    assert difference(model, resumed(found["model"], found["optimizer"], _adamw, groups=True)) == 0


def test_weights_as_safetensors(run: tuple[Path, Any], tmp_path: Path) -> None:
    """One file, and shards with an index; both ways, and what stays behind is said."""
    folder, _ = run
    weights = torch.load(folder / "zip.pt", weights_only=True)["model"]
    result = convert(folder / "zip.pt", "--output", tmp_path / "model.safetensors")
    assert "optimizer state stays behind" in result.out
    found = read_safetensors(str(tmp_path / "model.safetensors"))
    assert found.metadata == {"format": "pt"}
    for name, each in weights.items():
        assert assembled(found.tensors[name]).tobytes() == each.numpy().tobytes()
    convert(tmp_path / "model.safetensors", "--output", tmp_path / "back.pt")
    assert all(torch.equal(weights[n], e) for n, e in torch.load(tmp_path / "back.pt", weights_only=True).items())
    convert(folder / "zip.pt", "--output", tmp_path / "shards", "--to", "safetensors", "--max-shard-size", "100B")
    index = json.loads((tmp_path / "shards/model.safetensors.index.json").read_text(encoding="utf-8"))
    assert set(index["weight_map"]) == set(weights)
    assert len(set(index["weight_map"].values())) > 3
    for whole in ("shards", "shards/model.safetensors.index.json"):
        convert(tmp_path / whole, "--output", tmp_path / "joined.pt", "--overwrite")
        joined = torch.load(tmp_path / "joined.pt", weights_only=True)
        assert all(torch.equal(joined[name], each) for name, each in weights.items())
    safetensors = pytest.importorskip("safetensors.torch")
    assert set(safetensors.load_file(tmp_path / "model.safetensors")) == set(weights)


@pytest.mark.parametrize(
    ("content", "said"),
    [({}, "with something in it"), ({"a.b": 1, "a": {"b": 2}}, "joined by dots"), ([1], "no dictionary")],
)
def test_what_has_no_names_in_a_directory(content: object, said: str, tmp_path: Path) -> None:
    """Entries of a distributed checkpoint are called by their keys, joined by dots."""
    torch.save(content, tmp_path / "in.pt")
    with pytest.raises(GraftRefused, match=said):
        api.convert(tmp_path / "in.pt", tmp_path / "out", "torch-dcp")
    assert [each.name for each in tmp_path.iterdir()] == ["in.pt"]


def test_an_entry_without_a_path(tmp_path: Path) -> None:
    """Nobody writes one; its key is its name."""
    weight = TensorRef("w", "float32", (2,), Inline(bytes(8)))
    os.mkdir(tmp_path / "dcp")
    create(str(tmp_path / "dcp"), {"odd": Added((), weight), "model.w": Added(("model", "w"), weight)})
    (found,) = api.inspect(tmp_path / "dcp")
    assert found.error is None
    assert found.state is not None


def test_what_cannot_be_is_refused(run: tuple[Path, Any], tmp_path: Path) -> None:
    """With one sentence; nothing is written, and nothing that was there is touched."""
    folder, _ = run
    assert "nothing to convert" in convert(folder / "zip.pt", "--output", tmp_path / "out.pt", code=4).err
    assert "--to" in convert(folder / "zip.pt", "--output", tmp_path / "out.xyz", code=4).err
    assert "there are" in convert(folder / "zip.pt", "--output", tmp_path / "x", "--to", "msgpack", code=2).err
    convert(folder / "missing.pt", "--output", tmp_path / "out.pt", code=2)
    (tmp_path / "there.pt").write_text("mine", encoding="utf-8")
    assert "--overwrite" in convert(folder / "stream.pt", "--output", tmp_path / "there.pt", code=4).err
    assert (tmp_path / "there.pt").read_text(encoding="utf-8") == "mine"
    (tmp_path / "cut.pt").write_bytes((folder / "zip.pt").read_bytes()[:2000])
    convert(tmp_path / "cut.pt", "--output", tmp_path / "out.safetensors", code=3)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cut.pt", "there.pt"]


def test_json_and_python_say_the_same(run: tuple[Path, Any], tmp_path: Path) -> None:
    """The receipt, for pipelines and for notebooks."""
    folder, _ = run
    told = json.loads(convert(folder / "stream.pt", "--output", tmp_path / "a.pt", "--format", "json").out)
    jsonschema.validate(told, load("convert.schema.json"))
    found = api.convert(folder / "stream.pt", tmp_path / "b.pt")
    assert told["optimizers"] == [{"class": "AdamW", "iterations": BEFORE}]
    assert (told["to"], told["bytes"]) == (found.to.value, found.bytes_written)
