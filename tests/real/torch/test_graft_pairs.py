"""Every pair of formats of PyTorch, saved and loaded by the real programs: training goes on exactly, or it is refused.

Where nothing tells how the program divides its parameters into groups, that is said, and torch refuses other groups.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.commands import ROOT, ckptdoctor, python

torch = pytest.importorskip("torch", exc_type=ImportError)

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

PROGRAM = ROOT / "tests" / "support" / "pytorch" / "families.py"
PACKAGES = ("lightning", "transformers", "accelerate", "deepspeed", "stable_baselines3")
FAMILIES = ["zip", "stream", "distributed", *(each for each in PACKAGES if find_spec(each) is not None)]
NAMED = {"distributed"}
"""Families that keep state by names, whatever groups it is in."""
SAMPLE = 4
"""The ordinary run has every third pair; each family is a donor and a target in it."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family's run."""
    top = tmp_path_factory.mktemp("families")

    def make(family: str) -> Path:
        folder: Path = top / family
        if not folder.exists():
            folder.mkdir()
            done = python(str(PROGRAM), family, str(folder))
            assert done.code == 0, done.err
        return folder

    return make


def _found(folder: Path, name: str) -> Path | None:
    return next((each for each in sorted(folder.iterdir()) if each.name.partition(".")[0] == name), None)


def _hold(made: Callable[[str], Path], target: str, donors: list[str]) -> None:
    folder = made(target)
    outs: dict[str, str] = {}
    for donor in donors:
        whole = _found(made(donor), "whole")
        assert whole is not None
        for kind in ("blank", "bare"):
            into = _found(folder, kind)
            if into is None:
                continue
            out = folder / f"{donor}-{kind}{into.suffix}"
            result = ckptdoctor("graft", "--from", whole, "--into", into, "--output", out)
            if kind == "bare" and target == "transformers" != donor:  # it always makes two groups
                assert (result.code, "2 groups" in result.err, out.exists()) == (4, True, False), result
                continue
            assert result.code == 0, result.err
            untold = kind == "bare" and donor == "transformers" != target
            assert ("nothing tells the groups" in result.out) is untold, result.out
            outs[str(out)] = "ValueError" if untold and target not in NAMED else "0.0"
    blank = str(_found(folder, "blank"))
    done = python(str(PROGRAM), target, str(folder), blank, *outs)
    assert done.code == 0, done.err
    ends = dict(line.rsplit(" ", 1) for line in done.out.splitlines() if line.startswith(str(folder)))
    assert float(ends.pop(blank)) > 0.01  # it is not as if nothing had been lost
    assert ends.keys() == outs.keys()
    for path, wanted in outs.items():
        assert ends[path] == wanted or (wanted == "0.0" and float(ends[path]) <= 1e-6), (path, ends[path], done.err)


@pytest.mark.parametrize("target", FAMILIES)
def test_a_sample(made: Callable[[str], Path], target: str) -> None:
    """Into each family from some of the others."""
    _hold(made, target, FAMILIES[FAMILIES.index(target) % SAMPLE :: SAMPLE])


@pytest.mark.nightly
@pytest.mark.parametrize("target", FAMILIES)
def test_all(made: Callable[[str], Path], target: str) -> None:
    """Into each family from every one."""
    _hold(made, target, FAMILIES)
