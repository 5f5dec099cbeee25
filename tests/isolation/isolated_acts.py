"""What test_isolation.py has a worker do."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ckptdoctor.errors import LimitExceeded, UsageProblem
from ckptdoctor.isolation import limits

if "CKPTDOCTOR_TEST_STUCK" in os.environ:
    limits.STUCK_CPU = int(os.environ["CKPTDOCTOR_TEST_STUCK"])


def repeat(value: Any) -> Any:
    """Answers what it was given."""
    return value


def refuse() -> None:
    """Raises an error with everything that errors carry."""
    raise LimitExceeded("too much", "f", place="m", code="X004")


def misuse() -> None:
    """Raises another kind of error."""
    raise UsageProblem("no such thing", "f")


def fill() -> None:
    """Raises what a full disk does."""
    raise OSError(errno.ENOSPC, "No space left on device")


def divide() -> float:
    """Raises what nobody foresaw."""
    return 1 / 0


def die(number: int) -> None:
    """Dies of a signal."""
    os.kill(os.getpid(), number)
    time.sleep(10)


def crash(*_: object, **__: object) -> None:
    """Dies as libhdf5 does."""
    die(signal.SIGSEGV)


def leave(code: int) -> None:
    """Ends without an answer."""
    os._exit(code)


def nest(depth: int) -> Any:
    """Answers lists in lists."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def number() -> int:
    """The worker's process id."""
    return os.getpid()


def number_of_parent() -> int:
    """Its parent's."""
    return os.getppid()


def advance(count: int, *, progress: Callable[[int, int], None]) -> int:
    """Tells its progress from two threads."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: progress(each, count), range(count)))
    return count


def advance_later() -> Callable[[], None]:
    """Answers a function, which is no data."""
    return lambda: None


def allocate(count: int) -> int:
    """Asks for memory."""
    return len(bytearray(count))


def work(seconds: float) -> str:
    """Takes its time, in Python."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        sum(range(1000))
    return "done"


def loop_in_c() -> int:
    """Takes for ever in C, which looks for no signals: as libhdf5 does on some files."""
    return sum(itertools.repeat(1, 10**12))


def die_of_three(number: int) -> int:
    """Answers what it was given, and dies of 3."""
    if number == 3:
        os._exit(1)
    return number
