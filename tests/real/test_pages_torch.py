"""The pages about PyTorch, against torch: their code runs and leaves what they promise, their commands run."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import ckptdoctor
from support.pages import OF_TORCH, TEXTS, blocks, commands

torch = pytest.importorskip("torch", exc_type=ImportError)

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

STEPS, LATER = 7, 0.25
OTHER_PACKAGES = {"S024"}
"""Pages whose code is for an optimizer of another package."""


def _net() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))


def _trained() -> tuple[Any, Any, Any]:
    model = _net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10_000)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(torch.ones(2, 3)).square().mean().backward()
        optimizer.step()
        scheduler.step()
    return model, optimizer, scheduler


def _content(page: str) -> dict[str, Any]:
    """What `checkpoint.pt` holds where a page speaks of it."""
    model, optimizer, scheduler = _trained()
    state = optimizer.state_dict()
    if page == "S013":
        for _ in range(9_000 - STEPS):
            scheduler.step()
        state = optimizer.state_dict()
    if page == "S015":
        state["state"][99] = state["state"][0]
    if page == "S016":
        state["state"][3] = {key: torch.ones(9) if key != "step" else each for key, each in state["state"][3].items()}
    if page == "S017":
        state["state"] = {str(key): each for key, each in state["state"].items()}
    if page == "V007":
        for each in state["state"].values():
            each["step"] = each["step"].to(torch.bfloat16)
    if page == "V006":
        state["param_groups"][0]["lr"] = float("nan")
    more = {"args": argparse.Namespace(lr=0.01)} if page == "X005" else {}
    return {"model": model.state_dict(), "optimizer": state, **more}


def _scheduled(space: dict[str, Any]) -> bool:
    """The rates that follow are those of the run that was not interrupted."""
    optimizer, scheduler = space["optimizer"], space["scheduler"]
    _, other, whole = _trained()
    for _ in range(9_000 - STEPS):
        whole.step()
    pairs = []
    for _ in range(5):
        scheduler.step()
        whole.step()
        pairs.append((optimizer.param_groups[0]["lr"], other.param_groups[0]["lr"]))
    return scheduler.last_epoch == 9_005 and all(abs(one - two) < 1e-12 for one, two in pairs)


def _saved(name: str) -> Any:
    return torch.load(name)


PROMISES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "S013": lambda space: _scheduled(space) and set(_saved("checkpoint-new.pt")) == {"model", "optimizer", "scheduler"},
    "S014": lambda space: len(space["optimizer"].param_groups[0]["params"]) == 4,
    "S015": lambda _: list(_saved("checkpoint-new.pt")["optimizer"]["state"]) == [0, 1, 2, 3],
    "S016": lambda space: len(space["optimizer"].state) == 3,
    "S017": lambda _: list(_saved("checkpoint-new.pt")["optimizer"]["state"]) == [0, 1, 2, 3],
    "S018": lambda _: _saved("checkpoint-new.pt")["rng"].equal(torch.get_rng_state()),
    "S019": lambda _: _saved("checkpoint-new.pt")["scaler"]["scale"] == 1024.0,
    "S020": lambda space: space["loss"].requires_grad,
    "S021": lambda space: len(list(space["loader"])) == 50,
    "S022": lambda _: Path("run/latest").read_text() == "global_step7000",
    "S023": lambda space: {each["lr"] for each in space["optimizer"].param_groups} == {1e-4},
    "S025": lambda space: space["optimizer"].param_groups[0]["lr"] == 1e-4,
    "V007": lambda _: all(
        each["step"] == STEPS and each["step"].dtype == torch.float32
        for each in _saved("checkpoint-new.pt")["optimizer"]["state"].values()
    ),
    "V006": lambda space: {each["lr"] for each in space["optimizer"].param_groups} == {1e-4},
    "X005": lambda _: _saved("plain.pt")["args"] == {"rate": 0.1},
    "X006": lambda _: list(_saved("release.pt")) == list(_net().state_dict()),
}
"""Page → what holds after its code has run."""


def _make(folder: Path, museum: Path, page: str) -> None:
    """What the pages name."""
    torch.save(_content(page), folder / "checkpoint.pt")
    torch.save({"args": argparse.Namespace(rate=0.1)}, folder / "arguments.pt")
    shutil.copytree(museum / "torch2.13" / "deepspeed-1", folder / "run")


@pytest.fixture
def allowed_for_now() -> Iterator[None]:
    """What a page allows torch.load is forbidden again: it holds for the process."""
    yield
    with torch.serialization.safe_globals([argparse.Namespace]):
        pass


@pytest.mark.usefixtures("allowed_for_now")
@pytest.mark.parametrize("page", sorted(OF_TORCH - OTHER_PACKAGES))
def test_code_runs(museum: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str) -> None:
    """Every block of Python runs, in a program that was started anew, and the page's promise is kept."""
    _make(tmp_path, museum, page)
    monkeypatch.chdir(tmp_path)
    model = _net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10_000)
    space: dict[str, Any] = {"torch": torch, "model": model, "optimizer": optimizer, "scheduler": scheduler}
    space.update(inputs=torch.ones(2, 3), loader=[torch.ones(2, 3)] * 50)
    ran = 0
    for block in blocks(TEXTS[page]):
        if block.language == "python":
            exec(compile(block.code, page, "exec"), space)
            ran += 1
    assert ran
    assert PROMISES[page](space)


COMMANDS = [(page, words) for page in sorted(OF_TORCH) for words in commands(TEXTS[page])]


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{page}-{words[1]}" for page, words in COMMANDS])
def test_commands_run(museum: Path, tmp_path: Path, page: str, words: list[str]) -> None:
    """Every command line does what it is shown for, on artifacts of the names that stand in it."""
    _make(tmp_path, museum, page)
    result = ckptdoctor(*words[1:], cwd=tmp_path)
    assert result.code in ({0, 1} if words[1] == "check" else {0}), result.err
    assert page in ckptdoctor("inspect", "checkpoint.pt", cwd=tmp_path).out or page in {"S014", "S022", "S023"}
