"""Our side of the worker: started when first needed, asked, and started anew when it died."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any, TypeVar

from ckptdoctor.declarations.chosen import source
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.isolation import limits, messages, worker
from ckptdoctor.isolation.process import KILL, Answered, Process, start

_Value = TypeVar("_Value")
_Told = Callable[[int, int], None]

_OUT_OF_TIME = -24
"""SIGXCPU: the kernel's answer to RLIMIT_CPU."""

_lock = Lock()


class Crashed(UnreadableArtifact):
    """The worker died over a file: libhdf5 crashed, ran out of memory, or hung."""


def isolated(
    function: Callable[..., _Value],
    *arguments: object,
    path: str,
    progress: _Told | None = None,
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
    if is_direct():
        return function(*arguments, **({"progress": progress} if progress is not None else {}))
    call = worker.Call(function, arguments, progress is not None, limited, directory(), source())
    with _lock:
        return _worker.ask(call, path, progress)  # type: ignore[no-any-return]


def begun(*modules: str, beside: str) -> None:
    """Starts the worker, if there is none, and has it load modules while this process goes on.

    Args:
        *modules: What it needs before it can be asked anything.
        beside: What it goes on to load while it is asked.
    """
    if is_direct():
        return
    call = worker.Call(worker.load, (modules, beside), progress=False, limited=False, directory=None, source=source())
    with _lock, suppress(OSError):  # that it cannot be started is told by whoever asks it
        _worker.begin(call)


def is_direct() -> bool:
    """Whether functions are called in this process: a worker, or an embedded interpreter, which cannot be started."""
    import sys

    return limits.is_worker() or not sys.executable


def directory() -> str | None:
    """Where this process stands; None where that was deleted."""
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
    if code == -KILL:
        return "the process that read it was killed; most likely there was not enough memory"
    if code < 0:
        import signal

        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"HDF5's library crashed on it ({name}): it is corrupt or hostile; nothing of it was used"
    return f"the process that read it ended without an answer (code {code}): it is corrupt or hostile"


# ------------------------------------------------------------------------------------------------------------ worker


class _Worker:
    """The worker that is running, if one is."""

    def __init__(self) -> None:
        self._process: Process | None = None

    def _running(self) -> Process:
        """The worker, started if there is none; one that a forked parent had is the parent's."""
        if self._process is not None and (self._process.owner != os.getpid() or self._process.has_ended()):
            self.discard()
        if self._process is None:
            self._process = start()
        return self._process

    def begin(self, call: worker.Call) -> None:
        """Has a worker that was not running yet begin with a call whose answer nobody waits for."""
        if self._process is None:
            process = self._running()
            messages.send(process.requests, tuple(call))
            process.unheard += 1

    def discard(self) -> int:
        """Ends the worker, and answers its exit code."""
        old, self._process = self._process, None
        return old.end() if old is not None and old.owner == os.getpid() else 0

    def ask(self, call: worker.Call, path: str, progress: _Told | None) -> Any:
        """Asks, and waits for the answer."""
        patience = limits.STUCK_WALL if call.limited else None
        again = True
        while True:
            try:
                process = self._running()
            except OSError as error:
                why = (error.strerror or str(error)).lower()
                raise Crashed(f"the process that would read it cannot be started: {why}", path) from error
            try:
                messages.send(process.requests, tuple(call))
                process.hear_out(patience)
                return process.wait(progress, patience)
            except BaseException as error:
                # Whatever interrupted the conversation: its rest would be taken for the answer to the next call.
                if isinstance(error, Answered):
                    raise error.error from None
                code = self.discard()
                if isinstance(error, (EOFError, BrokenPipeError)) and code == 0 and again:
                    again = False
                    continue  # it had waited long enough for a call, and ended just now
                if isinstance(error, (EOFError, BrokenPipeError, messages.Garbled, TimeoutError)):
                    raise Crashed(_how(error, code), path) from None
                raise


_worker = _Worker()


@atexit.register
def stop() -> None:
    """Ends the worker; the next call starts another."""
    _worker.discard()
