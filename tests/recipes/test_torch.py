"""Recipes for PyTorch's files, run by the installed torch: the museum's artifacts, and what is saved here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.recipes import filled, run, run_each

from ckptdoctor.recipes.run import recipe, render

torch = pytest.importorskip("torch", exc_type=ImportError)
pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

NET = """
def _net():
    return torch.nn.Sequential(__import__("collections").OrderedDict(
        hidden=torch.nn.Linear(3, 4), score=torch.nn.Linear(4, 2)))


"""


def _injected(text: str, helper: str = NET) -> str:
    """The script with a function more, which its gaps call."""
    return text.replace("\ndef restore():", f"{helper}def restore():")


OF_THE_MUSEUM = (
    "adam.pt", "adam-legacy.pt", "adamw.pt", "amsgrad.pt", "adagrad.pt", "adadelta.pt", "adamax.pt", "asgd.pt",
    "nadam.pt", "radam.pt", "rmsprop.pt", "rmsprop-all.pt", "rprop.pt", "momentum.pt", "sgd.pt", "groups-decay.pt",
    "groups-decay-legacy.pt", "frozen-left-out.pt", "frozen-passed.pt", "weights.pt", "weights-legacy.pt",
    "scheduler-steplr.pt", "scheduler-multisteplr.pt", "scheduler-cosineannealinglr.pt", "scheduler-exponentiallr.pt",
    "scheduler-linearlr.pt", "scheduler-constantlr.pt", "scheduler-polynomiallr.pt", "scheduler-reducelronplateau.pt",
    "scheduler-cosineannealingwarmrestarts.pt",
)  # fmt: skip


OF_DIRECTORIES = ("dcp-names", "dcp-plain", "dcp-weights")
"""Keys that are names, keys that are numbers, and no optimizer."""


@pytest.fixture(scope="module")
def restored(museum: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str]]:
    """The scripts for artifacts of the museum, and how each ended."""
    names = (*OF_THE_MUSEUM, *OF_DIRECTORIES)
    texts = {name: _injected(filled(museum / "torch2.13" / name, {"build_model": "_net()"})) for name in names}
    return texts, run_each(texts, tmp_path_factory.mktemp("recipes"), backend="torch")


@pytest.mark.parametrize("name", [*OF_THE_MUSEUM, *OF_DIRECTORIES])
def test_the_museum(restored: tuple[dict[str, str], dict[str, str]], name: str) -> None:
    """Every class and scheduler that the file tells of: restored by torch, and proven."""
    texts, errors = restored
    assert errors[name] == "", texts[name]
    least = 0 if "weights" in name or name == "sgd.pt" else 2 if "adam" in name else 1
    assert texts[name].count("assert ") >= least


@pytest.mark.parametrize("name", ["scheduler-lambdalr.pt", "scheduler-onecyclelr.pt"])
def test_a_scheduler_of_the_program(museum: Path, tmp_path: Path, name: str) -> None:
    """A function that only the program has: one gap more, whose scheduler takes the stored state."""
    made = "torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch)"
    if "onecycle" in name:
        made = "torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=100)"
    text = _injected(filled(museum / "torch2.13" / name, {"build_model": "_net()", "build_scheduler": made}))
    done = run(text, tmp_path, backend="torch")
    assert done.code == 0, done.err


def test_several_optimizers(tmp_path: Path) -> None:
    """A GAN: models by name, an optimizer each, in groups of their own, with scaler and random numbers."""
    nets = {"generator": torch.nn.Linear(3, 2), "critic": torch.nn.Linear(2, 1)}
    adams = {name: torch.optim.Adam(net.parameters(), 0.01) for name, net in nets.items()}
    for _ in range(5):
        nets["critic"](nets["generator"](torch.ones(1, 3))).sum().backward()
        for each in adams.values():
            each.step()
    held = {name: net.state_dict() for name, net in nets.items()}
    held |= {f"{name}_optimizer": adam.state_dict() for name, adam in adams.items()}
    torch.save({**held, "rng_state": torch.get_rng_state()}, tmp_path / "gan.pt")
    models = "{'generator': torch.nn.Linear(3, 2), 'critic': torch.nn.Linear(2, 1)}"
    text = filled(tmp_path / "gan.pt", {"build_model": models})
    assert "torch.set_rng_state(checkpoint['rng_state'])" in text
    assert text.count("assert ") == 4
    done = run(text, tmp_path, backend="torch")
    assert done.code == 0, f"{done.err}\n{text}"


def test_parameters_are_named_where_it_matters(museum: Path) -> None:
    """One group of all parameters is model.parameters(); groups, and those that leave some out, go by name."""
    one, groups, frozen = (
        render(recipe(str(museum / "torch2.13" / name)))
        for name in ("adam.pt", "groups-decay.pt", "frozen-left-out.pt")
    )
    assert "torch.optim.Adam(model.parameters(), lr=0.01)" in one
    assert "named_parameters" not in one
    assert groups.count("parameters[name] for name in [") == 2
    assert frozen.count("parameters[name] for name in [") == 1


def test_a_class_that_nobody_knows(tmp_path: Path) -> None:
    """Another package's optimizer: it is the program's to make, over the groups that the file tells."""
    net = torch.nn.Linear(3, 2)
    kept = [{"step": torch.tensor(5.0), "strange": torch.ones(each.shape)} for each in net.parameters()]
    state = {"state": dict(enumerate(kept)), "param_groups": [{"lr": 0.5, "twist": 3, "params": [0, 1]}]}
    torch.save({"model": net.state_dict(), "optimizer": state}, tmp_path / "odd.pt")
    text = render(recipe(str(tmp_path / "odd.pt")))
    assert "def build_optimizer(groups):" in text
    assert "# twist = 3" in text


def test_a_proof_can_fail(tmp_path: Path) -> None:
    """Another checkpoint than the script was written for is refused, by its count; so is a model that does not fit."""
    for steps in (3, 5):
        net = torch.nn.Linear(3, 2)
        adam = torch.optim.Adam(net.parameters(), 0.01)
        for _ in range(steps):
            net(torch.ones(1, 3)).sum().backward()
            adam.step()
        torch.save({"model": net.state_dict(), "optimizer": adam.state_dict()}, tmp_path / f"{steps}.pt")
    text = filled(tmp_path / "3.pt", {"build_model": "torch.nn.Linear(3, 2)"})
    assert run(text, tmp_path, backend="torch").code == 0
    other = run(text, tmp_path, str(tmp_path / "5.pt"), backend="torch")
    assert other.code == 1
    assert "AssertionError: the count of Adam is 5, and 3 in the file" in other.err
    wrong = run(filled(tmp_path / "3.pt", {"build_model": "torch.nn.Linear(2, 2)"}), tmp_path, backend="torch")
    assert "size mismatch" in wrong.err


def test_what_weights_only_refuses(tmp_path: Path) -> None:
    """The load that is allowed stays the safe one where it can; else the names stand in a comment."""
    import argparse

    net = torch.nn.Linear(3, 2)
    torch.save({"model": net.state_dict(), "args": argparse.Namespace(lr=1)}, tmp_path / "args.pt")
    torch.save({"model": net.state_dict()}, tmp_path / "plain.pt")
    plain, refused = (render(recipe(str(tmp_path / name))) for name in ("plain.pt", "args.pt"))
    assert "weights_only=True)" in plain
    assert "weights_only=False)" in refused
    assert re.search(r"^# .*argparse\.Namespace", refused, flags=re.MULTILINE)


def test_names_are_harmless(tmp_path: Path) -> None:
    """Whatever stands in names of keys and variables, it stays text: the script runs nothing of it."""
    nasty = "a\"]; print('owned'); #\n\"\"\"\nprint('owned')\nb\u202e"
    net = torch.nn.Linear(3, 2)
    adam = torch.optim.Adam(net.parameters(), 0.01)
    net(torch.ones(1, 3)).sum().backward()
    adam.step()
    weights = {f"{nasty}.{key}": value for key, value in net.state_dict().items()}
    folder = tmp_path / 'x"""\nprint(\'owned\')'
    folder.mkdir()
    torch.save({nasty: weights, f"{nasty} optimizer": adam.state_dict()}, folder / "n.pt")
    text = render(recipe(str(folder / "n.pt")))
    assert text.isascii()
    done = run(text, tmp_path, backend="torch")
    assert "owned" not in done.out
    assert "NotImplementedError: build_model" in done.err
