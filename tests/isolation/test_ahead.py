"""Calls that are set ahead: their answers are those of calls that are waited for, and a death costs one of them."""

from __future__ import annotations

import importlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ckptdoctor as api
from ckptdoctor.checking.configuration import configure
from ckptdoctor.checking.results import Checked
from ckptdoctor.checking.run import check_paths
from ckptdoctor.errors import LimitExceeded
from ckptdoctor.isolation import MOST_EARLY, client
from ckptdoctor.isolation.client import Crashed, ahead, isolated


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The worker imports the functions that it is asked to call."""
    monkeypatch.syspath_prepend(os.path.dirname(os.path.abspath(__file__)))
    client.stop()
    yield
    client.stop()


def _act(name: str) -> Any:
    return getattr(importlib.import_module("isolated_acts"), name)


def test_answers_in_any_order() -> None:
    """What was set ahead is answered when it is asked for, first or last, and whatever is asked between."""
    repeat = _act("repeat")
    assert ahead(repeat, 1, path="p")
    assert isolated(repeat, 7, path="p") == 7
    assert ahead(repeat, 2, path="p")
    assert [isolated(repeat, each, path="p") for each in (2, 1, 3)] == [2, 1, 3]


def test_no_more_than_workers() -> None:
    """While every worker is at something, nothing more is set ahead; the call that comes asks."""
    wait = _act("die")  # sleeps for ten seconds after a signal that does nothing
    assert [ahead(wait, signal.SIGCONT, path=str(number)) for number in range(3)] == [True, True, False]
    client.stop()
    assert isolated(_act("repeat"), 5, path="p") == 5


def test_errors_are_raised_when_asked_for() -> None:
    """A refusal and a death come to whoever asks for them, not to who asks for something else."""
    assert ahead(_act("refuse"), path="a")
    assert ahead(_act("die"), signal.SIGSEGV, path="b")
    assert isolated(_act("repeat"), 1, path="p") == 1
    with pytest.raises(Crashed, match=r"crashed on it \(SIGSEGV\)"):
        isolated(_act("die"), signal.SIGSEGV, path="b")
    with pytest.raises(LimitExceeded, match="too much"):
        isolated(_act("refuse"), path="a")
    assert isolated(_act("repeat"), 2, path="p") == 2


def test_answers_that_nobody_takes_do_not_pile_up() -> None:
    """A caller that changes its mind costs a few answers, not the memory."""
    repeat = _act("repeat")
    for number in range(40):
        ahead(repeat, number, path="p")
        assert isolated(repeat, -number, path="p") == -number
    assert len(client._early) <= MOST_EARLY


def test_check_reads_ahead_and_says_the_same(fixtures_dir: Path, tmp_path: Path) -> None:
    """Results of many paths, among them what cannot be read, are those of each path by itself, in their order."""
    (tmp_path / "garbage.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    (tmp_path / "empty.keras").write_bytes(b"")
    names = ["whole-model.h5", "keras3.keras", "run-a", "lost.weights.h5", "weights-only.h5", "optimizer.pkl"]
    once = [*(str(fixtures_dir / name) for name in names), str(tmp_path / "garbage.h5"), str(tmp_path / "empty.keras")]
    paths = [*once, *reversed(once), *once]
    policy = configure({}, search=False).policy
    alone = told(result for path in paths for result in check_paths([path], policy))
    assert told(check_paths(paths, policy, upcoming=paths)) == alone
    assert told(api.check(*paths).results) == alone


def told(results: Iterable[Checked]) -> list[tuple[object, ...]]:
    """What results say; errors are equal where their sentences are."""
    return [(each.path, each.verdict, each.findings, each.exit_code) for each in results]
