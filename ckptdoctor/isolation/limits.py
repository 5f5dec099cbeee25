"""What a worker may use, and how it is told from one that is stuck."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress

MEMORY = 4 << 30
"""Bytes of address space. What describes a million tensors takes a quarter of it; values are read in pieces."""
STUCK_CPU = 10
"""Seconds of processor time within one call of libhdf5 after which it is caught in a loop: calls take milliseconds."""
STUCK_WALL = 300.0
"""Seconds within one call of libhdf5 after which the disk or the network is taken for dead."""
_TICK = 1.0

_is_worker = False


def is_worker() -> bool:
    """Whether this process is a worker."""
    return _is_worker


def confine() -> None:
    """Once, when a worker starts: it leaves no core file, says nothing, and loads no plug-ins of HDF5.

    It has a session of its own, so that Ctrl-C reaches the parent alone, which then ends it.
    """
    global _is_worker  # noqa: PLW0603 - said once
    _is_worker = True
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # of a damaged heap the C library would write to stderr
        os.dup2(nothing, descriptor)
    os.close(nothing)
    faulthandler = sys.modules.get("faulthandler")
    if faulthandler is not None:
        faulthandler.disable()
    # A file can name a filter to be loaded from here, for its groups' own structure too; "::" turns plug-ins off.
    os.environ.pop("HDF5_PLUGIN_PATH", None)
    os.environ["HDF5_PLUGIN_PRELOAD"] = "::"
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a pool of threads costs address space, and has nothing to do
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.setsid()


def die_with(parent: int) -> None:
    """Ends this process as soon as its parent ends, however that does (Linux; elsewhere the pipe's end tells)."""
    PR_SET_PDEATHSIG, SIGKILL = 1, 9  # noqa: N806 - as prctl(2) calls them
    with suppress(ImportError, OSError, AttributeError):  # without it, the pipe's end tells
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def begin(alive: Callable[[], None], *, limited: bool) -> None:
    """Before a call: bounds memory, and the time that the C library may keep the floor.

    A timer rings every second, and Python hears it between two calls of libhdf5 only. As long as it does, the allowance
    of processor time is renewed and the parent hears that reading goes on; from within an endless loop in the library
    neither happens, and the kernel ends the process. Large files may so take as long as they need.

    Args:
        alive: Tells the parent.
        limited: False for calls that write results of any size.
    """
    if sys.platform == "win32":
        return
    import resource
    import signal

    _set_soft(resource.RLIMIT_AS, MEMORY if limited else None)
    if not limited:
        _set_soft(resource.RLIMIT_CPU, None)
        return

    def tick(*_: object) -> None:
        _renew()
        alive()

    _renew()
    signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)


def finish() -> None:
    """After a call: nothing rings any more."""
    if sys.platform != "win32":
        import signal

        signal.setitimer(signal.ITIMER_REAL, 0)


def _renew() -> None:
    import resource

    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    _set_soft(resource.RLIMIT_CPU, int(used) + 1 + STUCK_CPU)


def _set_soft(which: int, wanted: int | None) -> None:
    import resource

    _, hard = resource.getrlimit(which)
    soft = hard if wanted is None else wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(ValueError, OSError):  # macOS refuses some that it does not enforce
        resource.setrlimit(which, (soft, hard))
