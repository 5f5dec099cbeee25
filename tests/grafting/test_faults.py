"""What a graft leaves when it cannot end: nothing under OUT's name, nothing beside it, and the inputs as they were.

Every graft here is a process of its own, as a user starts it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.objects import legacy, model, tracked, variables, write_objects
from support.privileges import renounce
from support.pytorch import made

import ckptdoctor
from ckptdoctor.errors import EXIT_INTERRUPTED, GraftRefused
from ckptdoctor.grafting.building.staging import _clear_abandoned, check_output, publish, staging

resource = pytest.importorskip("resource", reason="limits and signals of POSIX")

ROOT = Path(ckptdoctor.__file__).parent.parent


class Case(NamedTuple):
    """A graft between two fixtures: donor, target, OUT's name."""

    donor: str
    target: str
    out: str
    more: tuple[str, ...] = ()


CASES = {
    "checkpoint": Case("keras3.keras", "run-a/ckpt-7", "out-1"),
    "SavedModel": Case("run-a", "savedmodel", "out", ("--as", "keras2")),
    "h5": Case("optimizer.pkl", "whole-model.h5", "out.h5"),
    "keras": Case("run-a", "keras3.keras", "out.keras"),
    "weights.h5": Case("whole-model.h5", "lost.weights.h5", "out.weights.h5", ("--as", "keras2")),
    "dump": Case("whole-model.h5", "optimizer.pkl", "out.pkl"),
    "torch": Case("donor.pt", "weights.pt", "out.pt"),
    "torch-dcp": Case("donor.pt", "ranks", "out"),
}

every_kind = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


@pytest.fixture
def inputs(tmp_path: Path, fixtures_dir: Path) -> Path:
    """A folder with copies of the fixtures; `out` beside it takes the results."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    (tmp_path / "out").mkdir()
    for name in ("run-a", "savedmodel"):
        shutil.copytree(fixtures_dir / name, folder / name)
    for name in ("whole-model.h5", "optimizer.pkl", "keras3.keras", "lost.weights.h5"):
        shutil.copy(fixtures_dir / name, folder / name)
    made.files(folder)
    return folder


class Large(NamedTuple):
    """A checkpoint of 84 MB, so that a graft takes some time, and its digests."""

    prefix: str
    digests: dict[str, str]


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Large:
    """The large checkpoint, at iteration 7."""
    folder = tmp_path_factory.mktemp("large")
    net = model({f"layer_{number}/kernel": (1024, 1024) for number in range(7)})
    prefix = write_objects(folder / "ckpt-7", tracked(model=net, optimizer=legacy(variables(net))))
    return Large(prefix, digests(folder))


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def environment() -> dict[str, str]:
    """A limit on file sizes must not cut the interpreter's own caches short."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def run(*words: str | Path, before: Callable[[], object] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `ckptdoctor graft` to its end; `before` runs in the child first."""
    return subprocess.run(
        [sys.executable, "-m", "ckptdoctor", "graft", *map(str, words)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=before,
    )


def graft(
    case: Case, inputs: Path, out: Path, *more: str, before: Callable[[], object] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a case."""
    words: list[str | Path] = ["--from", inputs / case.donor, "--into", inputs / case.target, "--output", out]
    return run(*words, *case.more, *more, before=before)


def refused(done: subprocess.CompletedProcess[str], *says: str) -> None:
    """One sentence on stderr and code 4."""
    assert done.returncode == 4, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("ckptdoctor: ")
    for each in says:
        assert each in done.stderr


def state_of(out: Path) -> tuple[str, int | None, int]:
    """Verdict, count and number of slots."""
    (found,) = ckptdoctor.inspect(out)
    return found.status.value, found.optimizers[0].iterations, len(found.optimizers[0].slots)


# --------------------------------------------------------------------------------------------------- what is refused


@every_kind
def test_no_space_left(case: Case, inputs: Path) -> None:
    """However early a write fails, the sentence names the cause, and no file remains."""
    before, place = digests(inputs), inputs.parent / "out"
    sizes = [path.stat().st_size for path in (inputs / case.target).parent.glob(Path(case.target).name + "*")]
    if (inputs / case.target).is_dir():
        sizes = [path.stat().st_size for path in (inputs / case.target).rglob("*") if path.is_file()]
    for limit in (0, max(sizes) - 200):
        limited = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
        done = graft(case, inputs, place / case.out, before=limited)
        refused(done, "file too large", "Free some space")
        assert os.listdir(place) == []
    assert digests(inputs) == before


@every_kind
def test_no_directory_to_write_to(case: Case, inputs: Path) -> None:
    """A parent that is a file, or one in which even root cannot make a directory."""
    before = digests(inputs)
    file = inputs.parent / "out" / "file"
    file.write_text("kept")
    refused(graft(case, inputs, file / case.out), "does not exist")
    if os.path.isdir("/proc/self"):
        refused(graft(case, inputs, Path("/proc") / case.out), "cannot be written to", "another directory")
    assert (file.read_text(), os.listdir(inputs.parent / "out")) == ("kept", ["file"])
    assert digests(inputs) == before


@every_kind
def test_a_read_only_directory(case: Case, inputs: Path) -> None:
    """A directory without the permission to write."""
    before, place = digests(inputs), inputs.parent / "out"
    place.chmod(0o555)
    try:
        done = graft(case, inputs, place / case.out, before=renounce)
        refused(done, "cannot be written to", "permission denied")
        assert os.listdir(place) == []
    finally:
        place.chmod(0o755)
    assert digests(inputs) == before


@every_kind
def test_an_existing_output(case: Case, inputs: Path) -> None:
    """What lies at OUT stays as it is, to the byte."""
    place = inputs.parent / "out"
    assert graft(case, inputs, place / case.out).returncode == 0
    there, before = digests(place), digests(inputs)
    refused(graft(case, inputs, place / case.out), "exists already", "--overwrite")
    assert (digests(place), digests(inputs)) == (there, before)


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_inside_an_input(inputs: Path, overwrite: tuple[str, ...]) -> None:
    """OUT never goes into a SavedModel that is read, not even to replace one of its files."""
    before = digests(inputs)
    for name in ("new", "variables/variables"):
        done = graft(CASES["SavedModel"], inputs, inputs / "savedmodel" / name, *overwrite)
        refused(done, "inside an input", "another path")
    assert digests(inputs) == before


@every_kind
def test_an_input_as_output(case: Case, inputs: Path) -> None:
    """Donor and target are never the output, not even with --overwrite."""
    before = digests(inputs)
    refused(graft(case, inputs, inputs / case.target, "--overwrite"), "one of the inputs")
    assert digests(inputs) == before
    assert not list(inputs.glob(".ckptdoctor-*"))


# ------------------------------------------------------------------------------------------------ ended from outside


def interrupted(large: Large, out: Path, sign: signal.Signals, delay: float) -> int:
    """Grafts, with a signal after so many seconds; answers the code that the process ended with."""
    words = ["graft", "--into", large.prefix, "--iterations", "4242", "--output", str(out)]
    with subprocess.Popen(
        [sys.executable, "-m", "ckptdoctor", *words],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        time.sleep(delay)
        process.send_signal(sign)
        return process.wait(60)


def all_or_nothing(out: Path) -> bool:
    """Whether OUT is there; if it is, it is complete, and if not, none of its files is."""
    if out.with_name(f"{out.name}.index").exists():
        assert state_of(out) == ("complete", 4242, 14)
        return True
    assert not list(out.parent.glob(f"{out.name}*"))
    return False


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_at_any_moment(large: Large, tmp_path: Path, sign: signal.Signals) -> None:
    """OUT is whole or absent; Ctrl-C leaves nothing beside it, and what a kill leaves the next graft clears away."""
    started = time.monotonic()
    assert interrupted(large, tmp_path / "whole", signal.SIGCONT, 0) == 0
    took = time.monotonic() - started
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    codes, written = set(), 0
    for step in range(10):
        out = tmp_path / f"out-{step}"
        codes.add(interrupted(large, out, sign, took * (step + 1) / 10))
        written += all_or_nothing(out)
        if sign == signal.SIGINT:
            assert not list(tmp_path.glob(".*"))
    assert codes - {0}, "no signal came in time"
    assert sign != signal.SIGINT or EXIT_INTERRUPTED in codes
    assert written < 10
    last = tmp_path / "last"
    assert interrupted(large, last, signal.SIGCONT, 0) == 0
    assert all_or_nothing(last)
    assert not list(tmp_path.glob(".*"))
    assert digests(Path(large.prefix).parent) == large.digests


STEPS = ("mkdir", "link", "rename", "replace", "unlink", "rmdir")
KINDS = {
    "checkpoint": ("out.data-00000-of-00002", "out.data-00001-of-00002", "out.index"),
    "directory": ("out/variables", "out/saved_model.pb"),
    "file": ("out",),
    "shards": ("a_00000.h5", "a_00001.h5", "out"),
}


def stopped(folder: Path, names: tuple[str, ...], sign: int, step: int, *, late: bool, overwrite: bool) -> int:
    """Puts a result in place, in a process that signals itself before or after its nth change to a directory.

    Returns:
        How the process ended: 0 if it took fewer steps.
    """
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = step
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for each in STEPS:
            real = getattr(os, each)

            def counted(*arguments: Any, real: Any = real, **options: Any) -> Any:
                nonlocal left
                left -= 1
                if left == 0 and not late:
                    os.kill(os.getpid(), sign)
                try:
                    return real(*arguments, **options)
                finally:
                    if left == 0 and late:
                        os.kill(os.getpid(), sign)

            setattr(os, each, counted)
        place(folder, names, overwrite=overwrite)
        os._exit(0)
    finally:
        os._exit(1)


def place(folder: Path, names: tuple[str, ...], *, overwrite: bool, text: str = "new") -> None:
    """What a graft does with its files."""
    output = str(folder / "out")
    check_output(output, [], overwrite=overwrite)
    with staging(output) as staged:
        for name in names:
            path = Path(staged, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{text} {name}")
        publish(os.path.join(staged, "out"), output, overwrite=overwrite)


def content(text: str, names: tuple[str, ...]) -> dict[str, str]:
    """The files that `place` leaves."""
    return {name: hashlib.sha256(f"{text} {name}".encode()).hexdigest() for name in names}


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwrite"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_while_the_output_is_put_in_place(
    tmp_path: Path, kind: str, sign: signal.Signals, *, late: bool, overwrite: bool
) -> None:
    """Between any two steps: all of the new, all of the old, or nothing that the next graft would stumble over."""
    names, step, status = KINDS[kind], 0, -1
    new, old = content("new", names), content("old", names) if overwrite else {}
    while status:
        step += 1
        folder = tmp_path / str(step)
        folder.mkdir()
        if overwrite:
            place(folder, names, overwrite=False, text="old")
        status = stopped(folder, names, sign, step, late=late, overwrite=overwrite)
        if sign == signal.SIGINT:
            assert digests(folder) in (old, new)
            assert not list(folder.glob(".*"))
            continue
        visible = {name: digest for name, digest in digests(folder).items() if not name.startswith(".")}
        if names[-1] in visible:  # what the others are read by
            assert visible in (old, new)
        for abandoned in folder.glob(".ckptdoctor-*"):
            os.utime(abandoned, (0, 0))
        _clear_abandoned(str(folder))
        assert digests(folder) in (old, new)
        assert not list(folder.glob(".*"))
    assert step > 4


def test_a_rest_of_a_killed_graft_is_no_output(tmp_path: Path) -> None:
    """A data file that a killed graft placed does not make the next one refuse; one of someone else does."""
    abandoned = tmp_path / ".ckptdoctor-0123456789ab"
    abandoned.mkdir()
    for name in ("lock", "out.index", "out.data-00000-of-00001"):
        (abandoned / name).touch()
    data = tmp_path / "out.data-00000-of-00001"
    os.link(abandoned / data.name, data)
    check_output(str(tmp_path / "out"), [], overwrite=False)
    assert os.listdir(tmp_path) == []
    data.touch()
    with pytest.raises(GraftRefused, match="exists already"):
        check_output(str(tmp_path / "out"), [], overwrite=False)


def test_an_abandoned_folder_without_a_lock(tmp_path: Path) -> None:
    """Killed before it was locked: cleared after a while, as its process may be about to lock it."""
    folder = tmp_path / ".ckptdoctor-0123456789ab"
    folder.mkdir()
    _clear_abandoned(str(tmp_path))
    assert folder.exists()
    os.utime(folder, (0, 0))
    _clear_abandoned(str(tmp_path))
    assert not folder.exists()
