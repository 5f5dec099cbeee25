"""A policy that speaks of one optimizer of several: `[tool.ckptdoctor.optimizers.g_opt]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.archives import DENSE, TWO, save

import ckptdoctor
from ckptdoctor.checking.configuration import configure, explain
from ckptdoctor.errors import UsageProblem

SHAPES = [(3, 4), (4,), (4, 2), (2,)]
D_OPT = [np.int64(40), np.float32(0.1), *SHAPES]
G_OPT = [np.int64(7), np.float32(0.1), *(shape for shape in SHAPES for _ in "mv")]
IDLE = [np.int64(0), np.float32(0.001)]


@pytest.fixture
def gan(tmp_path: Path) -> Path:
    """An archive with two optimizers in attributes, and the default one that nobody uses."""
    groups: dict[str, Any] = {**DENSE, "d_opt": D_OPT, "g_opt": G_OPT, "optimizer": IDLE}
    save(tmp_path, groups, TWO)
    return tmp_path / "m.keras"


def told(path: Path, **settings: Any) -> list[str]:
    """The messages of family E."""
    report = ckptdoctor.check(path, **settings)
    return [each.message for each in report.results[0].findings if each.code.startswith("E")]


def test_each_has_its_own(gan: Path) -> None:
    """What is asked of one is not asked of the other, nor of the one that nobody uses."""
    assert told(gan, min_iterations=7) == []
    assert len(told(gan, min_iterations=40)) == 1
    assert told(gan, min_iterations=40, optimizers={"g_opt": {"min-iterations": 7}}) == []
    (message,) = told(gan, optimizers={"g_opt": {"min-iterations": 100}})
    assert message.startswith("g_opt: ")
    assert "at least 100" in message
    assert told(gan, optimizers={"g_opt": {"optimizer": "Adam"}, "d_opt": {"optimizer": "RMSprop"}}) == []
    (message,) = told(gan, optimizers={"d_opt": {"optimizer": "Adam"}})
    assert message.startswith("d_opt: Adam is expected")


def test_one_that_is_not_there(gan: Path) -> None:
    """It is named, with those that are."""
    assert told(gan, optimizers={"c_opt": {"require": ["iterations"]}}) == [
        "the policy asks for an optimizer 'c_opt', but it has d_opt, g_opt, optimizer"
    ]


def test_what_is_asked_of_the_model_stays(gan: Path) -> None:
    """`weights` is nobody's in particular, and still asked for where every optimizer has a table."""
    tables = {name: {"require": ["slots"]} for name in ("d_opt", "g_opt")}
    assert told(gan, require=["weights"], optimizers=tables) == []


def test_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of TOML; what is in force can be written down and read again."""
    monkeypatch.chdir(tmp_path)
    Path("ckptdoctor.toml").write_text(
        '[optimizers.g_opt]\nmin-iterations = 5\n[optimizers."a.b"]\nrequire = ["slots"]\n'
    )
    found = configure({})
    assert found.policy.optimizers["g_opt"] == {"min_iterations": 5}
    Path("again.toml").write_text(explain(found))
    assert configure({}, config="again.toml").policy.optimizers == found.policy.optimizers


@pytest.mark.parametrize(
    "wrong", [7, {"g_opt": 7}, {"g_opt": {"loader": "keras==3.15"}}, {"g_opt": {"min-iterations": -1}}]
)
def test_what_makes_no_sense(wrong: Any) -> None:
    """It is refused with the place where it stands."""
    with pytest.raises(UsageProblem, match="optimizers"):
        configure({"optimizers": wrong}, search=False)
