"""Hyperparameters that nothing tells, said by hand: `--set momentum=0.9`, and `--learning-rate` for short."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import ckptdoctor
from ckptdoctor.cli import cli
from ckptdoctor.errors import GraftRefused, UsageProblem

MOMENTUM = "tf/v2.16-k3-ckpt-sgd_momentum/ckpt"
TARGET = "keras/k3.15tf-uncompiled-keras.keras"
LAYERS = {"d1/": "hidden/", "d2/": "out/"}


@pytest.fixture
def donor(museum: Path) -> Path:
    """SGD with momentum in a Keras 3 checkpoint, which stores every slot and no number."""
    found = sorted(museum.glob("tf/v*-k3-ckpt-*momentum*/ckpt.index"))
    return found[-1].with_suffix("")


def plan(donor: Path, museum: Path, tmp_path: Path, **options: object) -> dict[str, object]:
    """The hyperparameters of a planned graft."""
    made = ckptdoctor.plan_graft(donor, museum / TARGET, tmp_path / "o.keras", partial=True, **options)  # type: ignore[arg-type]
    return dict(made.optimizer.hyperparameters)


def test_what_nothing_tells(donor: Path, museum: Path, tmp_path: Path) -> None:
    """The refusal names the option, which settles it."""
    with pytest.raises(GraftRefused, match="--set momentum=VALUE"):
        plan(donor, museum, tmp_path)
    found = plan(donor, museum, tmp_path, hyperparameters={"momentum": 0.9, "learning_rate": 0.25})
    assert (found["momentum"], found["learning_rate"]) == (0.9, 0.25)


def test_what_the_class_has_not(donor: Path, museum: Path, tmp_path: Path) -> None:
    """A slip of the pen is named with what is near; a number that contradicts the state is refused as well."""
    with pytest.raises(GraftRefused, match="has no 'momentun', which --set names: it has momentum"):
        plan(donor, museum, tmp_path, hyperparameters={"momentun": 0.9})
    with pytest.raises(GraftRefused, match="momentum"):
        plan(donor, museum, tmp_path, hyperparameters={"momentum": 0})
    with pytest.raises(UsageProblem, match="a learning rate is a number"):
        plan(donor, museum, tmp_path, hyperparameters={"learning_rate": "fast"})


@pytest.mark.parametrize("target", ["keras/k3.15tf-adam-wh5.weights.h5", "keras/tf2.10-adam-getw.npz"])
def test_no_place_for_it(museum: Path, tmp_path: Path, target: str) -> None:
    """Weights and dumps record no configuration: what could not be kept is refused, not left out."""
    name = f"o{''.join(Path(target).suffixes[-2:])}"
    with pytest.raises(GraftRefused, match="there is no place for beta_1"):
        ckptdoctor.plan_graft(
            museum / target,
            museum / target,
            tmp_path / name,
            optimizer_class="Adam",
            hyperparameters={"beta_1": 0.5},
        )


def test_on_the_command_line(museum: Path, tmp_path: Path) -> None:
    """Repeatable, in the words of JSON; pairs that are none are wrong use."""
    lion = str(museum / "keras/k3.15tf-lion-keras.keras")
    output = tmp_path / "o.keras"
    words = ["graft", "--from", lion, "--into", lion, "--output", str(output), "--set", "beta_1=0.5", "-q"]
    done = CliRunner().invoke(cli, [*words, "--set", "clipnorm=1", "--learning-rate", "0.125"])
    assert done.exit_code == 0, done.stderr
    (state,) = [each.state for each in ckptdoctor.inspect(output)]
    assert state is not None
    found = state.optimizers[0].hyperparameters
    assert (found["beta_1"], found["clipnorm"], found["learning_rate"]) == (0.5, 1, 0.125)
    for wrong in (["--set", "beta_1"], ["--set", "=1"], ["--set", "a=1", "--set", "a=2"]):
        assert CliRunner().invoke(cli, [*words, *wrong]).exit_code == 2
