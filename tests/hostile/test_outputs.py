"""Where a graft is told to write (class 46): onto an input, through a link, into a device, to nowhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile.cases import FIXTURES, Place
from hostile.commands import run_commands
from hostile.test_hostile import _digests, _place, _unprintable

DONOR = FIXTURES / "whole-model.h5"


def _link(place: Place) -> Path:
    """A link to a file of somebody else's."""
    (place.own / "out.h5").symlink_to(_other(place))
    return place.own / "out.h5"


def _other(place: Place) -> Path:
    other = place.own / "theirs"
    other.mkdir(exist_ok=True)
    (other / "important.h5").write_bytes(b"important")
    return other / "important.h5"


def _hard_link(place: Place) -> Path:
    os.link(place.own / "target.h5", place.own / "out.h5")
    return place.own / "out.h5"


def _dangling(place: Place) -> Path:
    _other(place)
    (place.own / "out.h5").symlink_to("theirs/new.h5")
    return place.own / "out.h5"


def _fifo(place: Place) -> Path:
    os.mkfifo(place.own / "out.h5")
    return place.own / "out.h5"


def _device(place: Place) -> Path:
    (place.own / "out.h5").symlink_to(os.devnull)
    return place.own / "out.h5"


def _folder(place: Place) -> Path:
    (place.own / "out.h5" / "x").mkdir(parents=True)
    return place.own / "out.h5"


def _name(place: Place) -> Path:
    return place.own / "gone\x1b[31m\n::error::x" / "out.h5"


REFUSED: dict[str, Callable[[Place], Path]] = {
    "the target": lambda place: place.own / "target.h5",
    "the donor": lambda place: place.own / "donor.h5",
    "a link to a file": _link,
    "a hard link to the target": _hard_link,
    "a link to nothing": _dangling,
    "a FIFO": _fifo,
    "a device": _device,
    "a folder": _folder,
    "a folder that is not there": _name,
    "below a file": lambda place: place.own / "target.h5" / "out.h5",
}
REPLACED = {"a link to a file", "a link to nothing", "a hard link to the target"}
"""With --overwrite these names are given to the result; what they led to stays."""


@pytest.mark.parametrize("overwrite", [False, True], ids=["", "--overwrite"])
@pytest.mark.parametrize("name", REFUSED)
def test_an_output_harms_nothing(tmp_path: Path, name: str, *, overwrite: bool) -> None:
    """No output is written through or over: inputs, what links lead to, devices and folders stay as they were."""
    place = _place(tmp_path)
    shutil.copy(DONOR, place.own / "donor.h5")
    shutil.copy(DONOR, place.own / "target.h5")
    output = REFUSED[name](place)
    before, there = _digests(place.own), sorted(os.listdir(place.own))
    command = ["graft", "--from", "donor.h5", "--into", "target.h5", "--output", str(output)]
    own = [str(place.own)]
    (run,) = run_commands([[*command, *(["--overwrite"] if overwrite else [])]], place, tmp_path / "scratch", own)
    assert run["code"] == (0 if overwrite and name in REPLACED else 4), run["err"]
    assert not run["violations"], run["violations"]
    assert _unprintable(run["err"]) == _unprintable(run["out"]) == []
    after = _digests(place.own)
    if run["code"] == 0:
        before.pop(str(output), None)
        after.pop(str(output))
    assert after == before
    assert sorted(os.listdir(place.own)) == there
