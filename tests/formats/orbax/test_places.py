"""Which checkpoint a directory means: the newest complete step, and what is said of those that are passed over."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.run import check_paths
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.examination import Examination, examine
from ckptdoctor.formats.locate import locate


@pytest.fixture
def run(museum: Path, tmp_path: Path) -> Path:
    """A run of two steps, 1 and 2, and the third that was thrown away."""
    return Path(shutil.copytree(museum / "orbax-keras3.15-jax" / "functional", tmp_path / "run"))


def _one(path: Path) -> Examination:
    (found,) = examine(str(path))
    return found


def _codes(found: Examination) -> set[str]:
    return {each.code for each in found.findings} - {"P002", "I009"}


def _said(found: Examination, code: str) -> str:
    return next(each.message for each in found.findings if each.code == code)


def test_the_newest_step(run: Path) -> None:
    """Of a run its newest step; of a step itself, with a slash or without; with --all every one."""
    assert (_one(run).resolved, _one(run).optimizers[0].iterations) == (str(run / "2"), 21)
    assert _one(run / "1").optimizers[0].iterations == 14
    assert [each.resolved for each in locate(f"{run / '1'}/")] == [str(run / "1")]
    assert [each.resolved for each in locate(str(run), everything=True)] == [str(run / "1"), str(run / "2")]
    assert not _codes(_one(run))


def test_numbers_are_numbers(run: Path) -> None:
    """10 comes after 9, and a prefix changes nothing."""
    (run / "1").rename(run / "10")
    assert _one(run).resolved == str(run / "10")
    for name in ("2", "10"):
        (run / name).rename(run / f"ckpt_{int(name):08}")
    assert _one(run).resolved == str(run / "ckpt_00000010")


@pytest.mark.parametrize("name", ["3.orbax-checkpoint-tmp", "3.orbax-checkpoint-tmp-1700000000000000"])
def test_a_save_that_did_not_end(run: Path, name: str) -> None:
    """latest_step() leaves it out, --all as well, and it is told."""
    (run / name / f"pytree{name[1:]}").mkdir(parents=True)
    found = _one(run)
    assert found.resolved == str(run / "2")
    assert _codes(found) == {"I005"}
    assert "takes 2" in _said(found, "I005")
    assert len(locate(str(run), everything=True)) == 2
    shutil.rmtree(run / "1")
    shutil.rmtree(run / "2")
    with pytest.raises(UnreadableArtifact, match="only saves that did not end"):
        locate(str(run))


def test_steps_that_hold_nothing(run: Path) -> None:
    """latest_step() takes an empty directory, and one whose items were never renamed."""
    (run / "11").mkdir()
    (run / "15" / "default.orbax-checkpoint-tmp-17").mkdir(parents=True)
    found = _one(run)
    assert (found.resolved, found.optimizers[0].iterations) == (str(run / "2"), 21)
    assert _codes(found) == {"I006"}
    assert "latest_step() takes 15" in _said(found, "I006")
    inside = _one(run / "15")
    assert inside.error is None or "not" in str(inside.error)


def test_a_new_run_in_an_old_directory(run: Path) -> None:
    """Lower steps that were saved later are another run's."""
    about = run / "1" / "_CHECKPOINT_METADATA"
    fields = json.loads(about.read_text())
    about.write_text(json.dumps({**fields, "init_timestamp_nsecs": fields["init_timestamp_nsecs"] + 10**12}))
    found = _one(run)
    assert _codes(found) == {"P005"}
    assert "1 was saved after 2" in _said(found, "P005")


def test_an_item_of_a_step(run: Path) -> None:
    """It is a part: the step is read, with the configuration beside it."""
    found = _one(run / "2" / "pytree")
    assert found.resolved == str(run / "2")
    assert _codes(found) == {"P003"}
    assert not found.optimizers[0].class_inferred


@pytest.mark.parametrize("name", ["_CHECKPOINT_METADATA", "pytree/_METADATA", "pytree/manifest.ocdbt"])
def test_a_file_of_a_step(run: Path, name: str) -> None:
    """Its metadata stands for it."""
    found = _one(run / "2" / name)
    assert os.path.realpath(found.resolved) == os.path.realpath(run / "2")
    assert _codes(found) == {"P003"}


def test_a_step_without_its_metadata(run: Path) -> None:
    """Items tell that a directory is a step, and that nothing says that its save ended."""
    (run / "2" / "_CHECKPOINT_METADATA").unlink()
    found = _one(run)
    assert found.optimizers[0].iterations == 21
    assert _codes(found) == {"I005"}


def test_an_open_save(run: Path) -> None:
    """A step whose metadata has no time of its end is read, and told."""
    about = run / "2" / "_CHECKPOINT_METADATA"
    about.write_text(json.dumps({**json.loads(about.read_text()), "commit_timestamp_nsecs": None}))
    assert _codes(_one(run)) == {"I005"}


def test_no_step_is_taken_for_one(tmp_path: Path) -> None:
    """Directories that are called like steps, and hold something else."""
    (tmp_path / "checkpoint-500").mkdir()
    (tmp_path / "checkpoint-500" / "notes.txt").write_text("x")
    (tmp_path / "3").mkdir()
    with pytest.raises(UnreadableArtifact):
        locate(str(tmp_path))


def test_check_judges_the_latest(run: Path) -> None:
    """As of TensorFlow's checkpoints; what is wrong with it, and which would be whole, is said of the directory."""
    (found,) = check_paths([str(run)], Policy())
    assert (found.path, found.exit_code) == (str(run), 0)
    assert len(list(check_paths([str(run)], Policy(), everything=True))) == 3
    (run / "2" / "pytree" / "manifest.ocdbt").write_bytes(b"cut")
    (broken,) = check_paths([str(run)], Policy())
    assert broken.exit_code == 3
    assert "the newest complete one is 1" in next(each.message for each in broken.findings if each.code == "I006")


def test_a_step_that_is_a_link(run: Path, tmp_path: Path) -> None:
    """What lies elsewhere is no step of this run."""
    shutil.copytree(run / "2", tmp_path / "elsewhere" / "9")
    (run / "9").symlink_to(tmp_path / "elsewhere" / "9")
    assert _one(run).resolved == str(run / "2")


def test_links_out_of_a_step(run: Path, tmp_path: Path) -> None:
    """An item that is a link to another place is not read to make the step whole."""
    shutil.move(run / "2" / "pytree", tmp_path / "elsewhere")
    (run / "2" / "pytree").symlink_to(tmp_path / "elsewhere")
    found = _one(run / "2")
    assert found.error is not None
    assert found.error.code == "X002"
