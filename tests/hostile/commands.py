"""Commands on hostile artifacts, run by child.py: one process that imports everything once, and forks for each."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hostile.cases import MARKER, Place
from support.commands import environment

_CHILD = Path(__file__).with_name("child.py")
_running: list[subprocess.Popen[str]] = []


def run_commands(
    commands: list[list[str]], place: Place, scratch: Path, own: list[str], *, fresh: bool = False
) -> list[dict[str, Any]]:
    """Runs commands one after the other; answers what each did.

    Args:
        commands: Arguments of `ckptdoctor`.
        place: Where the artifact lies; the working directory.
        scratch: A folder for what they say and write.
        own: What they may open.
        fresh: They import everything themselves.
    """
    request = {
        "own": own,
        "secret": str(place.secret),
        "scratch": str(scratch),
        "directory": str(place.own),
        "plugins": str(place.secret / "plugins"),
        "marker": MARKER,
        "commands": commands,
    }
    child = _start(preload=False) if fresh else _shared()
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(json.dumps(request) + "\n")
    child.stdin.flush()
    answer = child.stdout.readline()
    assert answer, "the child ended"
    if fresh:
        _end(child)
    runs: list[dict[str, Any]] = json.loads(answer)
    return runs


def _shared() -> subprocess.Popen[str]:
    if not _running:
        _running.append(_start(preload=True))
    return _running[0]


def _start(*, preload: bool) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, os.fspath(_CHILD), *(["preload"] if preload else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment(OPENBLAS_NUM_THREADS="1"),
    )


@atexit.register
def _end_all() -> None:
    while _running:
        _end(_running.pop())


def _end(child: subprocess.Popen[str]) -> None:
    child.communicate(timeout=60)
