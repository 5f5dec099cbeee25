"""What readers tell beside the state: a place in an epoch, paths of the machine, what torch.load refuses."""

from __future__ import annotations

import argparse
import importlib
import json
import pathlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.diagnosis.findings import Finding
from ckptdoctor.examination import examine
from ckptdoctor.formats.torch.paths import written_path

torch = pytest.importorskip("torch", exc_type=ImportError)


def _found(path: Path, code: str) -> list[Finding]:
    (examined,) = examine(str(path))
    assert examined.state is not None, examined.error
    return [each for each in examined.findings if each.code == code]


def _saved(folder: Path, **content: Any) -> Path:
    torch.save({"model": {"w": torch.ones(2), "b": torch.ones(1)}, **content}, folder / "saved.pt")
    return folder / "saved.pt"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lightning-within.ckpt", ["it was saved after batch 7 of an epoch, and its loader's place is not here"]),
        ("lightning.ckpt", []),
        ("trainer-within/checkpoint-7", ["it was saved at epoch 0.5833: Trainer skips the batches that were done"]),
        ("trainer/checkpoint-7", []),
        ("adam.pt", []),
    ],
)
def test_within_an_epoch(museum: Path, name: str, said: list[str]) -> None:
    """S021 of Lightning's loops and of Trainer's fractional epochs, and of nothing else."""
    assert [each.message for each in _found(museum / "torch2.13" / name, "S021")] == said


PATHS: dict[str, tuple[Any, str]] = {
    "text": ({"args": {"data": "/home/anna/data"}}, "args/data: /home/anna/data"),
    "namespace": ({"args": argparse.Namespace(out="/home/anna/out", lr=0.1)}, "args/out: /home/anna/out"),
    "path": ({"hyper_parameters": {"where": pathlib.PurePosixPath("/home/anna/x")}}, "where: /home/anna/x"),
    "windows": ({"config": {"deep": [{"er": "C:\\Users\\anna\\run"}]}}, r"config/deep/er: C:\\Users\\anna"),
    "callback": (
        {"callbacks": {"ModelCheckpoint{'a': 1}": {"dirpath": "/home/anna/run"}}},
        "ModelCheckpoint/dirpath: /",
    ),
}


@pytest.mark.parametrize("name", PATHS)
def test_paths(tmp_path: Path, name: str) -> None:
    """X006 names the place and the path, once for a file."""
    content, said = PATHS[name]
    (finding,) = _found(_saved(tmp_path, **content), "X006")
    assert said.replace("\\\\", "\\") in finding.message


@pytest.mark.parametrize(
    "content",
    [
        {"args": {"data": "data/train", "url": "https://a.b/c/d", "rate": "1/2", "root": "/", "one": "/data"}},
        {"args": {"text": "/a sentence that\n/goes on/and on"}},
        {"notes": {"data": "/home/anna/data"}},
        {"args": argparse.Namespace(lr=0.1)},
    ],
    ids=["relative", "text", "another key", "none"],
)
def test_no_paths(tmp_path: Path, content: dict[str, Any]) -> None:
    """What is no absolute path, or stands where nobody keeps arguments, is left alone."""
    assert _found(_saved(tmp_path, **content), "X006") == []


def test_path_of_the_best(museum: Path, tmp_path: Path) -> None:
    """Trainer's `best_model_checkpoint`."""
    copy = tmp_path / "checkpoint-7"
    shutil.copytree(museum / "torch2.13" / "trainer" / "checkpoint-7", copy)
    progress = json.loads((copy / "trainer_state.json").read_text())
    (copy / "trainer_state.json").write_text(json.dumps({**progress, "best_model_checkpoint": "/home/anna/run/c-3"}))
    (finding,) = _found(copy, "X006")
    assert "best_model_checkpoint: /home/anna/run/c-3" in finding.message


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [str, Path])
def test_path_of_the_directory(tmp_path: Path, kind: Any) -> None:
    """The `checkpoint_id` of torch.distributed.checkpoint: what was given to `save`, as text or as a path."""
    dcp: Any = importlib.import_module("torch.distributed.checkpoint")
    dcp.save({"w": torch.ones(2)}, checkpoint_id=kind(tmp_path / "saved"))
    (finding,) = _found(tmp_path / "saved", "X006")
    assert f"checkpoint_id: {tmp_path}/saved" in finding.message


def test_a_path_by_its_parts(tmp_path: Path) -> None:
    """Paths pickle as their parts."""
    from ckptdoctor.containers.torchfiles.reading import load

    torch.save({"p": pathlib.PurePosixPath("/a/b"), "q": pathlib.PureWindowsPath("C:\\a\\b")}, tmp_path / "p.pt")
    root = load(str(tmp_path / "p.pt")).root
    assert isinstance(root, dict)
    assert written_path(root["p"]) == "/a/b"
    assert written_path(root["q"]) in {"C:/a/b", "C:\\a\\b"}
    assert written_path("/a/b") is None


class Odd:
    """A class of the program's own."""


REFUSED: dict[str, tuple[Any, str]] = {
    "arguments": ({"args": argparse.Namespace(a=1)}, "argparse.Namespace"),
    "a class": ({"best": Odd()}, "Odd"),
    "a number of numpy": ({"best": __import__("numpy").float64(0.5)}, "multiarray.scalar"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_torch_refuses(tmp_path: Path, name: str) -> None:
    """X005 names what the real torch.load stumbles over, and is silent where that loads the file."""
    content, said = REFUSED[name]
    path = _saved(tmp_path, **content)
    with pytest.raises(Exception, match="Weights only load failed"):
        torch.load(path)
    (finding,) = _found(path, "X005")
    assert said in finding.message
    plain = _saved(tmp_path, epoch=3)
    torch.load(plain)
    assert _found(plain, "X005") == []


def test_as_torch_says(museum: Path) -> None:
    """Of the museum's files exactly those have X005 that today's torch.load refuses."""
    wrong = []
    for path in sorted((museum / "torch2.13").glob("*.pt")):
        try:
            torch.load(path)
            loads = True
        except Exception:  # noqa: BLE001 - whatever it raises
            loads = False
        if loads == bool(_found(path, "X005")):
            wrong.append(path.name)
    assert wrong == []
