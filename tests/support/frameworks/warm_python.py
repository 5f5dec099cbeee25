"""An interpreter that has frameworks imported already: it forks for each run.

    python warm_python.py serve SOCKET MODULE...  imports them, and answers while somebody holds it: is connected and
                                                  has sent eight zero bytes, which are answered by one
    python -IS warm_python.py run SOCKET WORD...  as `python WORD...`, with these files, this folder and environment

A run is a process of its own, in the state that `import tensorflow` leaves, and ends as it would have ended: with its
exit code, or by its signal. No operation runs before the fork: the threads of TensorFlow, PyTorch and JAX start with
the first. What is set in the environment and matters while importing must be as it was there; otherwise `run` starts a
fresh interpreter.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import Any, NoReturn, TypeAlias

STARTING = {"JAX_": "jax", "KERAS_": "keras", "PYTHON": "sys", "TF_": "tensorflow", "XLA_": "jax"}
"""Beginnings of the names of variables that matter while Python and the frameworks start, and of which one."""
HARMLESS = {
    "PYTHONBREAKPOINT", "PYTHONDONTWRITEBYTECODE", "PYTHONIOENCODING", "PYTHONPATH", "TF_CPP_MIN_LOG_LEVEL",
    "TF_FORCE_GPU_ALLOW_GROWTH",  # without a GPU; importing Keras sets it in the process of the tests
}  # fmt: skip
USUAL = {"KERAS_BACKEND": "tensorflow", "JAX_PLATFORMS": "cpu"}
"""What not setting them comes to."""
PATIENCE = 60
"""Seconds that a server waits for somebody who holds it."""
Asked: TypeAlias = "tuple[dict[str, Any], list[int]]"
"""The request of a run, and its standard streams."""


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
    """Answers as long as somebody holds it; returns in the process of a run, and at the end."""
    import gc

    for each in modules:
        with suppress(ImportError):  # of a run that needs it, it is the failure
            importlib.import_module(each)
    gc.freeze()  # forks need not look through a million objects
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.new")
        listener.listen()
        os.rename(f"{path}.new", path)  # who finds it may connect
        asked = _served(listener)
    if asked is not None:
        become(*asked)


def _served(listener: socket.socket) -> Asked | None:
    """Has runs done, side by side; answers None, but in the process of a run what it is asked."""
    holders = 0
    runs: dict[int, tuple[int, socket.socket]] = {}  # a process: the file that tells its end, who waits for it
    with selectors.DefaultSelector() as watched:
        watched.register(listener, selectors.EVENT_READ)
        while ready := watched.select(None if holders else PATIENCE):
            for key, _ in ready:
                if key.fileobj is listener:
                    client, _ = listener.accept()
                    asked = _asked(client)
                    if asked is None:
                        watched.register(client, selectors.EVENT_READ)
                        holders += 1
                        with suppress(OSError):
                            client.sendall(b"!")
                        continue
                    pid = _forked(asked[0]["setting"])
                    if pid == 0:
                        return asked
                    for each in asked[1]:  # while they are open here, who reads them waits for their end
                        os.close(each)
                    if pid is None:
                        _tell(client, "fresh")
                        continue
                    runs[pid] = os.pidfd_open(pid), client
                    for file in runs[pid]:
                        watched.register(file, selectors.EVENT_READ, pid)
                elif key.data is None:  # a holder: it never has anything to say but its end
                    watched.unregister(key.fileobj)
                    holders -= 1
                    if not holders:
                        return None
                elif key.data in runs:
                    pid = key.data
                    process, client = runs.pop(pid)
                    for file in (process, client):
                        watched.unregister(file)
                    if key.fileobj is client:  # who waited was killed, and nobody waits any more
                        os.kill(pid, signal.SIGKILL)
                    os.close(process)
                    _tell(client, str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
    return None


def _asked(client: socket.socket) -> Asked | None:
    """What a connection asks for, and its standard streams; None if it holds the server."""
    with suppress(ConnectionError, ValueError):  # who asked was killed meanwhile
        length, files, _, _ = socket.recv_fds(client, 8, 3)
        if size := int.from_bytes(length, "little"):
            return json.loads(_received(client, size)), files
    return None


def _received(client: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length and (more := client.recv(length - len(found))):
        found += more
    return found


def _tell(client: socket.socket, answer: str) -> None:
    with client, suppress(BrokenPipeError):  # who asked was killed meanwhile
        client.sendall(answer.encode())


def _forked(asked: dict[str, str]) -> int | None:
    """The process of a run: 0 in itself, None where what was imported here was imported otherwise."""
    import warnings

    if any(was_read(name) for name, _ in asked.items() ^ setting().items()):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there are threads: numpy's, which know of forks
        return os.fork()


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
    status = 0
    try:
        exec(compile(code, name, "exec", dont_inherit=True), module.__dict__)
    except SystemExit as end:
        status = _status(end.code)
    except BaseException:  # noqa: BLE001 - said, as Python does
        sys.excepthook(*sys.exc_info())
        status = 1
    leave(status)


def _status(code: object) -> int:
    """What a process ends with that calls `sys.exit(code)`."""
    if code is None or isinstance(code, int):
        return int(code or 0) & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def leave(status: int) -> NoReturn:
    """Ends as Python does, but takes nothing apart: that would copy each page of the frameworks, for 0.4 s."""
    threading._shutdown()  # type: ignore[attr-defined] # waits for its threads
    atexit._run_exitfuncs()
    for each in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            each.flush()
    os._exit(status)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], sys.argv[3:])
    else:
        run(sys.argv[2], sys.argv[3:])
