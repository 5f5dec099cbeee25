"""Which directory a trainer's run means, and what is said where its own pointer leads nowhere."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ckptdoctor.examination import Examination, examine
from ckptdoctor.formats.locate import locate
from ckptdoctor.state import Format


def _read(path: Path) -> Examination:
    (found,) = examine(str(path))
    return found


@pytest.fixture
def run(museum: Path, tmp_path: Path) -> Path:
    """A DeepSpeed run of two tags, of which `latest` names the newer."""
    shutil.copytree(museum / "torch2.13" / "deepspeed-1", tmp_path / "run")
    shutil.copytree(tmp_path / "run" / "global_step7", tmp_path / "run" / "global_step30")
    (tmp_path / "run" / "latest").write_text("global_step30")
    return tmp_path / "run"


def test_the_tag_that_latest_names(run: Path) -> None:
    """`latest` decides, not the number; a tag can be named itself."""
    assert locate(str(run))[0].resolved == str(run / "global_step30")
    (run / "latest").write_text("global_step7\n")
    assert locate(str(run))[0].resolved == str(run / "global_step7")
    assert locate(str(run / "global_step30"))[0].resolved == str(run / "global_step30")
    assert "S022" not in {each.code for each in _read(run).findings}


@pytest.mark.parametrize("text", ["global_step31", "", "..", "/etc", "../run/global_step7", "a\0b", "x" * 300])
def test_a_tag_that_is_not_there(run: Path, text: str) -> None:
    """The newest is read, and S022 says what `latest` names; nothing outside of the directory is."""
    (run / "latest").write_text(text)
    found = _read(run)
    assert found.state is not None
    assert found.state.path.endswith("global_step30") or found.state.path == str(run)
    (said,) = [each.message for each in found.findings if each.code == "S022"]
    assert "which is not here" in said
    assert "global_step30 is read" in said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_for_latest(run: Path) -> None:
    """A pipe is not waited for; the newest tag is meant, as without `latest`."""
    (run / "latest").unlink()
    os.mkfifo(run / "latest")
    (target,) = locate(str(run))
    assert target.resolved == str(run / "global_step30")


def test_a_rank_that_is_missing(run: Path) -> None:
    """Of two partitions one is not enough: S022 counts, and the state is not called whole."""
    (run / "global_step30" / "zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    found = _read(run)
    (said,) = [each.message for each in found.findings if each.code == "S022"]
    assert said == "the optimizer states of 1 of 2 ranks are missing"
    assert found.state is not None
    assert found.state.optimizers[0].missing


def test_the_newest_of_a_run(museum: Path, tmp_path: Path) -> None:
    """Of Trainer's checkpoints the one with the largest number, whatever else lies there; S013 of one with half."""
    for number, name in ((7, "trainer"), (20, "trainer-half")):
        shutil.copytree(museum / "torch2.13" / name / "checkpoint-7", tmp_path / f"checkpoint-{number}")
    (tmp_path / "checkpoint-100").mkdir()
    (tmp_path / "runs").mkdir()
    found = _read(tmp_path)
    assert found.format is Format.HF_TRAINER
    codes = {each.code for each in found.findings}
    assert {"S013", "P003"} <= codes
    (target,) = locate(str(tmp_path))
    assert target.resolved == str(tmp_path / "checkpoint-20")
