"""How results leave: standard streams that are closed or full, files that must not be replaced."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import ckptdoctor, environment
from support.objects import write_model

from ckptdoctor.cli.options import deliver


@pytest.fixture
def good(tmp_path: Path) -> str:
    """A checkpoint from which training resumes."""
    return write_model(tmp_path / "run" / "ckpt-7")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(good: str, fixtures_dir: Path, tmp_path: Path, closed: str) -> None:
    """Daemons and cron close stdin, stdout or stderr: nothing hangs, and nothing else is taken for them."""
    out = tmp_path / "out.txt"
    words = [sys.executable, "-m", "ckptdoctor", "inspect", "-q", "-o", str(out)]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *words, good, str(fixtures_dir / "whole-model.h5")],
        env=environment(),
        timeout=60,
        check=False,
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert len(out.read_text().splitlines()) == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")
@pytest.mark.parametrize("command", ["inspect", "check", "explain"])
def test_stdout_that_takes_nothing(good: str, command: str) -> None:
    """A result that cannot be written is one sentence and code 2, never the code of findings."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ckptdoctor", command, good if command != "explain" else "S001"],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (2, "ckptdoctor: the result cannot be written: no space left on device\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device that is always full")
@pytest.mark.parametrize(
    "words", [["--version"], ["--help"], ["inspect", "--help"], ["check", "-h"], ["graft", "--version"]]
)
def test_what_click_writes_itself(words: list[str]) -> None:
    """Neither help nor version is a traceback where nothing more can be written."""
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "ckptdoctor", *words],
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (2, "ckptdoctor: the result cannot be written: no space left on device\n")


def test_ctrl_c_during_start_up(good: str) -> None:
    """From ckptdoctor's first line on Ctrl-C ends with 130, and no traceback of half-done imports is shown."""
    for hundredths in range(0, 40, 2):
        with subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "ckptdoctor", "inspect", good],
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if line.endswith(" ckptdoctor.start\n"):
                    process.stderr.readline()  # what is imported next, which the handler comes before
                    break
            time.sleep(hundredths / 100)
            process.send_signal(signal.SIGINT)
            said = process.stderr.read()
        assert process.returncode in {0, 130}
        assert "Traceback" not in said


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "MODEL", "-o", "MODEL"],
        ["check", "MODEL", "-o", "MODEL"],
        ["check", "MODEL", "--report", "json=MODEL"],
        ["diff", "MODEL", "MODEL", "-o", "MODEL"],
        ["graft", "--into", "MODEL", "--iterations", "9", "--output", "OUT", "-o", "MODEL"],
        ["graft", "--into", "MODEL", "--iterations", "9", "--output", "OUT", "-o", "OUT"],
    ],
    ids=" ".join,
)
def test_no_report_replaces_an_artifact(fixtures_dir: Path, tmp_path: Path, words: list[str]) -> None:
    """A report is never written over a model, neither one that was read nor one that was just made."""
    model, out = tmp_path / "model.h5", tmp_path / "out.h5"
    shutil.copy(fixtures_dir / "whole-model.h5", model)
    result = ckptdoctor(*[word.replace("MODEL", str(model)).replace("OUT", str(out)) for word in words])
    assert (result.code, "is an artifact, which no report replaces" in result.err) == (2, True)
    assert model.read_bytes() == (fixtures_dir / "whole-model.h5").read_bytes()
    assert not out.exists() or out.read_bytes().startswith(b"\x89HDF")


def test_what_ends_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    """A result is made while it is written: where that ends early, the file is as it was, with nothing beside it."""
    (tmp_path / "out.json").write_text("before")

    def pieces() -> Iterator[str]:
        yield "{"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deliver(pieces(), str(tmp_path / "out.json"), form="json")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("out.json", "before")]
