"""Guards in programs with several optimizers and schedulers, as a GAN has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.pytorch.resuming import halving, program, refusal, torch, trained

from ckptdoctor.errors import UsageProblem
from ckptdoctor.guard import assert_resumed


@pytest.fixture
def several(tmp_path: Path) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """A file with two optimizers, as a GAN has; the optimizers after they were loaded, and their models."""
    made = {"gen": program(), "disc": program(kind="SGD", momentum=0.9)}
    state: dict[str, Any] = {}
    for name, (model, optimizer, scheduler) in made.items():
        trained(model, optimizer, scheduler, steps=3 if name == "gen" else 5)
        state |= {name: model.state_dict(), f"opt_{name}": optimizer.state_dict()}
    torch.save(state, tmp_path / "gan.pt")
    optimizers = {f"opt_{name}": optimizer for name, (_, optimizer, _) in made.items()}
    return tmp_path / "gan.pt", optimizers, {name: model for name, (model, *_) in made.items()}


def test_several_by_name(several: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    """By the artifact's names, in any order, one of them alone too."""
    path, optimizers, models = several
    assert assert_resumed(optimizers, path, model=models).slots == 8
    assert assert_resumed(dict(reversed(optimizers.items())), path, model=models).iterations == (None, 3)
    assert assert_resumed({"gen": optimizers["opt_gen"]}, path).iterations == (3,)
    assert len(refusal({"opt_gen": optimizers["opt_disc"]}, path).lost) > 1


def test_several_in_order(several: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    """In the artifact's order: a list in another order is told, and one that is too long."""
    path, optimizers, _ = several
    listed = list(optimizers.values())
    assert assert_resumed(listed, path).slots == 8
    refusal(listed[::-1], path)
    _, another, _ = program()
    assert "3 optimizers are here, and the state of 2 optimizers there" in refusal([*listed, another], path).lost


def test_several_with_schedulers(tmp_path: Path) -> None:
    """Each scheduler by its name or its place; a part of them is known by names alone."""
    made = {"gen": program(), "disc": program(kind="SGD", momentum=0.9)}
    state: dict[str, Any] = {}
    for steps, (name, each) in enumerate(made.items(), 3):
        trained(*each, steps=steps)
        state |= {
            name: each[0].state_dict(),
            f"opt_{name}": each[1].state_dict(),
            f"sched_{name}": each[2].state_dict(),
        }
    path = tmp_path / "gan.pt"
    torch.save(state, path)
    optimizers = {f"opt_{name}": optimizer for name, (_, optimizer, _) in made.items()}
    schedulers = {f"sched_{name}": scheduler for name, (*_, scheduler) in made.items()}
    assert assert_resumed(optimizers, path, scheduler=schedulers).slots == 8
    assert assert_resumed(optimizers, path, scheduler=[*schedulers.values()]).slots == 8
    disc = {"opt_disc": optimizers["opt_disc"]}
    assert assert_resumed(disc, path, scheduler={"sched_disc": schedulers["sched_disc"]}).slots == 4
    assert assert_resumed(disc, path, scheduler=schedulers["sched_disc"]).slots == 4
    swapped = {"sched_gen": schedulers["sched_disc"], "sched_disc": schedulers["sched_gen"]}
    assert len(refusal(optimizers, path, scheduler=swapped).lost) == 2
    with pytest.raises(UsageProblem, match="has no scheduler 'other': it has 'sched_gen', 'sched_disc'"):
        assert_resumed(optimizers, path, scheduler={"other": schedulers["sched_gen"]})
    torch.save({name: each for name, each in state.items() if not name.startswith("sched_")}, path)
    fresh = [program()[2], halving(optimizers["opt_disc"])]
    optimizers["opt_disc"].load_state_dict(state["opt_disc"])
    assert refusal(optimizers, path, scheduler=fresh).lost == ("LambdaLR begins anew here, and its state is not there",)
    with pytest.raises(UsageProblem, match="scheduler= is int"):
        assert_resumed(optimizers, path, scheduler=7)


def test_one_of_several_that_never_stepped(tmp_path: Path) -> None:
    """It keeps its place in the order, though it has nothing to lose."""
    first, second = program(), program()
    trained(*second)
    torch.save({"a": first[1].state_dict(), "b": second[1].state_dict()}, tmp_path / "a.pt")
    assert assert_resumed([first[1], second[1]], tmp_path / "a.pt").slots == 4
    assert assert_resumed(second[1], tmp_path / "a.pt").slots == 4


@pytest.mark.parametrize(
    ("live", "sentence"),
    [
        ("gen", "has 2 optimizers: name yours, as {name: optimizer}, of 'opt_gen', 'opt_disc'"),
        ({"opt_other": "gen"}, "has no optimizer 'opt_other': it has opt_gen, opt_disc"),
        ([], "no optimizer is given"),
        (7, "int is no optimizer"),
    ],
)
def test_which_one_is_meant(several: tuple[Path, dict[str, Any], dict[str, Any]], live: Any, sentence: str) -> None:
    """One sentence where it cannot be told."""
    path, optimizers, _ = several
    if live == "gen":
        live = optimizers["opt_gen"]
    elif isinstance(live, Mapping):
        live = dict.fromkeys(live, optimizers["opt_gen"])
    with pytest.raises(UsageProblem, match=sentence.replace("{", r"\{").replace("}", r"\}")):
        assert_resumed(live, path)
