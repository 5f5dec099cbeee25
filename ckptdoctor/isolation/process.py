"""A running worker: how it is started, heard, and ended."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, Any

from ckptdoctor.isolation import limits, messages, ownership, worker
from ckptdoctor.storage.counting import Traffic
from ckptdoctor.storage.relay import answer as answer_for

if TYPE_CHECKING:
    from concurrent.futures import Executor

_START = "import sys; sys.path[:] = sys.argv[1:]; from ckptdoctor.isolation.worker import main; main()"
"""What a worker runs that is no fork: our module path, so that nothing is imported from where the user stands."""

KILL = 9


class Answered(Exception):
    """The function raised; the worker is well."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class Process:
    """A running worker: its two pipes, and how it is waited for.

    Attributes:
        fetchers: Threads that ask the network for it; None where its parent has nothing else to do meanwhile.
        traffic: What was fetched for it.
        unheard: Answers to come that nobody waits for.
    """

    def __init__(self, requests: int, answers: int, poll: Callable[[], int | None], kill: Callable[[], int]) -> None:
        self.requests = requests
        self.answers = answers
        self.owner = os.getpid()
        self.fetchers: Executor | None = None
        self.traffic = Traffic()
        self.unheard = 0
        self._open = Lock()
        self._ended = False
        self._poll = poll
        self._kill = kill

    def wait(self, progress: Callable[[int, int], None] | None, patience: float | None) -> Any:
        """Waits for the answer to a call, and hears of progress meanwhile."""
        while True:
            if sys.platform != "win32" and not select.select([self.answers], [], [], patience)[0]:
                raise TimeoutError
            done, value = self.hear(progress)
            if done:
                return value

    def hear_out(self, patience: float | None) -> None:
        """Hears the answers that nobody waits for; whatever failed there fails again where it is needed."""
        while self.unheard:
            with suppress(Answered):
                self.wait(None, patience)
            self.unheard -= 1

    def hear(self, progress: Callable[[int, int], None] | None = None) -> tuple[bool, Any]:
        """Hears one message: whether it is the answer to the call, and that answer."""
        answer = messages.receive(self.answers, messages.distrusted)
        if not isinstance(answer, tuple) or len(answer) != 2:  # noqa: PLR2004 - kind and value
            raise messages.Garbled("an answer of no kind")
        kind, value = answer
        if kind == worker.DONE:
            return True, value
        if kind == worker.RAISED and isinstance(value, Exception):
            raise Answered(value)
        if kind == worker.DEFECT:
            raise Answered(RuntimeError(f"a defect of ckptdoctor, in the process that reads:\n{value}"))
        if kind == worker.FETCH and isinstance(value, tuple) and len(value) == 2:  # noqa: PLR2004 - question, arguments
            if self.fetchers is None:
                self._fetch(*value)
            else:
                self.fetchers.submit(self._fetch, *value)
        elif kind == worker.PROGRESS and progress is not None and isinstance(value, tuple):
            progress(int(value[0]), int(value[1]))
        elif kind != worker.ALIVE:
            raise messages.Garbled(f"an answer of kind {kind!r}")
        return False, None

    def _fetch(self, question: object, arguments: object) -> None:
        """Answers what the worker asks of the network; that it has died meanwhile is heard where it is waited for."""
        answer = answer_for(question, arguments, self.traffic)
        with self._open, suppress(OSError):
            if not self._ended:  # or its pipe might be another's by now
                messages.send(self.requests, answer, limits.STUCK_WALL)

    def has_ended(self) -> bool:
        """Whether the process is gone: it waited long enough for a call."""
        return self._poll() is not None

    def end(self) -> int:
        """Ends the process, if it has not ended, and answers its exit code; minus the signal that ended it."""
        code = self._kill()  # first: whoever is sending to it hears that it is gone
        with self._open:
            self._ended = True
            for descriptor in (self.requests, self.answers):
                os.close(descriptor)
        return code


def start(others: Iterable[Process] = ()) -> Process:
    """A new worker, besides others whose pipes are none of its business.

    Raises:
        OSError: The system has no room for one.
    """
    return _fork(others) if _may_fork() else _spawn()


def _may_fork() -> bool:
    """Whether a fork is safe: our own process, and no thread in it (a progress bar has one)."""
    return ownership.is_ours() and sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1


def _fork(others: Iterable[Process]) -> Process:
    parent = os.getpid()
    requests, ask = os.pipe()
    answers, answer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for each in (ask, answers, *(end for other in others for end in (other.requests, other.answers))):
                os.close(each)
            limits.die_with(parent)
            worker.serve(requests, answer)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(requests)
    os.close(answer)
    return Process(ask, answers, lambda: _waited(pid, os.WNOHANG), lambda: _killed(pid))


def _killed(pid: int) -> int:
    # What has closed its pipe is ending already: its exit code stays what it is.
    with suppress(ProcessLookupError):
        os.kill(pid, KILL)
    return _waited(pid, 0) or 0


def _waited(pid: int, flags: int) -> int | None:
    """The exit code of a child; None if it is running and need not be waited for."""
    try:
        done, status = os.waitpid(pid, flags)
    except ChildProcessError:  # somebody else waited for it
        return 0
    return os.waitstatus_to_exitcode(status) if done else None


def _spawn() -> Process:
    import subprocess

    requests, ask = os.pipe()
    answers, answer = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, on a program of our own
            [sys.executable, "-c", _START, *sys.path], stdin=requests, stdout=answer, stderr=subprocess.DEVNULL
        )
    finally:
        os.close(requests)
        os.close(answer)

    def kill() -> int:
        process.kill()
        return process.wait()

    return Process(ask, answers, process.poll, kill)
