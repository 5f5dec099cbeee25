"""Our side of the worker: started when first needed, asked, and started anew when it died."""

from __future__ import annotations

import atexit
import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, NoReturn, TypeVar

from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.isolation import MOST_EARLY, limits, messages, ownership, worker

_Value = TypeVar("_Value")

_START = "import sys; sys.path[:] = sys.argv[1:]; from ckptdoctor.isolation.worker import main; main()"
"""What a worker runs that is no fork: our module path, so that nothing is imported from where the user stands."""

_KILL = 9
_OUT_OF_TIME = -24
"""SIGXCPU: the kernel's answer to RLIMIT_CPU."""

_lock = Lock()
_current: _Worker | None = None
_asked: tuple[worker.Call, str] | None = None
"""What the worker is at before anybody waits for it, and the file that it reads."""
_early: dict[worker.Call, Callable[[], Any]] = {}
"""The last few answers that came before they were wanted: the call, and what gives or raises its answer."""


class Crashed(UnreadableArtifact):
    """The worker died over a file: libhdf5 crashed, ran out of memory, or hung."""


def isolated(
    function: Callable[..., _Value],
    *arguments: object,
    path: str,
    progress: Callable[[int, int], None] | None = None,
    limited: bool = True,
) -> _Value:
    """Calls a function in the worker and answers what it returns.

    Args:
        function: Defined at the top level of a module; called in this process if that is a worker itself.
        *arguments: Frozen data.
        path: What it reads; named where the worker dies.
        progress: Handed to the function as `progress=`.
        limited: Whether memory and silence are bounded; not for what writes results of any size.

    Raises:
        Crashed: The worker died.
        UnreadableArtifact: And whatever else of ckptdoctor's errors the function raises.
    """
    if limits.is_worker() or not sys.executable:  # an embedded interpreter cannot be started again
        return function(*arguments, **({"progress": progress} if progress is not None else {}))
    call = worker.Call(function, arguments, progress is not None, limited, _directory())
    with _lock:
        value: _Value = _ask(call, path, progress)
    return value


def ahead(function: Callable[..., object], *arguments: object, path: str) -> bool:
    """Sets the worker to a call that will come next, and does not wait: it works while we do something else.

    `isolated` with the same function and arguments then takes the answer. Nothing depends on it: where the worker
    cannot be asked now, the call that comes asks.

    Returns:
        Whether it was asked; not while it is at something.
    """
    global _asked  # noqa: PLW0603 - one worker serves the process
    if limits.is_worker():
        return False
    with _lock:
        if _asked is not None and _current is not None and _current.has_answered():
            _settle()
        if _asked is None:
            call = worker.Call(function, arguments, progress=False, limited=True, directory=_directory())
            with suppress(OSError):
                messages.send(_running().requests, tuple(call))
                _asked = call, path
                return True
    return False


def _settle() -> None:
    """Waits for what was asked ahead, and keeps the answer."""
    global _asked  # noqa: PLW0603 - one worker serves the process
    current = _current
    if _asked is None or current is None:
        return
    call, path = _asked
    while len(_early) >= MOST_EARLY:
        del _early[next(iter(_early))]
    try:
        value = current.wait(None, limits.STUCK_WALL)
        _early[call] = lambda: value
    except _Answered as answered:
        _early[call] = partial(_raise, answered.error)
    except BaseException as error:
        code = _discard(current)
        if not isinstance(error, (EOFError, messages.Garbled, TimeoutError)):
            raise
        if code != 0 or not isinstance(error, EOFError):
            _early[call] = partial(_raise, Crashed(_how(error, code), path))
    _asked = None


def _raise(error: BaseException) -> NoReturn:
    raise error from None


def _ask(call: worker.Call, path: str, progress: Callable[[int, int], None] | None) -> Any:
    _settle()
    if call in _early:
        return _early.pop(call)()
    patience = limits.STUCK_WALL if call.limited else None
    while True:
        try:
            current = _running()
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise Crashed(f"the process that would read it cannot be started: {why}", path) from error
        try:
            messages.send(current.requests, tuple(call))
            return current.wait(progress, patience)
        except BaseException as error:
            # Whatever interrupted the conversation: its rest would be taken for the answer to the next call.
            if isinstance(error, _Answered):
                raise error.error from None
            code = _discard(current)
            if isinstance(error, (EOFError, BrokenPipeError)) and code == 0:
                continue  # it had waited long enough for a call, and ended just now
            if isinstance(error, (EOFError, BrokenPipeError, messages.Garbled, TimeoutError)):
                raise Crashed(_how(error, code), path) from None
            raise


class _Answered(Exception):
    """The function raised; the worker is well."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def _directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was deleted; absolute paths still work
        return None


def _how(error: BaseException, code: int) -> str:
    """How the worker died, as a sentence about the file."""
    if isinstance(error, messages.Garbled):
        return f"the process that read it answered nonsense ({error}): the file is corrupt or hostile"
    if isinstance(error, TimeoutError):
        return f"reading it stood still for {limits.STUCK_WALL:g} s; nothing of it was used"
    if code == _OUT_OF_TIME:
        return f"HDF5 was caught in a loop over it for {limits.STUCK_CPU} s: it is corrupt or hostile"
    if code == -_KILL:
        return "the process that read it was killed; most likely there was not enough memory"
    if code < 0:
        import signal

        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"HDF5's library crashed on it ({name}): it is corrupt or hostile; nothing of it was used"
    return f"the process that read it ended without an answer (code {code}): it is corrupt or hostile"


# ------------------------------------------------------------------------------------------------------- processes


class _Worker:
    """A running worker: its two pipes, and how it is waited for."""

    def __init__(self, requests: int, answers: int, poll: Callable[[], int | None], kill: Callable[[], int]) -> None:
        self.requests = requests
        self.answers = answers
        self.owner = os.getpid()
        self._poll = poll
        self._kill = kill

    def wait(self, progress: Callable[[int, int], None] | None, patience: float | None) -> Any:
        """Waits for the answer to a call, and hears of progress meanwhile."""
        while True:
            if sys.platform != "win32" and not select.select([self.answers], [], [], patience)[0]:
                raise TimeoutError
            answer = messages.receive(self.answers, messages.distrusted)
            if not isinstance(answer, tuple) or len(answer) != 2:  # noqa: PLR2004 - kind and value
                raise messages.Garbled("an answer of no kind")
            kind, value = answer
            if kind == worker.DONE:
                return value
            if kind == worker.RAISED and isinstance(value, Exception):
                raise _Answered(value)
            if kind == worker.DEFECT:
                raise _Answered(RuntimeError(f"a defect of ckptdoctor, in the process that reads:\n{value}"))
            if kind == worker.PROGRESS and progress is not None and isinstance(value, tuple):
                progress(int(value[0]), int(value[1]))
            elif kind != worker.ALIVE:
                raise messages.Garbled(f"an answer of kind {kind!r}")

    def has_answered(self) -> bool:
        """Whether waiting would not take long."""
        return sys.platform != "win32" and bool(select.select([self.answers], [], [], 0)[0])

    def has_ended(self) -> bool:
        """Whether the process is gone: it waited long enough for a call."""
        return self._poll() is not None

    def end(self) -> int:
        """Ends the process, if it has not ended, and answers its exit code; minus the signal that ended it."""
        for descriptor in (self.requests, self.answers):
            os.close(descriptor)
        return self._kill()


def _running() -> _Worker:
    """The worker, started if there is none; one that a forked parent had is the parent's."""
    global _current  # noqa: PLW0603 - one worker serves the process
    if _current is not None and (_current.owner != os.getpid() or _current.has_ended()):
        _discard(_current)
    if _current is None:
        _current = _fork() if _may_fork() else _spawn()
    return _current


def _discard(old: _Worker) -> int:
    global _current, _asked  # noqa: PLW0603 - one worker serves the process
    _current = _asked = None
    return old.end() if old.owner == os.getpid() else 0


@atexit.register
def stop() -> None:
    """Ends the worker; the next call starts another."""
    if _current is not None:
        _discard(_current)


def _may_fork() -> bool:
    """Whether a fork is safe: our own process, and no thread in it (a progress bar has one)."""
    return ownership.is_ours() and sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1


def _fork() -> _Worker:
    parent = os.getpid()
    requests, ask = os.pipe()
    answers, answer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ask)
            os.close(answers)
            limits.die_with(parent)
            worker.serve(requests, answer)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(requests)
    os.close(answer)
    return _Worker(ask, answers, lambda: _waited(pid, os.WNOHANG), lambda: _killed(pid))


def _killed(pid: int) -> int:
    # What has closed its pipe is ending already: its exit code stays what it is.
    with suppress(ProcessLookupError):
        os.kill(pid, _KILL)
    return _waited(pid, 0) or 0


def _waited(pid: int, flags: int) -> int | None:
    """The exit code of a child; None if it is running and need not be waited for."""
    try:
        done, status = os.waitpid(pid, flags)
    except ChildProcessError:  # somebody else waited for it
        return 0
    return os.waitstatus_to_exitcode(status) if done else None


def _spawn() -> _Worker:
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

    return _Worker(ask, answers, process.poll, kill)
