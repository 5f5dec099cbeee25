"""The child process: started, given its request, waited for, and its answer fetched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ckptdoctor.errors import UsageProblem

TIMEOUT = 600.0
INSTALL = 'pip install "ckptdoctor[tensorflow]"'
_OF_JAX = 'pip install "ckptdoctor[jax]"'
_JAX = frozenset({"orbax", "flax"})
_OF_TORCH = frozenset({"torch", "lightning", "transformers", "accelerate"})
_SAID = 400

# The interpreter may be another one, without ckptdoctor: the child's package is put under its name, and nothing of
# this environment onto the child's path.
_BOOTSTRAP = """
import runpy, sys, types
for name, folder in {packages!r}:
    package = types.ModuleType(name)
    package.__path__ = [folder]
    sys.modules[name] = package
runpy.run_module("ckptdoctor.verification.child", run_name="__main__")
"""


class ChildFailed(Exception):
    """The framework's process ended without an answer; its text says how."""


@contextmanager
def workspace() -> Iterator[str]:
    """A folder for what parent and child exchange."""
    with tempfile.TemporaryDirectory(prefix="ckptdoctor-verify-") as folder:
        yield folder


def ask(request: Mapping[str, Any], folder: str, *, python: str | None, timeout: float) -> dict[str, Any]:
    """Runs the child on a request and returns its answer.

    Raises:
        UsageProblem: The interpreter cannot be run, or it has no framework.
        ChildFailed: The process crashed or took too long.
    """
    interpreter = python or sys.executable
    answer = os.path.join(folder, "reply.json")
    if os.path.exists(answer):
        os.unlink(answer)
    here = os.path.dirname(os.path.abspath(__file__))
    packages = [("ckptdoctor", os.path.dirname(here)), ("ckptdoctor.verification", here)]
    command = [interpreter, "-c", _BOOTSTRAP.format(packages=packages)]
    try:
        done = subprocess.run(  # noqa: S603 - the interpreter is the user's own choice
            command,
            input=json.dumps(request).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=_environment(),
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ChildFailed(f"the framework did not answer within {timeout:g} s (--timeout)") from error
    except OSError as error:
        raise UsageProblem(f"the interpreter {interpreter} cannot be run: {error.strerror}") from error
    try:
        with open(answer, encoding="utf-8") as file:
            reply: dict[str, Any] = json.load(file)
    except (OSError, ValueError) as error:
        raise ChildFailed(_ending(done)) from error
    if "missing" in reply:
        raise UsageProblem(_missing(str(reply["missing"]), python))
    return reply


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    environment.update(
        TF_CPP_MIN_LOG_LEVEL="3",
        CUDA_VISIBLE_DEVICES="-1",
        JAX_PLATFORMS="cpu",
        PYTHONIOENCODING="utf-8",
        PYTHONDONTWRITEBYTECODE="1",
    )
    return environment


def _missing(module: str, python: str | None) -> str:
    where = f" for {python}" if python else ""
    command = f"pip install {module}" if module in _OF_TORCH else _OF_JAX if module in _JAX else INSTALL
    return f"verify needs {module}, which is not installed{where}: {command}"


def _ending(done: subprocess.CompletedProcess[bytes]) -> str:
    said = [line.strip() for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    last = f": {said[-1][:_SAID]}" if said else ""
    if done.returncode < 0:
        return f"the framework's process was ended by signal {-done.returncode}{last}"
    return f"the framework's process ended with code {done.returncode} and without an answer{last}"
