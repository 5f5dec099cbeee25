"""Several workers at once: calls of one function, answered by whichever is free, in the order of the calls."""

import os
import select
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ckptdoctor.declarations.chosen import source
from ckptdoctor.isolation import limits, messages, worker
from ckptdoctor.isolation.client import directory, is_direct
from ckptdoctor.isolation.process import Answered, Process, start

if TYPE_CHECKING:
    from concurrent.futures import Executor

_Value = TypeVar("_Value")


class Lost:
    """Stands for the answer of a worker that died over its call."""


_LOST = Lost()


class _Busy(NamedTuple):
    """A worker, and the number of the call that it is at."""

    process: Process
    number: int


def can_work() -> bool:
    """Whether several workers can be waited for at once: `select` of Windows knows sockets alone."""
    return sys.platform != "win32" and not is_direct()


def in_order(
    function: Callable[..., _Value],
    calls: Iterable[tuple[object, ...]],
    *,
    jobs: int,
    fetchers: "Executor | None" = None,
) -> Generator[_Value | Lost, None, None]:
    """Calls a function with each of several arguments, in up to `jobs` workers.

    Args:
        function: Defined at the top level of a module; it raises nothing but defects.
        calls: The arguments of each call, frozen data; taken as workers become free.
        jobs: So many workers.
        fetchers: Threads that ask the network for them, where what they read is at URLs; else one waits for the other.

    Yields:
        What each call returned, in the order of `calls`; `Lost` where its worker died.
    """
    answers: dict[int, Any] = {}
    busy: list[_Busy] = []
    waiting = iter(enumerate(calls))
    try:
        for number, arguments in waiting:
            process = _started(busy, fetchers)
            busy.append(_Busy(process, number))
            _set_to(process, function, arguments)
            if len(busy) == jobs:
                break
        for number in count():
            while number not in answers and busy:
                _hear(busy, waiting, function, answers)
            if number not in answers:
                return
            yield answers.pop(number)
    finally:
        for each in busy:
            each.process.end()


def _started(busy: list[_Busy], fetchers: "Executor | None") -> Process:
    process = start([each.process for each in busy])
    process.fetchers = fetchers
    return process


def _set_to(process: Process, function: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    call = worker.Call(function, arguments, progress=False, limited=True, directory=directory(), source=source())
    with suppress(OSError):  # it has died already, which is heard where it is waited for
        messages.send(process.requests, tuple(call))


def _hear(
    busy: list[_Busy],
    waiting: Iterator[tuple[int, tuple[object, ...]]],
    function: Callable[..., Any],
    answers: dict[int, Any],
) -> None:
    """Waits until some worker says something; one that has answered is set to the next call."""
    ready = select.select([each.process.answers for each in busy], [], [], limits.STUCK_WALL)[0]
    for at in [each for each in busy if each.process.answers in ready] or list(busy):
        done, value = _heard(at.process, silent=not ready)
        if not done:
            continue
        answers[at.number] = value
        busy.remove(at)
        following = next(waiting, None)
        if value is _LOST or following is None:
            at.process.end()
        if following is not None:
            process = _started(busy, at.process.fetchers) if value is _LOST else at.process
            busy.append(_Busy(process, following[0]))
            _set_to(process, function, following[1])


def _heard(process: Process, *, silent: bool) -> tuple[bool, Any]:
    """Whether a worker has answered, and what; one that has been silent for too long is given up."""
    if silent:
        return True, _LOST
    try:
        return process.hear()
    except Answered as answered:
        raise answered.error from None
    except (EOFError, OSError, messages.Garbled):
        return True, _LOST


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
