"""Results appear whole or not at all, and nothing is left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.museum import FIXTURES

from ckptdoctor.errors import GraftRefused
from ckptdoctor.grafting.building.staging import check_output, publish, staging


def test_an_existing_output_is_refused(tmp_path: Path) -> None:
    """OUT is not replaced unless that is asked for."""
    (tmp_path / "out.h5").write_text("precious")
    with pytest.raises(GraftRefused, match="exists already"):
        check_output(str(tmp_path / "out.h5"), [], overwrite=False)
    check_output(str(tmp_path / "out.h5"), [], overwrite=True)


def test_a_checkpoint_under_the_prefix_is_an_existing_output(tmp_path: Path) -> None:
    """A prefix is taken when its index or a data file is there."""
    (tmp_path / "ckpt.data-00000-of-00001").write_bytes(b"x")
    with pytest.raises(GraftRefused, match="exists already"):
        check_output(str(tmp_path / "ckpt"), [], overwrite=False)


def test_an_input_is_never_the_output(tmp_path: Path) -> None:
    """Not even with --overwrite, and not by another spelling."""
    source = tmp_path / "in.h5"
    source.write_text("x")
    with pytest.raises(GraftRefused, match="one of the inputs"):
        check_output(str(tmp_path / "." / "in.h5"), [str(source)], overwrite=True)


def test_inside_a_saved_model_is_refused(tmp_path: Path) -> None:
    """OUT does not go into a directory that is an input."""
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(GraftRefused, match="inside an input"):
        check_output(str(tmp_path / "out"), [str(tmp_path)], overwrite=False)


def test_what_holds_an_input_is_never_the_output(tmp_path: Path) -> None:
    """Not even with --overwrite: the input would be gone with it, and what lies beside it."""
    source = tmp_path / "run" / "7"
    source.mkdir(parents=True)
    for each in (source, source / "ckpt"):
        with pytest.raises(GraftRefused, match="holds the input"):
            check_output(str(tmp_path / "run"), [str(each)], overwrite=True)


def test_a_directory_of_other_things_is_not_replaced(tmp_path: Path) -> None:
    """Only one artifact is, as it is or alone in directories; nor is a run of several, or a link followed."""
    step = tmp_path / "run" / "7"
    shutil.copytree(FIXTURES / "savedmodel", step)
    check_output(str(step), [], overwrite=True)
    check_output(str(tmp_path / "run"), [], overwrite=True)
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    (tmp_path / "link").symlink_to("run")
    check_output(str(tmp_path / "link"), [], overwrite=True)
    (tmp_path / "empty").mkdir()
    check_output(str(tmp_path / "empty"), [], overwrite=True)
    shutil.copytree(FIXTURES / "run-a", tmp_path / "run-a")
    for each in ("run", "run-a"):
        with pytest.raises(GraftRefused, match="would be lost"):
            check_output(str(tmp_path / each), [], overwrite=True)


@pytest.mark.parametrize("name", ["", ".", "..", "./"])
def test_what_is_no_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory itself is no name for what is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GraftRefused, match="no name"):
        check_output(name, [], overwrite=True)


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    """OUT's directory has to exist."""
    with pytest.raises(GraftRefused, match="does not exist"):
        check_output(str(tmp_path / "no" / "out"), [], overwrite=False)


def test_a_file_is_published_whole(tmp_path: Path) -> None:
    """What was staged lies under the output's name, and the staging folder is gone."""
    out = tmp_path / "out.bin"
    with staging(str(out)) as folder:
        staged = Path(folder) / "out.bin"
        staged.write_bytes(b"result")
        publish(str(staged), str(out), overwrite=False)
    assert out.read_bytes() == b"result"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_a_checkpoint_is_published_index_last(tmp_path: Path) -> None:
    """All files of a checkpoint arrive under the new prefix."""
    out = tmp_path / "ckpt-9"
    with staging(str(out)) as folder:
        for name in ("ckpt-9.index", "ckpt-9.data-00000-of-00002", "ckpt-9.data-00001-of-00002"):
            (Path(folder) / name).write_bytes(name.encode())
        publish(str(Path(folder) / "ckpt-9"), str(out), overwrite=False)
    assert sorted(os.listdir(tmp_path)) == [
        "ckpt-9.data-00000-of-00002",
        "ckpt-9.data-00001-of-00002",
        "ckpt-9.index",
    ]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """An exception on the way clears the staging folder and leaves no output."""

    def interrupted() -> None:
        with staging(str(tmp_path / "out")) as folder:
            (Path(folder) / "out").write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_an_output_that_appears_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """Two grafts to one output: the second does not clobber the first."""
    out = tmp_path / "out"
    with staging(str(out)) as folder:
        staged = Path(folder) / "out"
        staged.write_bytes(b"second")
        out.write_bytes(b"first")
        with pytest.raises(GraftRefused, match="appeared"):
            publish(str(staged), str(out), overwrite=False)
    assert out.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["out"]


def test_a_directory_is_replaced_when_asked(tmp_path: Path) -> None:
    """--overwrite replaces a whole directory."""
    out = tmp_path / "model"
    out.mkdir()
    (out / "old").write_text("old")
    with staging(str(out)) as folder:
        staged = Path(folder) / "model"
        staged.mkdir()
        (staged / "new").write_text("new")
        publish(str(staged), str(out), overwrite=True)
    assert os.listdir(out) == ["new"]
    assert os.listdir(tmp_path) == ["model"]


def test_what_a_killed_graft_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    """A staging folder whose process was killed disappears with the next graft; a living one's stays."""
    script = (
        "import sys, time\n"
        "from ckptdoctor.grafting.building.staging import staging\n"
        "with staging(sys.argv[1]):\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    out = str(tmp_path / "out")
    with subprocess.Popen([sys.executable, "-c", script, out], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        with staging(out):
            assert len(os.listdir(tmp_path)) == 2
        assert len(os.listdir(tmp_path)) == 1
        process.send_signal(signal.SIGKILL)
    for _ in range(50):
        with staging(out):
            if len(os.listdir(tmp_path)) == 1:
                break
        time.sleep(0.1)
    assert os.listdir(tmp_path) == []


def test_a_device_or_a_pipe_is_never_replaced(tmp_path: Path) -> None:
    """Not even with --overwrite."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GraftRefused, match="a device or a pipe"):
        check_output(str(tmp_path / "pipe"), [], overwrite=True)
