"""Whether packages can be installed here: tests that make environments of their own need an index."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import cache

import pytest


@cache
def _problem() -> str:
    """Why ckptdoctor's build requirement cannot be fetched with pip, as it is configured here; empty if it can."""
    with tempfile.TemporaryDirectory() as folder:
        environment = f"{folder}/environment"
        made = subprocess.run([sys.executable, "-m", "venv", environment], capture_output=True, text=True, check=False)
        if made.returncode:
            return f"an environment cannot be made: {made.stdout.strip()}"
        fetched = subprocess.run(
            [f"{environment}/bin/python", "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "0",
             "--timeout", "20", "--dest", folder, "hatchling"],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        return fetched.stderr.strip()[-300:] if fetched.returncode else ""


def require_index() -> None:
    """Skips the test where no package can be installed."""
    problem = _problem()
    if problem:
        pytest.skip(f"needs a package index, and there is none here: {problem}")
