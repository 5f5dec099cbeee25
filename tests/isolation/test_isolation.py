"""The worker process: what it answers, how it dies, and that nothing else dies with it."""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import ROOT, ckptdoctor, environment, python

import ckptdoctor as api
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact, UsageProblem
from ckptdoctor.isolation import client, limits, messages
from ckptdoctor.isolation.client import Crashed, isolated
from ckptdoctor.state import Oddity, Status, TrainingState

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The worker imports this file too: its functions are what it is asked to call."""
    monkeypatch.syspath_prepend(HERE)
    client.stop()
    yield
    client.stop()


def _here(name: str) -> Any:
    """A function of this file as the worker can import it, whatever pytest calls the module."""
    import importlib

    return getattr(importlib.import_module("isolated_acts"), name)


def test_it_answers() -> None:
    """Values, frozen data and errors come back as they are."""
    assert isolated(_here("repeat"), {"a": (1, 2.5, None, True)}, path="p") == {"a": (1, 2.5, None, True)}
    oddity = Oddity("I007", "x")
    assert isolated(_here("repeat"), (oddity, Status.PARTIAL), path="p") == (oddity, Status.PARTIAL)


@pytest.mark.parametrize(("module", "beside"), [("json", "csv"), ("no_such_module", "csv"), ("json", "no_such_module")])
def test_it_is_started_before_it_is_asked(module: str, beside: str) -> None:
    """What it is to load first, it loads once it runs; a failure of that is nobody's answer."""
    client.begun(module, beside=beside)
    first = isolated(_here("number"), path="p")
    client.begun(module, beside=beside)
    assert [isolated(_here("repeat"), each, path="p") for each in range(3)] == [0, 1, 2]
    assert isolated(_here("number"), path="p") == first


def test_errors_come_back() -> None:
    """Errors of this package keep their class, their place and their code; those of the system their number."""
    with pytest.raises(LimitExceeded, match="m: too much") as caught:
        isolated(_here("refuse"), path="p")
    assert (caught.value.path, caught.value.place, caught.value.code) == ("f", "m", "X004")
    with pytest.raises(UsageProblem):
        isolated(_here("misuse"), path="p")
    with pytest.raises(OSError, match="No space") as full:
        isolated(_here("fill"), path="p")
    assert full.value.errno == errno.ENOSPC


def test_a_defect_is_told() -> None:
    """An error that nobody foresaw arrives with its traceback: it is a defect."""
    with pytest.raises(RuntimeError, match=r"(?s)defect of ckptdoctor.*ZeroDivisionError"):
        isolated(_here("divide"), path="p")


def test_answers_that_cannot_be_sent() -> None:
    """An answer that is nested too deep, or that is no data, is an error; the worker goes on."""
    with pytest.raises(RecursionError):
        isolated(_here("nest"), 100_000, path="p")
    with pytest.raises(RuntimeError, match="defect"):
        isolated(_here("advance_later"), path="p")
    assert isolated(_here("repeat"), 7, path="p") == 7


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (signal.SIGSEGV, r"crashed on it \(SIGSEGV\)"),
        (signal.SIGABRT, r"crashed on it \(SIGABRT\)"),
        (signal.SIGBUS, r"crashed on it \(SIGBUS\)"),
        (signal.SIGKILL, "was killed"),
        (signal.SIGXCPU, "caught in a loop"),
    ],
)
def test_a_death_is_an_error(number: int, sentence: str) -> None:
    """A worker that dies costs the call; the next one gets a new worker."""
    with pytest.raises(Crashed, match=sentence) as caught:
        isolated(_here("die"), number, path="x.h5")
    assert caught.value.path == "x.h5"
    assert isolated(_here("repeat"), 7, path="p") == 7


def test_an_end_without_an_answer() -> None:
    """A worker that just ends is told too."""
    with pytest.raises(Crashed, match=r"code 3"):
        isolated(_here("leave"), 3, path="p")


def test_one_worker_serves() -> None:
    """Calls go to one process, as long as it lives."""
    first = isolated(_here("number"), path="p")
    assert first not in {os.getpid(), isolated(_here("number_of_parent"), path="p")}
    assert isolated(_here("number"), path="p") == first


def test_an_idle_end_is_no_crash() -> None:
    """A worker that ended because nobody asked is replaced silently."""
    first = isolated(_here("number"), path="p")
    os.kill(first, signal.SIGTERM)
    time.sleep(0.2)
    assert isolated(_here("number"), path="p") != first


def test_progress() -> None:
    """Progress arrives while the call runs, from threads too."""
    told: list[tuple[int, int]] = []
    assert isolated(_here("advance"), 50, path="p", progress=lambda *each: told.append(each)) == 50
    assert sorted(told) == [(number, 50) for number in range(50)]


def test_an_interrupt_ends_the_call() -> None:
    """What interrupts the wait ends the worker: its late answer is not taken for the next call's."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        isolated(_here("advance"), 50, path="p", progress=interrupt)
    assert isolated(_here("repeat"), "next", path="p") == "next"


def test_memory_is_bounded() -> None:
    """What asks for more than a worker may have gets MemoryError; writing is not bounded."""
    with pytest.raises(MemoryError):
        isolated(_here("allocate"), limits.MEMORY, path="p")
    assert isolated(_here("allocate"), 1 << 20, path="p") == 1 << 20


def test_a_loop_in_c_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that never returns is ended by the kernel; Python that takes its time is not."""
    # Three ticks of the timer: a machine that stalls for one of them must not end what is well.
    monkeypatch.setattr(limits, "STUCK_CPU", 3)
    monkeypatch.setenv("CKPTDOCTOR_TEST_STUCK", "3")
    assert isolated(_here("work"), 4.5, path="p") == "done"
    with pytest.raises(Crashed, match="caught in a loop"):
        isolated(_here("loop_in_c"), path="p")


def test_threads_may_ask() -> None:
    """Calls from several threads are served one after another."""
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda each=each: answers.append(isolated(_here("repeat"), each, path="p")))
        for each in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(answers) == list(range(8))


def test_a_fork_starts_its_own() -> None:
    """A process forked from ours does not talk to our worker."""
    ours = isolated(_here("number"), path="p")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.write(writing, str(isolated(_here("number"), path="p")).encode())
            client.stop()
            code = 0
        os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert int(os.read(reading, 99)) != ours
    assert isolated(_here("number"), path="p") == ours
    os.close(reading)
    os.close(writing)


# ---------------------------------------------------------------------------------------------- what is believed of it


class _Acts:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("echo owned",)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(_Acts()),
        pickle.dumps(os.system),
        pickle.dumps(Path("x")),
        pickle.dumps(client.isolated),
        b"cckptdoctor.isolation.client\nsubprocess\n.",
        b"cckptdoctor.isolation.client\nstop\n(tR.",
        b"cbuiltins\neval\n.",
        b"garbage",
        b"",
    ],
)
def test_answers_are_data(data: bytes) -> None:
    """A worker that was taken over cannot have anything called: only data types of this package are built."""
    with pytest.raises(messages.Garbled):
        messages.distrusted(data)


def test_a_huge_answer_is_not_read() -> None:
    """The length of a message is checked before anything is allocated."""
    reading, writing = os.pipe()
    os.write(writing, b"\xff" * 8)
    with pytest.raises(messages.Garbled, match="bytes"):
        messages.receive(reading, messages.distrusted)
    os.close(reading)
    os.close(writing)


def test_states_are_data(fixtures_dir: Path) -> None:
    """What readers answer survives the way, equal."""
    for name in ("whole-model.h5", "keras3.keras", "optimizer.pkl", "savedmodel", "run-a"):
        state = api.inspect(fixtures_dir / name)[0].state
        assert isinstance(state, TrainingState)
        assert messages.distrusted(pickle.dumps(state, 5)) == state


# ------------------------------------------------------------------------------------------------- the command line


def test_a_crash_costs_one_path(fixtures_dir: Path, tmp_path: Path) -> None:
    """A file on which HDF5 2.0 crashes is one line on stderr; the paths before and behind it are told."""
    crashing = tmp_path / "crash.h5"
    data = bytearray((fixtures_dir / "whole-model.h5").read_bytes())
    at = data.index(b"\x19\x01", data.index(b"training_config\0"))
    data[at + 1 : at + 3] = b"\xff\xff"  # a variable-length type of no known kind
    crashing.write_bytes(data)
    good = fixtures_dir / "whole-model.h5", fixtures_dir / "keras3.keras"
    result = ckptdoctor("inspect", "--quiet", good[0], crashing, good[1])
    assert result.code == 3
    assert [line.rpartition(": ")[2] for line in result.out.splitlines()] == [
        "resumes at iteration 7 with full Adam state"
    ] * 2
    (line,) = result.err.splitlines()
    assert line.startswith(f"ckptdoctor: {crashing}: ")


def test_the_python_api_survives(fixtures_dir: Path, tmp_path: Path) -> None:
    """`ckptdoctor.inspect` in somebody's program answers with an error, and the program lives on."""
    crashing = tmp_path / "crash.h5"
    data = bytearray((fixtures_dir / "whole-model.h5").read_bytes())
    at = data.index(b"\x19\x01", data.index(b"training_config\0"))
    data[at + 1 : at + 3] = b"\xff\xff"
    crashing.write_bytes(data)
    (broken,) = api.inspect(crashing)
    assert broken.status is Status.UNREADABLE
    assert isinstance(broken.error, UnreadableArtifact)
    assert api.inspect(fixtures_dir / "whole-model.h5")[0].status is Status.COMPLETE


def test_somebody_elses_process_is_not_forked(fixtures_dir: Path) -> None:
    """The Python API starts an interpreter of its own; only the command line, whose process is ours, forks."""
    code = (
        "import sys, os; events = []; sys.addaudithook(lambda e, a: events.append(e) if 'fork' in e else None)\n"
        f"import ckptdoctor; ckptdoctor.inspect({os.fspath(fixtures_dir / 'whole-model.h5')!r})\n"
        "assert 'h5py' not in sys.modules; print([e for e in events if e == 'os.fork'])"
    )
    assert python("-W", "error", "-c", code).out.strip() == "[]"


def test_modules_beside_the_user_are_not_imported(fixtures_dir: Path, tmp_path: Path) -> None:
    """A worker imports nothing from the working directory, where a stranger's files may lie."""
    for name in ("h5py.py", "numpy.py", "pickle.py", "ckptdoctor.py"):
        (tmp_path / name).write_text("raise SystemExit('owned')")
    code = (
        f"import sys; sys.path.insert(0, {os.fspath(ROOT)!r}); sys.path[:] = [p for p in sys.path if p]\n"
        f"import ckptdoctor; print(ckptdoctor.inspect({os.fspath(fixtures_dir / 'whole-model.h5')!r})[0].verdict)"
    )
    result = python("-c", code, cwd=tmp_path)
    assert result.out.strip() == "resumes at iteration 7 with full Adam state", result.err


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_worker_is_left(tmp_path: Path, fixtures_dir: Path, ending: int) -> None:
    """However the command ends while its worker is caught in libhdf5, the worker ends too."""
    data = bytearray((fixtures_dir / "whole-model.h5").read_bytes())
    heap = data.index(b"GCOL")
    data[heap + 16 : heap + 32] = bytes(16)  # an object of no length: HDF5 2.0 reads it over and over
    endless = tmp_path / "endless.h5"
    endless.write_bytes(data)
    process = subprocess.Popen(
        [sys.executable, "-m", "ckptdoctor", "inspect", str(endless)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    worker = _await_reader(process, endless)
    os.kill(process.pid, ending)
    _, err = process.communicate(timeout=30)
    if process.returncode == 3:
        pytest.skip("this HDF5 reads it to its end")
    assert process.returncode == (130 if ending == signal.SIGINT else -ending)
    assert err == ("ckptdoctor: interrupted\n" if ending == signal.SIGINT else "")
    for _ in range(100):
        if not os.path.exists(f"/proc/{worker}"):
            return
        time.sleep(0.05)
    pytest.fail("the worker lives on")


def _await_reader(process: subprocess.Popen[str], path: Path) -> int:
    """The worker, once it has the file open."""
    for _ in range(1500):
        with contextlib.suppress(OSError):
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                if any(os.path.realpath(each) == str(path) for each in Path(f"/proc/{child}/fd").iterdir()):
                    return int(child)
        time.sleep(0.02)
    raise AssertionError("there is no worker")


def test_a_graft_that_crashes_leaves_nothing(tmp_path: Path, fixtures_dir: Path) -> None:
    """A worker that is killed while it builds the result costs the result: no file, no folder, one sentence."""
    (tmp_path / "out").mkdir()
    code = (
        "import os, sys; sys.path.insert(0, {here!r}); import ckptdoctor.formats.keras.writing.files as writer\n"
        "import isolated_acts; writer.write_h5 = isolated_acts.crash; from ckptdoctor.cli import main\n"
        "sys.argv = ['ckptdoctor', 'graft', '--from', {f!r}, '--into', {f!r}, '--output', {out!r}]; main()"
    ).format(here=HERE, f=os.fspath(fixtures_dir / "whole-model.h5"), out=os.fspath(tmp_path / "out" / "o.h5"))
    result = python("-c", code, OPENBLAS_NUM_THREADS="1")  # without threads it forks, and the fork is as it is
    assert result.code == 3
    assert "crashed on it (SIGSEGV)" in result.err
    assert len(result.err.splitlines()) == 1
    assert os.listdir(tmp_path / "out") == []
