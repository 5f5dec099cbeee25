"""Mended in place: every file of the original is kept, and nobody may read more than before."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import pytest
from support.commands import ckptdoctor as command

import ckptdoctor
from ckptdoctor.errors import Refused

PATHS = (
    "keras/k3.15tf-adam-wjson.weights.json",
    "keras/k3.15tf-adam-wh5.weights.h5",
    "keras/k3.15tf-adam-dir",
    "tf/v2.10-tfk-ckpt-multishard/ckpt",
    "tf/v2.21-tfk_pkg-sm-adam/sm",
    "orbax-keras3.15-jax/ema",
    "torch2.13/adam.pt",
)


def _copied(source: Path, folder: Path) -> Path:
    """An artifact with all files of its name, which only their owner may read."""
    if source.is_dir():
        shutil.copytree(source, folder / source.name)
    elif source.exists() and not source.name.endswith(".json"):
        shutil.copy(source, folder)
    else:
        for each in source.parent.glob(f"{source.name.removesuffix('.weights.json')}[._]*"):
            shutil.copy(each, folder)
    for each in folder.rglob("*"):
        each.chmod(0o700 if each.is_dir() else 0o600)
    return folder / source.name


def _files(folder: Path) -> dict[str, bytes]:
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize("path", PATHS)
def test_all_of_the_original_is_kept(museum: Path, tmp_path: Path, path: str) -> None:
    """Under the names that are told; and what is new may be read by those who could read what was there."""
    if not (museum / path).exists() and not list((museum / path).parent.glob(f"{Path(path).name}.index")):
        pytest.skip("the museum does not have it")
    source = _copied(museum / path, tmp_path)
    old, umask = _files(tmp_path), os.umask(0o022)
    try:
        done = command("repair", source, "--fix", "reset", "--in-place", "--format", "json")
    finally:
        os.umask(umask)
    backups = json.loads(done.out)["backups"]
    assert all(os.path.exists(each) for each in backups)
    modes = {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.rglob("*") if each.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.rglob("*") if each.is_dir()} <= {0o700}
    new = {name: data for name, data in _files(tmp_path).items() if ".bak" not in name}
    assert new != old
    if "torch" not in path:  # there is nothing left to mend
        again = command("repair", source, "--fix", "reset", "--in-place")
        assert (again.code, "never overwritten" in again.err) == (4, True)
    for name in new:
        (tmp_path / name).unlink()
    for each in map(Path, backups):
        goal = each.with_name(each.name.removesuffix(".bak"))
        if goal.is_dir():
            shutil.rmtree(goal)
        each.rename(goal)
    assert _files(tmp_path) == old


def test_shards_that_are_there(museum: Path, tmp_path: Path) -> None:
    """They are another artifact's, whose list of them may lie elsewhere: nothing is written over them."""
    source = museum / "keras/k3.15tf-adam-wjson.weights.json"
    if not source.exists():
        pytest.skip("the museum does not have it")
    (tmp_path / "out_00001.weights.h5").write_bytes(b"precious")
    with pytest.raises(Refused, match=r"out_00001.weights.h5 exists already"):
        ckptdoctor.repair(source, tmp_path / "out.weights.json", fixes=["reset"])
    assert _files(tmp_path) == {"out_00001.weights.h5": b"precious"}


def test_a_fix_that_is_named_twice_is_done_once(museum: Path, tmp_path: Path) -> None:
    """And several in the order of the table."""
    done = ckptdoctor.repair(museum / "tf/v2.10-tfk-ckpt-adam/ckpt", tmp_path / "a", fixes=["reset", "reset"])
    assert [each.fix.name for each in done.done] == ["reset"]


def test_a_new_optimizer_has_lost_no_count(museum: Path, tmp_path: Path) -> None:
    """Its count is 0, and so are its slots: that is how it begins."""
    ckptdoctor.repair(museum / "tf/v2.10-tfk-ckpt-adam/ckpt", tmp_path / "ckpt-7", fixes=["reset"])
    assert command("repair", tmp_path / "ckpt-7", "--list").out.endswith("nothing is to be mended\n")
    refused = command("repair", tmp_path / "ckpt-7", "--fix", "count", "--output", tmp_path / "b")
    assert (refused.code, "nothing to mend by count" in refused.err) == (4, True)
