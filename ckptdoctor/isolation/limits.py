"""What a worker may use, and how it tells that it is not stuck."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

MEMORY = 4 << 30
"""Bytes of address space. What describes a million tensors takes a quarter of it; values are read in pieces."""
SILENT_CPU = 60
"""Seconds of processor time without a sign of life: libhdf5 is caught in a loop."""
SILENT_WALL = 300.0
"""Seconds without a sign of life: the disk or the network does not answer."""
_EVERY = 1.0

_beat: Callable[[], None] | None = None
_last = 0.0


def heartbeat() -> None:
    """Tells the parent, at most once a second, that reading goes on; does nothing outside a worker.

    Called wherever our own code has the floor between two calls of libhdf5.
    """
    global _last  # noqa: PLW0603 - one process, one heart
    if _beat is None:
        return
    now = time.monotonic()
    if now - _last >= _EVERY:
        _last = now
        _beat()


def beat_with(tell: Callable[[], None]) -> None:
    """Makes `heartbeat` call this; the worker does so once."""
    global _beat  # noqa: PLW0603 - one process, one heart
    _beat = tell


def is_worker() -> bool:
    """Whether this process is a worker."""
    return _beat is not None


def allow(*, limited: bool) -> None:
    """Sets what the coming call may use; calls that write results of any size are not limited."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _set_soft(resource.RLIMIT_AS, MEMORY if limited else None)
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    _set_soft(resource.RLIMIT_CPU, int(used) + SILENT_CPU + 1 if limited else None)


def _set_soft(which: int, wanted: int | None) -> None:
    import resource

    _, hard = resource.getrlimit(which)
    soft = hard if wanted is None else wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(which, (soft, hard))


def confine() -> None:
    """Once, when a worker starts: it leaves no core file, says nothing, and loads no plug-ins of HDF5.

    It has a session of its own, so that Ctrl-C reaches the parent alone, which then ends it.
    """
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
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # a thread pool would cost address space, and has nothing to do
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.setsid()


def die_with(parent: int) -> None:
    """Ends this process as soon as its parent ends, however that does (Linux; elsewhere the pipe's end tells)."""
    import ctypes

    PR_SET_PDEATHSIG, SIGKILL = 1, 9  # noqa: N806 - as prctl(2) calls them
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)
