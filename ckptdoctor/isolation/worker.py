"""The worker's side: takes a call, answers it, takes the next; ends when nobody asks any more."""

from __future__ import annotations

import os
import select
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from ckptdoctor.errors import CkptDoctorError
from ckptdoctor.isolation import limits, messages

IDLE = 60.0
"""Seconds that a worker waits for the next call."""

ALIVE, PROGRESS, DONE, RAISED, DEFECT = "alive", "progress", "done", "raised", "defect"


class Call(NamedTuple):
    """A function to be called.

    Attributes:
        function: Defined at the top level of a module.
        arguments: Its positional arguments.
        progress: Whether it takes `progress=`, which is told how many bytes of how many are done.
        limited: Whether memory and time are bounded.
        directory: The parent's working directory: paths are relative to it.
    """

    function: Callable[..., Any]
    arguments: tuple[object, ...]
    progress: bool
    limited: bool
    directory: str | None


def serve(requests: int, answers: int) -> None:
    """Answers calls until the parent closes its end, or asks for nothing for a while."""
    limits.confine()
    limits.beat_with(lambda: _beat(answers))
    while _asked(requests):
        try:
            call = Call(*messages.receive(requests, messages.trusted))
        except EOFError:
            return
        try:
            messages.send(answers, _answer(call, answers))
        except BrokenPipeError:
            return


def _asked(requests: int) -> bool:
    if sys.platform == "win32":  # select knows sockets only; the read waits
        return True
    return bool(select.select([requests], [], [], IDLE)[0])


def _beat(answers: int) -> None:
    limits.allow(limited=True)
    messages.send(answers, (ALIVE, None))


def _answer(call: Call, answers: int) -> tuple[str, object]:
    def progress(done: int, total: int) -> None:
        messages.send(answers, (PROGRESS, (done, total)))

    more = {"progress": progress} if call.progress else {}
    try:
        if call.directory is not None:
            os.chdir(call.directory)
        limits.allow(limited=call.limited)
        return DONE, call.function(*call.arguments, **more)
    except (CkptDoctorError, MemoryError, RecursionError) as error:
        return RAISED, error
    except BrokenPipeError:
        raise
    except OSError as error:
        return RAISED, error
    except Exception:  # noqa: BLE001 - what is none of these is a defect of ours, and the parent says so
        return DEFECT, traceback.format_exc()


def main() -> None:
    """A worker that was started as a program: calls come by stdin, answers go by stdout."""
    requests, answers = os.dup(0), os.dup(1)
    serve(requests, answers)
