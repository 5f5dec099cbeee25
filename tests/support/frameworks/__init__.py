"""The frameworks in processes of their own: today's beside the tests, and old ones in environments of theirs."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.verification import Verification, verify

ROOT = Path(__file__).resolve().parents[3]
CHILDREN = ROOT / "tests" / "real" / "children"
MAKE = ROOT / "fixtures" / "make" / "make.py"
SETTINGS = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "adam": ("Adam", {"learning_rate": 0.02, "beta_1": 0.8}),
    "amsgrad": ("Adam", {"learning_rate": 0.02, "amsgrad": True}),
    "momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "nesterov": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
    "rmsprop_all": ("RMSprop", {"learning_rate": 0.01, "momentum": 0.5, "centered": True}),
    "adagrad": ("Adagrad", {"learning_rate": 0.1}),
    "adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "adamax": ("Adamax", {"learning_rate": 0.02}),
    "ftrl": ("Ftrl", {"learning_rate": 0.1}),
}
"""Name → optimizer class and options: those that every generation since OptimizerV2 has."""
NOT_THEIRS = ("PYTHONPATH", "PYTHONHOME", "TF_USE_LEGACY_KERAS", "XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")
"""What is meant for the interpreter of the tests only."""


MODULES = {
    "tensorflow": ("tensorflow",),  # which imports Keras 3 too
    "jax": ("jax", "flax", "optax", "orbax.checkpoint", "keras"),
    "torch": ("torch", "torch._dynamo", "torch.distributed.checkpoint"),  # its optimizers import the second
}
"""Keras' backend → what is imported of it before the runs."""


SHARED = "CKPTDOCTOR_TESTS_FOLDER"
"""The variable that names a folder of this run of the tests, which all its workers share."""


def needs(*packages: str) -> None:
    """Skips the tests that follow where one is not installed, without the seconds that importing it takes."""
    for each in packages:
        if importlib.util.find_spec(each) is None:
            pytest.skip(f"{each} is not installed", allow_module_level=True)


def some_or_every(some: Sequence[str], every: Sequence[str]) -> list[Any]:
    """Parameters: the names that the ordinary run has, and those of `nightly`."""
    nightly = pytest.param((*every,), id="every one", marks=pytest.mark.nightly)
    return [pytest.param((*some,), id="some"), nightly]


@cache
def warm_python(backend: str = "tensorflow") -> str:
    """The interpreter of the tests with frameworks imported already, which spares each run the seconds.

    Workers of pytest-xdist share it.

    Args:
        backend: Of MODULES; the runs have it as their KERAS_BACKEND.
    """
    if sys.platform != "linux":  # elsewhere libraries do not bear forks
        return sys.executable
    import fcntl

    folder = Path(os.environ[SHARED], backend)
    folder.mkdir(exist_ok=True)
    program, address, command = Path(__file__).with_name("warm_python.py"), folder / "socket", folder / "python"
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_held(address):
            address.unlink(missing_ok=True)  # of one that has ended
            errors = folder / "errors"
            with errors.open("wb") as file:
                server = subprocess.Popen(
                    [sys.executable, str(program), "serve", str(address), *MODULES[backend]],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=file,
                    env={**os.environ, **SETTINGS, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"},
                )
            atexit.register(server.wait)  # it ends with the last worker
            while not _is_held(address):
                assert server.poll() is None, errors.read_text(errors="replace")[-4000:]
                time.sleep(0.05)
            words = shlex.join([sys.executable, "-IS", str(program), "run", str(address)])
            command.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
            command.chmod(0o700)
    return str(command)


def _is_held(address: Path) -> bool:
    """Holds a server from now on, if it answers."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(address))
        connection.sendall(bytes(8))
        held = connection.recv(1) != b""
    except OSError:
        held = False
    if held:
        atexit.register(connection.close)
    else:  # it is ending
        connection.close()
    return held


def verified(path: str | os.PathLike[str], backend: str = "torch", **options: Any) -> Verification:
    """What `verify` finds by an interpreter that has imported the framework already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", backend)
        return verify(path, python=warm_python(backend), **options)


def run(
    *words: object, given: str = "", python: str = sys.executable, settings: Mapping[str, str] | None = None
) -> list[str]:
    """Runs `python WORD...` beside a framework, which must end well; answers the lines of its output."""
    is_ours = python == sys.executable
    hidden = () if is_ours else NOT_THEIRS
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {**SETTINGS, **(settings or {})}
    done = subprocess.run(
        [warm_python(environment["KERAS_BACKEND"]) if is_ours else python, *map(str, words)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, f"it ended with {done.returncode}: {done.stderr[-4000:]}"
    return done.stdout.splitlines()


def child(
    script: str,
    *arguments: object,
    given: object = None,
    python: str = sys.executable,
    settings: Mapping[str, str] | None = None,
) -> Any:
    """Runs a script of tests/real/children, `given` as JSON on its input; answers the JSON of its last line, if any."""
    lines = run(CHILDREN / script, *arguments, given=json.dumps(given), python=python, settings=settings)
    return json.loads(lines[-1]) if lines else {}


def made_environment(folder: Path, name: str) -> str:
    """Makes an environment of fixtures/make/versions.py, unless it is there; answers its interpreter."""
    command = [sys.executable, str(MAKE), "--envs", str(folder), "build", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return str(folder / name / "bin" / "python")
