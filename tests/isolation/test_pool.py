"""Several workers: answers in the order of calls, and a death that costs its own call."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest
from support.commands import children

from ckptdoctor.isolation.pool import Lost, in_order

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers import the functions that they are asked to call."""
    monkeypatch.syspath_prepend(HERE)


def _here(name: str) -> Any:
    return getattr(importlib.import_module("isolated_acts"), name)


@pytest.mark.parametrize("jobs", [1, 2, 9])
def test_in_order(jobs: int) -> None:
    """As many workers as calls, or fewer: the answers stand as the calls do."""
    assert list(in_order(_here("repeat"), [(number,) for number in range(7)], jobs=jobs)) == list(range(7))


def test_a_death_costs_one_call() -> None:
    """The worker that died is replaced, the calls after it are answered."""
    calls = [(number,) for number in range(6)]
    answers = list(in_order(_here("die_of_three"), calls, jobs=2))
    assert [isinstance(each, Lost) for each in answers] == [False, False, False, True, False, False]
    assert [each for each in answers if not isinstance(each, Lost)] == [0, 1, 2, 4, 5]


def test_a_defect_is_raised() -> None:
    """What the function did not foresee ends the work, and the workers with it."""
    before = children()
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(in_order(_here("divide"), [(), ()], jobs=2))
    assert children() == before


def test_nobody_waits_any_more() -> None:
    """Whoever takes only the first answer leaves no worker behind."""
    before = children()
    answers = in_order(_here("repeat"), [(number,) for number in range(50)], jobs=2)
    assert next(answers) == 0
    answers.close()
    assert children() == before
