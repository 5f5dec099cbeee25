"""Optimizers in attributes of a model with a custom compile(): what we say, advise and write, by real frameworks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.frameworks import child, warm_python

import ckptdoctor
from ckptdoctor.cli import cli
from ckptdoctor.errors import GraftRefused, UsageProblem
from ckptdoctor.state import Status

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        importlib.util.find_spec("tf_keras") is None, reason="TensorFlow and tf_keras are not installed"
    ),
]

SCRIPT = "gan_child.py"
FILES = ("gan.keras", "gan.weights.h5")
BOTH = ("generator_optimizer=g_opt", "discriminator_optimizer=d_opt")
LOADERS = {"keras": "keras==3.15", "tf_keras": "tf_keras==2.21"}


@pytest.fixture(scope="module", params=["keras", "tf_keras"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A framework, and what it saved of a GAN."""
    folder = tmp_path_factory.mktemp(request.param)
    child(SCRIPT, request.param, "make", folder)
    return request.param, folder


def loaded(framework: str, *paths: Path) -> dict[str, dict[str, Any]]:
    """Path → what the usual and the advised call restored."""
    found: dict[str, dict[str, Any]] = child(SCRIPT, framework, "load", *paths)
    return found


def test_what_l002_says_is_so(saved: tuple[str, Path]) -> None:
    """The usual call restores neither, the advised one both, and the advice names both."""
    framework, folder = saved
    for path, found in loaded(framework, *(folder / each for each in FILES)).items():
        assert all(each is None or each == {"count": 0, "slots": 0} for each in found["usual"].values())
        assert {name: each["count"] for name, each in found["advised"].items()} == {"d_opt": 4, "g_opt": 4}
        assert all(each["slots"] > 0 for each in found["advised"].values())
        report = ckptdoctor.check(path, loader=LOADERS[framework])
        (finding,) = [each for each in report.results[0].findings if each.code == "L002"]
        assert "model.d_opt.build(" in finding.hint
        assert "model.g_opt.build(" in finding.hint
        assert "model.optimizer.build" not in finding.hint


@pytest.mark.parametrize("target", FILES)
def test_both_in_one_graft(saved: tuple[str, Path], tmp_path: Path, target: str) -> None:
    """The framework loads what was grafted into attributes of the model: both optimizers of the checkpoint."""
    framework, folder = saved
    output = tmp_path / target
    receipt = ckptdoctor.graft(folder / "later", folder / target, output, optimizer=BOTH)
    assert [each.optimizer.name for each in (*receipt.plan.before, receipt.plan)] == ["g_opt", "d_opt"]
    assert [path.name for path in tmp_path.iterdir()] == [target]
    found = loaded(framework, output)[str(output)]["advised"]
    assert {name: each["count"] for name, each in found.items()} == {"d_opt": 6, "g_opt": 6}
    (state,) = [each.state for each in ckptdoctor.inspect(output)]
    assert state is not None
    assert len(state.variables) == 8


def test_a_plan_of_both_writes_nothing(saved: tuple[str, Path], tmp_path: Path) -> None:
    """JSON has the plan of each; two for one optimizer, or one that is not there, are refused."""
    _, folder = saved
    words = ["graft", "--from", str(folder / "later"), "--into", str(folder / "gan.keras"), "--output"]
    words += [str(tmp_path / "o.keras"), "--dry-run", "--format", "json"]
    done = CliRunner().invoke(cli, [*words, "--optimizer", BOTH[0], "--optimizer", BOTH[1]])
    plan = json.loads(done.stdout)["plan"]
    assert [each["optimizer"]["name"] for each in (*plan["before"], plan)] == ["g_opt", "d_opt"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageProblem, match="for one optimizer of the target"):
        ckptdoctor.graft(folder / "later", folder / "gan.keras", tmp_path / "o.keras", optimizer=(BOTH[0],) * 2)
    with pytest.raises(GraftRefused, match="nobody"):
        ckptdoctor.graft(
            folder / "later", folder / "gan.keras", tmp_path / "o.keras", optimizer=(BOTH[0], "generator=nobody")
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", FILES)
def test_a_count_needs_no_class(saved: tuple[str, Path], tmp_path: Path, target: str) -> None:
    """Several classes fit the list; the count means the same to all of them, and the slots stay."""
    framework, folder = saved
    output = tmp_path / target
    ckptdoctor.graft(None, folder / target, output, optimizer="g_opt", iterations=50)
    before = loaded(framework, folder / target)[str(folder / target)]["advised"]
    after = loaded(framework, output)[str(output)]["advised"]
    assert after["g_opt"] == {**before["g_opt"], "count": 50}
    assert after["d_opt"] == before["d_opt"]


def test_verdict_and_verify(saved: tuple[str, Path]) -> None:
    """The RMSprop that nobody uses fails nothing; verify says why it cannot ask anybody."""
    _, folder = saved
    for name in FILES:
        (examined,) = ckptdoctor.inspect(folder / name)
        assert examined.status is Status.COMPLETE
        assert "S004" not in {each.code for each in examined.findings}
        report = ckptdoctor.check(folder / name, min_iterations=4)
        assert "E002" not in {each.code for each in report.results[0].findings}
        result = ckptdoctor.verify(folder / name, python=warm_python())
        assert "attributes of the model (d_opt, g_opt)" in str(result.error)
