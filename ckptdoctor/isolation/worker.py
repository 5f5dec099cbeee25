"""The worker's side: takes a call, answers it, takes the next; ends when nobody asks any more."""

import os
import select
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from threading import Lock, Thread
from typing import Any, NamedTuple

from ckptdoctor import storage
from ckptdoctor.declarations.chosen import Source, use
from ckptdoctor.errors import CkptDoctorError
from ckptdoctor.isolation import limits, messages
from ckptdoctor.storage.relay import Relay

IDLE = 60.0
"""Seconds that a worker waits for the next call."""

ALIVE, PROGRESS, FETCH, DONE, RAISED, DEFECT = "alive", "progress", "fetch", "done", "raised", "defect"


class Call(NamedTuple):
    """A function to be called.

    Attributes:
        function: Defined at the top level of a module.
        arguments: Its positional arguments.
        progress: Whether it takes `progress=`, which is told how many bytes of how many are done.
        limited: Whether memory and time are bounded.
        directory: The parent's working directory: paths are relative to it.
        source: Which policy file declares classes.
    """

    function: Callable[..., Any]
    arguments: tuple[object, ...]
    progress: bool
    limited: bool
    directory: str | None
    source: Source


def serve(requests: int, answers: int) -> None:
    """Answers calls until the parent closes its end, or asks for nothing for a while."""
    limits.confine()
    line = _Line(requests, answers)
    storage.use(Relay(line.fetch))
    while _asked(requests):
        try:
            call = Call(*messages.receive(requests, messages.trusted))
        except EOFError:
            return
        try:
            limits.begin(line.alive, limited=call.limited)
            kind, value = _answer(call, line)
            limits.finish()
            _tell(line, kind, value)
        except BrokenPipeError:
            return


def _tell(line: "_Line", kind: str, value: object) -> None:
    try:
        line.say(kind, value)
    except (MemoryError, RecursionError) as error:  # it is too large or too deep to be sent
        line.say(RAISED, type(error)())
    except BrokenPipeError:
        raise
    except Exception:  # noqa: BLE001 - it holds what is no frozen data: a defect of ours
        line.say(DEFECT, traceback.format_exc())


def _asked(requests: int) -> bool:
    if sys.platform == "win32":  # select knows sockets only; the read waits
        return True
    return bool(select.select([requests], [], [], IDLE)[0])


class _Line:
    """The pipe to the parent. Threads may report progress, and the timer rings at any time: one message at a time."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests = requests
        self._answers = answers
        self._talking = Lock()
        self._fetching = Lock()

    def say(self, kind: str, value: object) -> None:
        """Sends a message."""
        with self._talking:
            messages.send(self._answers, (kind, value))

    def alive(self) -> None:
        """Says that reading goes on, unless something is being said."""
        if self._talking.acquire(blocking=False):
            try:
                messages.send(self._answers, (ALIVE, None))
            finally:
                self._talking.release()

    def progress(self, done: int, total: int) -> None:
        """Says how far it is."""
        self.say(PROGRESS, (done, total))

    def fetch(self, question: str, arguments: tuple[object, ...]) -> Any:
        """Asks the parent, which has the network; raises what it answers as an error."""
        with self._fetching:
            self.say(FETCH, (question, arguments))
            done, value = messages.receive(self._requests, messages.trusted)
        if done:
            return value
        raise value


def _answer(call: Call, line: _Line) -> tuple[str, object]:
    try:
        if call.directory is not None:
            os.chdir(call.directory)
        use(call.source)
        return DONE, call.function(*call.arguments, **({"progress": line.progress} if call.progress else {}))
    except BrokenPipeError:
        raise
    except (CkptDoctorError, MemoryError, RecursionError, OSError) as error:
        return RAISED, error
    except Exception:  # noqa: BLE001 - what is none of these is a defect of ours, and the parent says so
        return DEFECT, traceback.format_exc()


def load(modules: tuple[str, ...], beside: str) -> None:
    """Loads modules that calls to come will need, and begins with one that they can begin without."""
    for each in modules:
        import_module(each)
    Thread(target=_loaded, args=(beside,), daemon=True).start()


def _loaded(module: str) -> None:
    with suppress(ImportError):  # who needs it says so
        import_module(module)


def main() -> None:
    """A worker that was started as a program: calls come by stdin, answers go by stdout."""
    requests, answers = os.dup(0), os.dup(1)
    serve(requests, answers)
