"""Runs commands on a hostile artifact, each in a process of its own, and tells what they did.

    python child.py [preload] < requests > reports

An audit hook, which forks inherit, watches what Python does; inotify watches what the C libraries do. The report of
each command is its exit code, its output, its processor time, its peak memory, and every act that nobody asked for.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import pkgutil
import signal
import struct
import sys
import sysconfig
import time
from typing import Any

PATIENCE = 90.0
STUCK_CPU = 2
"""Seconds of processor time until a loop in HDF5 is ended: it is no less endless than after the usual ones."""
_IN_ACCESS, _IN_OPEN, _IN_NONBLOCK = 0x1, 0x20, 0o4000
_FORBIDDEN_MODULES = {"tensorflow", "keras", "tf_keras", "torch", "jax", "theano"}
_OWN_CODE = ("<frozen", "<string>", "<__array_function__", "<attrs", "<template>")


class Watch:
    """The kernel's word on whether files below a folder were opened."""

    def __init__(self, folder: str) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._queue = self._libc.inotify_init1(_IN_NONBLOCK)
        for each in [base for base, _, _ in os.walk(folder)]:
            if self._libc.inotify_add_watch(self._queue, os.fsencode(each), _IN_ACCESS | _IN_OPEN) < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def close(self) -> None:
        """Ends watching."""
        os.close(self._queue)

    def opened(self) -> list[str]:
        """Names that were opened since the last time."""
        try:
            data = os.read(self._queue, 1 << 16)
        except BlockingIOError:
            return []
        names, at = [], 0
        while at < len(data):
            _, _, _, length = struct.unpack_from("iIII", data, at)
            names.append(data[at + 16 : at + 16 + length].rstrip(b"\0").decode() or "the folder")
            at += 16 + length
        return names


class Hook:
    """Judges what Python does; what is not allowed goes into a file that forks share."""

    def __init__(self, log: int) -> None:
        paths = sysconfig.get_paths()
        here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        libraries = {paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], sys.base_prefix}
        self.code = tuple({os.path.realpath(each) + os.sep for each in (*libraries, os.path.join(here, "ckptdoctor"))})
        self.log = log
        self.own: tuple[str, ...] = ()
        self.marker = ""
        self.is_busy = False

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Called for every audited act."""
        if self.is_busy:
            return
        self.is_busy = True
        try:
            if not self.is_allowed(event, arguments):
                os.write(self.log, f"{event} {arguments!r:.300}\n".encode())
        finally:
            self.is_busy = False

    def is_allowed(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Whether an act is one that reading, or writing OUT, takes."""
        family = event.partition(".")[0]
        if event == "open":
            return isinstance(arguments[0], int) or self._may_open(os.fsdecode(arguments[0]))
        if event == "subprocess.Popen":  # h5py asks for the kind of machine when it is imported
            return bool(arguments[1] == ["uname", "-p"])
        if event in {"compile", "exec", "marshal.loads"}:  # imports load byte code by the latter
            return self._is_code(*arguments[:2])
        if event == "import":
            return arguments[0].partition(".")[0] not in _FORBIDDEN_MODULES
        if event == "pickle.find_class":  # the worker, of what its parent asks
            return str(arguments[0]).startswith("ckptdoctor.")
        if event in {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.putenv", "os.startfile", "os.kill"}:
            return event in {"os.kill", "os.putenv"}
        return family not in {"socket", "webbrowser", "urllib", "ftplib", "smtplib", "http"}

    def _may_open(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real.startswith((*self.own, *self.code)) or real in {"/dev/null", "/etc/localtime"}

    def _is_code(self, code: Any, name: Any = None) -> bool:
        """Whether code is a library's or our own: not text with the payload in it, not code from nowhere."""
        if isinstance(code, (bytes, str)):
            text = code if isinstance(code, str) else code.decode("latin-1")
            return self.marker not in text
        place = str(getattr(code, "co_filename", name))
        return place.startswith((*_OWN_CODE, *self.code)) or place == os.path.abspath(__file__)


def run(arguments: list[str], folder: str) -> tuple[int, float, float, float, str, str]:
    """Runs one command; answers code, seconds, processor seconds, peak megabytes, and what it said."""
    texts = [os.path.join(folder, name) for name in ("stdout", "stderr")]
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            for number, path in enumerate(texts, 1):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
            from ckptdoctor.cli import main

            sys.argv = ["ckptdoctor", *arguments]
            main()
        except BaseException:  # noqa: BLE001 - whatever it is, it ends here
            import traceback

            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(99)
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            break
        if time.monotonic() - started > PATIENCE:
            os.killpg(pid, signal.SIGKILL)
        time.sleep(0.002)
    said = []
    for path in texts:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            said.append(file.read())
    seconds = time.monotonic() - started
    cpu = usage.ru_utime + usage.ru_stime
    return os.waitstatus_to_exitcode(status), seconds, cpu, usage.ru_maxrss / 1024, said[0], said[1]


def preload() -> None:
    """Imports all of ckptdoctor, and what it takes: forks need not do it again. No file was opened by any of it yet."""
    import ckptdoctor

    for module in pkgutil.walk_packages(ckptdoctor.__path__, "ckptdoctor."):
        if not module.name.startswith(("ckptdoctor.guard.", "ckptdoctor.verification", "ckptdoctor.__main__")):
            importlib.import_module(module.name)


def answer(request: dict[str, Any], hook: Hook) -> list[dict[str, Any]]:
    """Runs the commands of a request, which says what they may open."""
    watch = Watch(request["secret"])
    os.chdir(request["directory"])
    os.environ["HDF5_PLUGIN_PATH"] = request["plugins"]
    hook.own = tuple(os.path.realpath(each) for each in (*request["own"], request["scratch"]))
    hook.marker = request["marker"]
    reports = []
    for arguments in request["commands"]:
        code, seconds, cpu, megabytes, out, err = run(arguments, request["scratch"])
        violations = os.pread(hook.log, 1 << 20, 0).decode("utf-8", "replace").splitlines()
        os.ftruncate(hook.log, 0)
        os.lseek(hook.log, 0, os.SEEK_SET)
        reports.append(
            {
                "code": code, "seconds": seconds, "cpu": cpu, "megabytes": megabytes, "out": out, "err": err,
                "violations": violations, "secrets": watch.opened(),
            }
        )  # fmt: skip
    watch.close()
    return reports


def main() -> None:
    """Answers one request a line, until there are no more."""
    import ckptdoctor.cli  # noqa: F401 - once for all commands
    from ckptdoctor.isolation import limits

    limits.STUCK_CPU = STUCK_CPU
    if "preload" in sys.argv[1:]:
        preload()
    hook = Hook(os.memfd_create("violations", 0))
    sys.addaudithook(hook)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line), hook)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
