"""`ckptdoctor check` of many artifacts, as somebody sits before it: progress, results as they come, Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from support.bundles import array, write_bundle
from support.commands import ROOT, environment
from support.objects import write_model
from support.terminal import CTRL_C, Terminal

pytest.importorskip("pty")

BAR = "━".encode()
MANY = 10_000
"""More paths than are checked before the tests have seen enough."""


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Ten artifacts, one of them without optimizer state, again and again."""
    for number in range(9):
        write_model(tmp_path / f"run-{number}" / "ckpt-7")
    write_bundle(tmp_path / "run-9" / "ckpt-7", {"w": array([1.0])})
    return [f"run-{number % 10}/ckpt-7" for number in range(MANY)]


def results(text: str) -> list[str]:
    """The paths of the results that a text report shows, in its order."""
    return re.findall(r"^(?:ok|failed) +(run-\d/ckpt-7): ", text.replace("\r", "\n"), flags=re.MULTILINE)


def test_progress_and_ctrl_c(paths: list[str], tmp_path: Path) -> None:
    """A bar with the current path appears; Ctrl-C ends it, and every report says what was done, and that it ended."""
    reports = [f"--report={form}={form}.out" for form in ("json", "sarif", "junit", "markdown")]
    with Terminal(["check", *reports, *paths], tmp_path) as terminal:
        terminal.wait_for(BAR)
        terminal.press(CTRL_C)
        code = terminal.finish()
    assert code == 130
    assert "Traceback" not in terminal.text
    assert re.search(rf"run-\d/ckpt-7 [━╸╺]+ +\d+/{MANY}", terminal.text), terminal.text[-3000:]

    document = json.loads((tmp_path / "json.out").read_text())
    assert (document["interrupted"], document["passed"]) == (True, False)
    done = [each["path"] for each in document["artifacts"]]
    assert 0 < len(done) < MANY
    assert done == paths[: len(done)]
    assert f"interrupted after {len(done):,} results" in terminal.text
    assert set(results(terminal.text)) <= set(done)

    (run,) = json.loads((tmp_path / "sarif.out").read_text())["runs"]
    assert run["invocations"][0]["executionSuccessful"] is False
    suites = ET.parse(tmp_path / "junit.out").getroot()
    assert len({each.get("name") for each in suites.iter("testcase")}) >= min(len(done), 10)
    assert "interrupted" in (tmp_path / "markdown.out").read_text().lower()


def test_the_bar_leaves_nothing(paths: list[str], tmp_path: Path) -> None:
    """At the end no bar is left on the terminal, and each result stands on lines of its own."""
    few = paths[:1500]
    with Terminal(["check", *few], tmp_path) as terminal:
        assert terminal.finish() == 1
    assert results(terminal.text) == few
    last = terminal.text.rstrip().splitlines()[-1]
    assert (last.startswith(("1500 artifacts:", "1,500 artifacts:")), "━" in last) == (True, False)


def test_in_a_directory_the_artifact_is_named(tmp_path: Path) -> None:
    """Of a directory with many artifacts the bar names the one that is being read."""
    source = write_model(tmp_path / "source" / "ckpt")
    (tmp_path / "run").mkdir()
    for number in range(3000):
        for suffix in (".index", ".data-00000-of-00001"):
            (tmp_path / "run" / f"ckpt-{number}{suffix}").hardlink_to(source + suffix)
    with Terminal(["check", "--all", "run"], tmp_path) as terminal:
        terminal.wait_for(BAR)
        terminal.press(CTRL_C)
        assert terminal.finish() == 130
    assert re.search(r"run/ckpt-\d+ [━╸╺]", terminal.text)


def _packed(path: Path) -> None:
    """An archive whose weights are packed: what only HDF5's library reads, in a worker."""
    source, target = (
        zipfile.ZipFile(ROOT / "fixtures" / "keras3.keras"),
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED),
    )
    with source, target:
        for name in source.namelist():
            target.writestr(name, source.read(name))


def await_begin(process: subprocess.Popen[str]) -> None:
    """Waits until a check has begun on its first artifact, which a worker reads."""
    for _ in range(2000):
        assert process.poll() is None, "it was over before Ctrl-C"
        with contextlib.suppress(OSError):
            if Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                return
        time.sleep(0.01)
    pytest.fail("it did not begin")


def test_results_stream(paths: list[str], tmp_path: Path) -> None:
    """Results leave as soon as they are known, in the order of the paths, and no bar goes into a pipe."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ckptdoctor", "check", *paths],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    first = [process.stdout.readline() for _ in range(5)]
    assert process.poll() is None, "it was over before its first results were read"
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=90)
    assert process.returncode == 130
    shown = results("".join(first) + rest)
    assert shown == paths[: len(shown)]
    assert re.fullmatch(r"ckptdoctor: interrupted after [\d,]+ results\n", said)


@pytest.mark.parametrize("form", ["json", "github", "sarif", "junit", "markdown"])
def test_ctrl_c_with_a_document_on_stdout(paths: list[str], tmp_path: Path, form: str) -> None:
    """Other forms are written whole, at the end, of what was done."""
    _packed(tmp_path / "first.keras")
    words = ["check", "--format", form, "--report", "text=progress.txt", "first.keras", *paths]
    process = subprocess.Popen(
        [sys.executable, "-m", "ckptdoctor", *words],
        cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    await_begin(process)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=90)
    assert (process.returncode, "Traceback" in said) == (130, False)
    assert out
    assert (tmp_path / "progress.txt").exists()
    if form == "json":
        assert json.loads(out)["interrupted"] is True


def test_ctrl_c_inside_hdf5(tmp_path: Path) -> None:
    """Ctrl-C is never taken for a fault of the file, nor lost, when it meets HDF5 reading from an archive."""
    _packed(tmp_path / "model.keras")
    for tenths in range(6):
        process = subprocess.Popen(
            [sys.executable, "-m", "ckptdoctor", "check", "--format", "json", *["model.keras"] * 3000],
            cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        await_begin(process)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(tenths / 10)
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=90)
        document = json.loads(out)
        assert (process.returncode, document["interrupted"]) == (130, True)
        assert {each["status"] for each in document["artifacts"]} <= {"complete"}
        assert re.fullmatch(r"ckptdoctor: interrupted after [\d,]+ results\n", said)


def test_a_second_ctrl_c(paths: list[str], tmp_path: Path) -> None:
    """Pressed again and again it still ends with 130, without a traceback."""
    with Terminal(["check", "--report", "json=out.json", *paths], tmp_path) as terminal:
        terminal.wait_for(b"ok")
        for _ in range(3):
            terminal.press(CTRL_C)
        assert terminal.finish() == 130
    assert "Traceback" not in terminal.text
