"""`ckptdoctor verify` of files that the installed torch saves: what it restores of them, and what it drops silently."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.frameworks import verified, warm_python
from support.pytorch.saved import Touch, adam, by_program, net, outcomes, saved, stepped, torch

import ckptdoctor
from ckptdoctor.cli import cli
from ckptdoctor.errors import UsageProblem
from ckptdoctor.verification import Outcome

RESTORED = Outcome.RESTORED


# ------------------------------------------------------------------------------------------------------- restored


@pytest.mark.parametrize("zipped", [True, False])
def test_a_model_and_its_optimizer(tmp_path: Path, zipped: bool) -> None:  # noqa: FBT001
    """In either container: every slot, every parameter's count, and the rate; the interpreter is started for it."""
    model = net()
    state = {"net": model.state_dict(), "training": {"opt": adam(model).state_dict()}, "epoch": 3}
    torch.save(state, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    found = ckptdoctor.verify(tmp_path / "a.pt")
    assert found.ok
    assert (found.framework, found.version) == ("torch", torch.__version__)
    assert found.iterations.found == 3
    assert found.learning_rate.found == pytest.approx(0.01)
    assert len(found.slots) == 8
    assert [each.variable for each in found.optimizers[0].counts] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert outcomes(found) == {RESTORED}


def test_every_class(tmp_path: Path) -> None:
    """All of torch.optim's, each alone in its own part of one file."""
    optim = torch.optim
    classes: dict[str, dict[str, Any]] = {
        "Adam": {"amsgrad": True}, "AdamW": {}, "SGD": {"momentum": 0.9}, "RMSprop": {"momentum": 0.9},
        "Adagrad": {}, "Adadelta": {}, "Adamax": {}, "NAdam": {}, "RAdam": {}, "ASGD": {}, "Rprop": {}, "LBFGS": {},
        "Adafactor": {},
    }  # fmt: skip
    made = {
        name: stepped(getattr(optim, name)(list(net().parameters()), lr=0.01, **more)) for name, more in classes.items()
    }
    torch.save({name: each.state_dict() for name, each in made.items()}, tmp_path / "all.pt")
    found = verified(tmp_path / "all.pt")
    assert found.error is None
    assert outcomes(found) == {RESTORED}
    told = {each.name: each.class_name for each in found.optimizers}
    assert told == {name: name for name in classes}
    for each in found.optimizers:
        kept = {slot.name for slot in each.slots}
        assert kept or each.name == "LBFGS"


def test_every_scheduler(tmp_path: Path) -> None:
    """Those that can be built without functions of the program's are built, loaded, and compared by their counts."""
    home = torch.optim.lr_scheduler
    made: dict[str, dict[str, Any]] = {
        "StepLR": {"step_size": 2}, "MultiStepLR": {"milestones": [2]}, "ConstantLR": {}, "LinearLR": {},
        "PolynomialLR": {}, "ExponentialLR": {"gamma": 0.9}, "CosineAnnealingLR": {"T_max": 9},
        "CosineAnnealingWarmRestarts": {"T_0": 4}, "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1},
        "OneCycleLR": {"max_lr": 0.1, "total_steps": 9}, "LambdaLR": {"lr_lambda": lambda step: 0.9**step},
    }  # fmt: skip
    parts = {}
    for name, arguments in made.items():
        optimizer = torch.optim.SGD(net().parameters(), lr=0.1, momentum=0.9)
        scheduler = getattr(home, name)(optimizer, **arguments)
        for _ in range(3):
            stepped(optimizer, 1)
            scheduler.step()
        parts[name] = {"optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save(parts, tmp_path / "all.pt")
    found = verified(tmp_path / "all.pt")
    assert found.ok, found
    told = {each.class_name: each.last_epoch for one in found.optimizers for each in one.schedulers}
    assert told == dict.fromkeys(made, (3, 3, RESTORED))


def test_a_cast_is_told(tmp_path: Path) -> None:
    """Moments of float32 beside weights of bfloat16: torch makes bfloat16 of them, and that is what is compared."""
    model = net()
    optimizer = adam(model).state_dict()
    torch.save({"model": model.bfloat16().state_dict(), "optimizer": optimizer}, tmp_path / "a.pt")
    found = verified(tmp_path / "a.pt")
    assert found.ok
    assert {each.detail for each in found.slots} == {"cast to bfloat16, the type of its parameter"}
    assert max(each.max_difference or 0 for each in found.slots) > 0
    assert {each.detail for each in found.optimizers[0].counts} == {""}


# --------------------------------------------------------------------------------------------------- not restored


def test_numbers_as_text_are_dropped(tmp_path: Path) -> None:
    """`load_state_dict` takes "0" for 0 silently, and restores nothing."""
    model = net()
    state = adam(model).state_dict()
    state["state"] = {str(key): each for key, each in state["state"].items()}
    torch.save({"model": model.state_dict(), "optimizer": state}, tmp_path / "a.pt")
    words = ["verify", str(tmp_path / "a.pt"), "--python", warm_python("torch"), "--format", "json"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 1
    (optimizer,) = json.loads(result.stdout)["artifacts"][0]["attempts"][0]["optimizers"]
    assert {each["outcome"] for each in (*optimizer["slots"], *optimizer["counts"])} == {"dropped"}
    assert optimizer["iterations"] == {"expected": 3, "found": None, "outcome": "dropped"}


@pytest.mark.parametrize(
    ("cut", "sentence"),
    [
        ("weight_decay", "load_state_dict takes it without a word, and the first step fails: KeyError: 'weight_decay'"),
        ("exp_avg_sq", "load_state_dict takes it without a word, and the first step fails: KeyError: 'exp_avg_sq'"),
        ("step", "KeyError: 'step'"),
    ],
)
def test_a_cut_state(tmp_path: Path, cut: str, sentence: str) -> None:
    """What a step needs and the file has not is found before the first real one."""
    model = net()
    state = adam(model).state_dict()
    for each in (*state["param_groups"], state["state"][0]):
        each.pop(cut, None)
    torch.save({"model": model.state_dict(), "optimizer": state}, tmp_path / "a.pt")
    found = verified(tmp_path / "a.pt")
    assert not found.ok
    assert found.error == sentence


def test_state_of_other_weights(tmp_path: Path) -> None:
    """Where no weight has such a shape, no stand-in is made up for it."""
    model = net()
    torch.save({"model": model.state_dict(), "optimizer": adam(torch.nn.Linear(7, 5)).state_dict()}, tmp_path / "a.pt")
    found = verified(tmp_path / "a.pt")
    assert not found.ok
    assert "state of shapes that no weight here has" in (found.error or "")
    program = "model, torch.optim.Adam([model[0].weight, model[0].bias])"
    assert "the first step fails: RuntimeError" in (by_program(tmp_path / "a.pt", tmp_path, program).error or "")


def test_a_class_that_nobody_knows(tmp_path: Path) -> None:
    """That torch.load reads the file is all that is proven, and that is no success."""
    model = net()
    state = adam(model).state_dict()
    state["param_groups"][0]["own_setting"] = 1
    torch.save({"model": model.state_dict(), "optimizer": state}, tmp_path / "a.pt")
    found = verified(tmp_path / "a.pt")
    assert not found.ok
    assert (found.error or "").endswith("only that torch.load reads the file is proven")
    assert found.usual is not None
    assert found.usual.key == "none"
    assert by_program(tmp_path / "a.pt", tmp_path, "model, torch.optim.Adam(model.parameters())").ok


# --------------------------------------------------------------------------------------------------------- refused


def test_nothing_of_a_pickle_is_run(tmp_path: Path) -> None:
    """torch.load refuses it by name, with a program and without, and nothing ever loads it otherwise."""
    path = saved(tmp_path / "a.pt", extra=Touch(tmp_path / "ran"))
    for found in (
        verified(path),
        by_program(path, tmp_path, "model, torch.optim.Adam(model.parameters())"),
    ):
        assert not found.ok
        assert found.error in {f"torch.load(weights_only=True) refuses {name}.mkdir" for name in ("posix", "nt")}
        assert any("weights_only=False" in each for each in found.advice)
    assert not (tmp_path / "ran").exists()


def test_what_torch_load_refuses(tmp_path: Path) -> None:
    """An honest file with a number of numpy's is refused by the name of that."""
    np = pytest.importorskip("numpy")
    found = verified(saved(tmp_path / "a.pt", best=np.float64(0.5)))
    assert not found.ok
    assert (found.error or "").startswith("torch.load(weights_only=True) refuses numpy.")


# ------------------------------------------------------------------------------------------------------- wrong use


def test_no_torch(tmp_path: Path) -> None:
    """One sentence with the line that installs it, and exit code 2."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    path = saved(tmp_path / "a.pt")
    result = CliRunner().invoke(cli, ["verify", str(path), "--python", str(python)])
    assert result.exit_code == 2
    assert result.stderr == (
        f"ckptdoctor: {path}: verify needs torch, which is not installed for {python}: pip install torch\n"
    )


def test_model_is_for_keras(tmp_path: Path) -> None:
    """--model does not silently do nothing."""
    path = saved(tmp_path / "a.pt")
    with pytest.raises(UsageProblem, match="--model-script"):
        verified(path, model=path)
