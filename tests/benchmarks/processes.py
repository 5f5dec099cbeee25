"""Whole processes, measured: seconds from start to end, and the peak memory of the process alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent


class Run(NamedTuple):
    """One process: seconds from start to end, its peak megabytes, and the seconds that a processor worked for it.

    The last are what a busy machine lies least about.
    """

    seconds: float
    megabytes: float
    processor: float


class TookTooLong(Exception):
    """A process was ended because its time was over."""


def run(words: Sequence[str], *, within: float = 600, codes: Sequence[int] = (0,)) -> Run:
    """Runs a command to the end, its output thrown away.

    Args:
        words: The command.
        within: Seconds after which it is ended.
        codes: Exit codes that are well.

    Raises:
        SystemExit: It ended with another code.
        TookTooLong: It did not end.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    # Byte code is kept, as it is once a package is installed: what a shell says about it is left out.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    signal.signal(signal.SIGALRM, lambda *_: process.kill())
    signal.setitimer(signal.ITIMER_REAL, within)
    try:
        # wait4 tells the peak of this child alone; getrusage(RUSAGE_CHILDREN) that of the largest so far.
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode == -signal.SIGKILL and seconds >= within:
        raise TookTooLong
    if process.returncode not in codes:
        raise SystemExit(f"{list(words)[:6]} failed with {process.returncode}")
    peak = usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20)
    return Run(seconds, peak, usage.ru_utime + usage.ru_stime)


def made(script: str, *words: str) -> str:
    """What a script beside this one prints: inputs are made in a process of their own.

    A child's peak begins with its parent's, which must therefore be small.
    """
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(script)), *words],
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    return done.stdout.strip()


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as Markdown, the first one as the head."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    widths = [max(len(cells[column]) for cells in lines) for column in range(len(rows[0]))]
    return "".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |\n"
        for cells in lines
    )
