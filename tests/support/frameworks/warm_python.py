"""An interpreter that has frameworks imported already: it forks for each run.

    python warm_python.py serve SOCKET MODULE...  imports them, and answers until its standard input ends
    python -IS warm_python.py run SOCKET WORD...  as `python WORD...`, with these files, this folder and environment

A run is a process of its own, in the state that `import tensorflow` leaves, and ends as it would have ended: with its
exit code, or by its signal. No operation runs before the fork: the threads of TensorFlow, PyTorch and JAX start with
the first. What is set in the environment and matters while importing must be as it was there; otherwise `run` starts a
fresh interpreter.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

STARTING = {"JAX_": "jax", "KERAS_": "keras", "PYTHON": "sys", "TF_": "tensorflow", "XLA_": "jax"}
"""Beginnings of the names of variables that matter while Python and the frameworks start, and of which one."""
HARMLESS = {
    "PYTHONDONTWRITEBYTECODE", "PYTHONIOENCODING", "PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL",
    "TF_FORCE_GPU_ALLOW_GROWTH",  # without a GPU; importing Keras sets it in the process of the tests
}  # fmt: skip
USUAL = {"KERAS_BACKEND": "tensorflow", "JAX_PLATFORMS": "cpu"}
"""What not setting them comes to."""
BEAT = 0.01
"""Seconds between two looks at whether a run has ended."""


def setting() -> dict[str, str]:
    """What of the environment matters while starting."""
    starting = tuple(STARTING)
    kept = {name: value for name, value in os.environ.items() if name.startswith(starting) and name not in HARMLESS}
    return USUAL | kept


def was_read(name: str) -> bool:
    """Whether what was imported here has read a variable."""
    return any(name.startswith(each) and module in sys.modules for each, module in STARTING.items())


def search_path() -> list[str]:
    """The folders that the environment adds to where modules are looked for."""
    return [os.path.abspath(each) for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]


def run(path: str, words: list[str]) -> None:
    """Has a run done, and ends as it did."""
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(path)
        request = {"words": words, "folder": os.getcwd(), "environment": dict(os.environ), "setting": setting()}
        text = json.dumps(request).encode()
        socket.send_fds(server, [len(text).to_bytes(8, "little")], [0, 1, 2])
        server.sendall(text)
        answer = server.recv(64).decode()
    if answer == "fresh":
        os.execv(sys.executable, [sys.executable, *words])
    code = int(answer or 70)  # no answer: the server was killed
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in {signal.SIGKILL, signal.SIGSTOP} else None
        os.kill(os.getpid(), -code)
    sys.exit(code)


def serve(path: str, modules: list[str]) -> None:
    """Answers one run after the other; returns in the process of a run, and at the end."""
    import gc

    for each in modules:
        with suppress(ImportError):  # of a run that needs it, it is the failure
            importlib.import_module(each)
    gc.freeze()  # forks need not look through a million objects
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        asked = None
        while asked is None and sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            asked = _served(listener)
    if asked is not None:
        become(*asked)


def _served(listener: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Has a run done; answers None, but in the process of the run what it is asked."""
    client, _ = listener.accept()
    with client, suppress(BrokenPipeError, ValueError):  # who asked was killed meanwhile
        length, files, _, _ = socket.recv_fds(client, 8, 3)
        request: dict[str, Any] = json.loads(_received(client, int.from_bytes(length, "little")))
        different = request["setting"].items() ^ setting().items()
        pid = None if any(was_read(name) for name, _ in different) else _forked()
        if pid == 0:
            return request, files
        for each in files:  # while they are open here, who reads them waits for their end
            os.close(each)
        client.sendall(b"fresh" if pid is None else str(_ended(pid, client)).encode())
    return None


def _forked() -> int:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there are threads: numpy's, which know of forks
        return os.fork()


def _received(client: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length and (more := client.recv(length - len(found))):
        found += more
    return found


def _ended(pid: int, client: socket.socket) -> int:
    """Waits for a run, and kills it if nobody waits for it any more; answers its code, or minus its signal."""
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if select.select([client, sys.stdin], [], [], BEAT)[0]:  # neither ever has anything to say but its end
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return -signal.SIGKILL


def become(request: dict[str, Any], files: list[int]) -> None:
    """Makes this process what `python WORD...` would be at its start, and runs the code."""
    import types

    import numpy as np

    for number, each in enumerate(files):
        os.dup2(each, number)
        os.close(each)
    os.chdir(request["folder"])
    served = search_path()
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[1:] = [*search_path(), *(each for each in sys.path[1:] if each not in served)]
    np.random.seed()  # noqa: NPY002 - from the system, as in each fresh process
    first, *rest = request["words"]
    if first == "-c":
        code, sys.path[0], name = rest.pop(0), "", "<string>"
    else:
        sys.path[0], name = os.path.dirname(os.path.abspath(first)), first
        with open(first, encoding="utf-8") as file:
            code = file.read()
    sys.argv = [first, *rest]
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    if first != "-c":
        module.__file__ = first
    exec(compile(code, name, "exec", dont_inherit=True), module.__dict__)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], sys.argv[3:])
    else:
        run(sys.argv[2], sys.argv[3:])
