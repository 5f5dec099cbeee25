"""`check --jobs`: several workers answer what one does, in the same order, whatever becomes of a worker."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from support.commands import children
from support.commands import ckptdoctor as command

import ckptdoctor
from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.results import Checked
from ckptdoctor.checking.run import MANY, check_paths
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.isolation import messages
from ckptdoctor.isolation.pool import cores


@pytest.fixture
def paths(tmp_path: Path, fixtures_dir: Path) -> list[str]:
    """Files of several kinds, a run, a directory of files, one artifact by two of its files, and what is none."""
    for name in ("run-a", "savedmodel"):
        shutil.copytree(fixtures_dir / name, tmp_path / name)
    (tmp_path / "several").mkdir()
    for name in ("keras3.keras", "whole-model.h5", "lost.weights.h5", "weights-only.h5", "optimizer.pkl"):
        shutil.copy(fixtures_dir / name, tmp_path / "several")
    (tmp_path / "cut.h5").write_bytes((fixtures_dir / "whole-model.h5").read_bytes()[:3000])
    (tmp_path / "empty").mkdir()
    several = tmp_path / "several"
    found = [
        several / "keras3.keras", tmp_path / "run-a", tmp_path / "not.h5", tmp_path / "cut.h5", several,
        tmp_path / "run-a" / "ckpt-7.index", tmp_path / "run-a" / "ckpt-7.data-00000-of-00001", tmp_path / "empty",
        several / "lost.weights.h5", several / "lost.weights.h5", tmp_path / "savedmodel",
    ]  # fmt: skip
    return [str(each) for each in found]


def _shown(results: list[Checked]) -> list[dict[str, object]]:
    """What reports say of results."""
    return [
        {
            "examination": each.examination.to_dict(tensors=True) if each.examination is not None else None,
            **{name: getattr(each, name) for name in Checked.__slots__ if name != "examination"},
        }
        for each in results
    ]


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("policy", [Policy(), Policy(deep=True, ignore=("S",), fail_on=Severity.WARNING)])
def test_the_same_in_order(paths: list[str], policy: Policy, everything: bool) -> None:  # noqa: FBT001
    """Every result is what one worker gives, in the order of the paths."""
    alone = list(check_paths(paths, policy, everything=everything))
    assert len({each.path for each in alone}) > 8
    assert len({each.exit_code for each in alone}) > 2
    together = list(check_paths(paths, policy, everything=everything, jobs=3))
    assert _shown(together) == _shown(alone)


def test_workers_that_cannot_answer(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker cannot hand over is read here."""
    files = [each for each in paths if not each.endswith((".h5", ".keras", "several", "savedmodel"))]
    alone = _shown(list(check_paths(files, Policy())))
    monkeypatch.setattr(messages, "MAX_MESSAGE", 100)
    assert _shown(list(check_paths(files, Policy(), jobs=2))) == alone


def test_of_the_command(paths: list[str]) -> None:
    """The option changes neither the report nor the exit code."""
    one = command("check", "--format", "json", *paths)
    several = command("check", "--format", "json", "--jobs", "2", *paths)
    assert (several.code, several.out, several.err) == (one.code, one.out, one.err)
    assert len(json.loads(one.out)["artifacts"]) > 10
    assert command("check", "--jobs", "0", *paths).code == 2


def test_of_the_function(paths: list[str]) -> None:
    """`ckptdoctor.check(jobs=2)` as well."""
    found = ckptdoctor.check(*paths, jobs=2)
    assert _shown(list(found.results)) == _shown(list(ckptdoctor.check(*paths).results))


def test_what_is_left_when_it_is_not_wanted_any_more(paths: list[str]) -> None:
    """Who takes the first result alone leaves no worker behind."""
    before = children()
    results = check_paths(paths, Policy(), jobs=2)
    assert isinstance(results, Generator)
    next(results)
    workers = children() - before
    assert len(workers) == 2
    results.close()
    assert not workers & children()


@pytest.mark.parametrize(("number", "several"), [(MANY, True), (MANY - 1, False)])
def test_as_many_as_there_are_processors(fixtures_dir: Path, tmp_path: Path, *, number: int, several: bool) -> None:
    """Without the option they are used where there are many artifacts; the report is the same."""
    for each in range(number):
        shutil.copy(fixtures_dir / "optimizer.pkl", tmp_path / f"{each}.pkl")
    names = sorted(map(str, tmp_path.iterdir()))
    before = children()
    results = check_paths(names, Policy(), jobs=None)
    assert isinstance(results, Generator)
    next(results)
    assert (len(children() - before) > 1) == (several and cores() > 1)
    results.close()
    default, one = (command("check", "--format", "json", *more, *names) for more in ((), ("--jobs", "1")))
    assert (default.code, default.out, default.err) == (one.code, one.out, one.err)
