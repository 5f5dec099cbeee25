"""The command line in a process of its own, as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


class Result(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def children() -> set[int]:
    """Processes that this one has started and that have not ended, the tests' frameworks among them."""
    place = f"/proc/self/task/{os.getpid()}/children"
    if not os.path.exists(place):
        pytest.skip("only Linux tells")
    with open(place, encoding="ascii") as file:
        return {int(each) for each in file.read().split()}


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would change how output looks."""
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS", "FORCE_COLOR"}}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def python(
    *arguments: str, cwd: str | os.PathLike[str] | None = None, stdin: str | None = None, **variables: str
) -> Result:
    """Runs this interpreter."""
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environment(**variables),
        encoding="utf-8",
        timeout=120,
        input=stdin,
    )
    return Result(done.returncode, done.stdout, done.stderr)


def ckptdoctor(
    *arguments: str | os.PathLike[str],
    cwd: str | os.PathLike[str] | None = None,
    stdin: str | None = None,
    **variables: str,
) -> Result:
    """Runs `python -m ckptdoctor`."""
    return python("-m", "ckptdoctor", *[os.fspath(each) for each in arguments], cwd=cwd, stdin=stdin, **variables)
