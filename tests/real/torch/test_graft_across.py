"""Grafts between Keras 3 and PyTorch: the other framework goes on as if nothing had happened, or it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from support.commands import ckptdoctor
from support.frameworks import child, needs, some_or_every

from ckptdoctor import graft

needs("torch", "keras")

pytestmark = pytest.mark.real
SOME = ("adam", "nadam", "momentum")
OTHERS = ("amsgrad", "adamw", "adagrad", "adadelta", "adamax", "rmsprop", "nesterov")


class Made(NamedTuple):
    """Both programs' files, and the classes that they are of."""

    folder: Path
    rows: tuple[str, ...]


@pytest.fixture(scope="module", params=some_or_every(SOME, (*SOME, *OTHERS)))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What both programs save."""
    folder = tmp_path_factory.mktemp("across")
    child("across/keras_and_torch.py", "make", folder, *request.param)
    return Made(folder, request.param)


@pytest.fixture
def folder(made: Made) -> Path:
    """Where the files are."""
    return made.folder


def test_every_class_goes_on(made: Made) -> None:
    """Both ways, into weights alone and into a program's own optimizer; Adam's epsilon is all that differs."""
    folder, rows = made
    for row in rows:
        count = 7 if row in {"momentum", "nesterov"} else None  # PyTorch's SGD has none
        graft(folder / f"{row}.keras", folder / f"{row}-bare.pt", folder / f"{row}-bare-out.pt", generation="torch")
        graft(folder / f"{row}.keras", folder / f"{row}-fresh.pt", folder / f"{row}-fresh-out.pt")
        graft(folder / f"{row}.pt", folder / f"{row}-target.keras", folder / f"{row}-out.keras", iterations=count)
    result = ckptdoctor("diff", "adam.keras", "adam-bare-out.pt", "--values", "--weights", cwd=folder)
    assert "the same optimizer state" in result.out, result.out
    found = child("across/keras_and_torch.py", "prove", folder, *rows)
    assert len(found) == 3 * len(rows)
    assert {row: each for row, each in found.items() if each > 5e-6} == {}


@pytest.mark.parametrize(
    ("donor", "target", "said"),
    [
        ("scheduled.keras", "momentum-bare.pt", "no translation exists"),
        ("decaying.keras", "decaying-bare.pt", "--optimizer-class AdamW"),
        ("lion.keras", "adam-bare.pt", "no counterpart"),
        ("slow-nadam.pt", "nadam-target.keras", "momentum_decay"),
        ("adam.pt", "momentum-target.keras", "means different things"),
        ("adam.keras", "momentum-fresh.pt", "different things"),
    ],
)
def test_what_is_no_translation_is_refused(folder: Path, tmp_path: Path, donor: str, target: str, said: str) -> None:
    """With the reason; nothing is written."""
    out = tmp_path / f"out{Path(target).suffix}"
    result = ckptdoctor("graft", "--from", donor, "--into", target, "--output", out, cwd=folder)
    assert (result.code, said in result.err) == (4, True), result.err
    assert not out.exists()


def test_a_decay_of_keras_is_that_of_adamw(folder: Path, tmp_path: Path) -> None:
    """Keras' Adam decays apart from the gradient."""
    torch = pytest.importorskip("torch")
    arguments = ("--from", "decaying.keras", "--into", "decaying-bare.pt", "--optimizer-class", "AdamW")
    assert ckptdoctor("graft", *arguments, "--output", tmp_path / "out.pt", cwd=folder).code == 0
    (group,) = torch.load(tmp_path / "out.pt", weights_only=True)["optimizer"]["param_groups"]
    assert (group["decoupled_weight_decay"], group["weight_decay"]) == (True, 0.01)
