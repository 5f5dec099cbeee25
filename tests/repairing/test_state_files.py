"""State files that are astray: `checkpoint` of TensorFlow and `latest` of DeepSpeed name what is here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support.bundles import array, write_bundle, write_state
from support.commands import ckptdoctor as command

import ckptdoctor
from ckptdoctor.formats.tensorflow.state_file import read_checkpoint_state, text_of


def codes(path: Path) -> set[str]:
    """The codes of what the rules find."""
    (found,) = ckptdoctor.inspect(path)
    return {each.code for each in found.findings}


def could(path: Path) -> list[str]:
    """The fixes that are listed."""
    result = command("repair", "--list", path, "--format", "json")
    assert result.code == 0, result.err
    return [each["name"] for each in json.loads(result.out)["could"]]


def _checkpoint(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    write_bundle(folder / name, {"w": array([1.0, 2.0]), "global_step": array(int(name.rpartition("-")[2]), "int64")})


@pytest.mark.parametrize("state", ["moved", "none", "relative", "garbage", "link"])
def test_the_state_file(tmp_path: Path, state: str) -> None:
    """A run that was moved, that lost its state file, or of which checkpoints went: it names what is here."""
    run = tmp_path / "run"
    for name in ("ckpt-9", "ckpt-10", "ckpt-2"):
        _checkpoint(run, name)
    file = run / "checkpoint"
    if state == "moved":
        write_state(run, "/elsewhere/ckpt-9", "/elsewhere/ckpt-2")
    elif state == "relative":
        write_state(run, "ckpt-11", "ckpt-2", "ckpt-10")
    elif state == "garbage":
        file.write_bytes(b"\0\1\2")
    elif state == "link":
        file.symlink_to(tmp_path / "nowhere")
    before = file.read_bytes() if file.exists() else None
    assert could(run) == ["state-file"]
    result = command("repair", run, "--in-place")
    assert result.code == 0, result.err
    found = read_checkpoint_state(str(file))
    assert found.latest == ("ckpt-9" if state == "moved" else "ckpt-10")
    assert found.all == {
        "moved": ("ckpt-2", "ckpt-9"), "relative": ("ckpt-2", "ckpt-10"),
    }.get(state, ("ckpt-2", "ckpt-9", "ckpt-10"))  # fmt: skip
    assert "P001" not in codes(run)
    assert could(run) == []
    kept = run / "checkpoint.bak"
    assert (kept.read_bytes() if kept.exists() else None) == before
    assert command("repair", run, "--output", tmp_path / "out").code == 4


def test_a_copy_is_no_state_file(tmp_path: Path) -> None:
    """What is beside checkpoints is mended in place alone; another run's file of that name is left alone."""
    run = tmp_path / "run"
    _checkpoint(run, "ckpt-1")
    result = command("repair", run, "--output", tmp_path / "out", "--fix", "state-file")
    assert (result.code, "--in-place" in result.err) == (4, True)
    (run / "checkpoint").mkdir()
    assert could(run) == []


def test_the_latest_of_deepspeed(museum: Path, tmp_path: Path) -> None:
    """`latest` names a tag that is not here: it names the newest that is."""
    tag = museum / "torch2.13/deepspeed-1"
    for name in ("global_step5", "global_step12"):
        shutil.copytree(
            tag if _has_states(tag) else next(each for each in tag.iterdir() if each.is_dir()), tmp_path / name
        )
    (tmp_path / "latest").write_text("global_step20")
    assert "S022" in codes(tmp_path)
    assert command("repair", tmp_path, "--in-place", "--fix", "state-file").code == 0
    assert (tmp_path / "latest").read_text() == "global_step12"
    assert (tmp_path / "latest.bak").read_text() == "global_step20"
    assert "S022" not in codes(tmp_path)


def _has_states(folder: Path) -> bool:
    return any(each.name.endswith("_model_states.pt") for each in folder.iterdir())


@pytest.mark.parametrize("name", ["ckpt-1", 'a "quoted" name', "ünicode\\back", "tab\tname"])
def test_names_are_quoted(tmp_path: Path, name: str) -> None:
    """Whatever a checkpoint is called is read back as that."""
    (tmp_path / "checkpoint").write_text(text_of(name, ((name, 1.5), ("b", 2.5))))
    found = read_checkpoint_state(str(tmp_path / "checkpoint"))
    assert (found.latest, found.all) == (name, (name, "b"))
