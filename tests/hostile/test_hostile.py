"""Every hostile artifact goes through every command: a result, a finding or one clear sentence, and nothing else done.

What has to hold is in `check_run`; what each artifact should be called is beside the function that builds it. A case is
one child process (child.py), which runs its commands one after the other under an audit hook.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hostile.bundles import bundles
from hostile.cases import FIXTURES, USUAL, Case, Place
from hostile.commands import run_commands
from hostile.filesystem import paths
from hostile.hdf5_content import contents
from hostile.hdf5_files import hdf5
from hostile.orbax import orbax
from hostile.pickles import pickles
from hostile.protobufs import protobufs
from hostile.torch_code import torch_code
from hostile.torch_files import torch_files
from hostile.zip_files import archives
from support.pace import slowness

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked what was opened (inotify)")

CASES = [
    case
    for family in (hdf5, contents, archives, bundles, protobufs, pickles, orbax, torch_code, torch_files, paths)
    for case in family.cases
]
MEGABYTES = 300
SAMPLE = 8
"""Of every so many cases of a family that take the usual time the other reports and the grafts are tried.

`nightly` has the others.
"""
_CHECKS = ("--no-config", "--deep")
_ANNOTATION = re.compile(r"::(error|warning|notice|group|endgroup)[^:]*::")
_BIDIRECTIONAL = range(0x202A, 0x202F)


def is_large(case: Case) -> bool:
    """Whether it takes longer than others: of these the ordinary run leaves the table of tensors out, too."""
    return case.expected.cpu > USUAL


def sampled(cases: list[Case]) -> list[Any]:
    """The cases as parameters, those that are not in the sample marked `nightly`."""
    met: Counter[str] = Counter()
    found = []
    for case in cases:
        family = case.name.partition(":")[0]
        marks = [pytest.mark.nightly] if is_large(case) or met[family] % SAMPLE else []
        met[family] += not is_large(case)
        found.append(pytest.param(case, id=case.name, marks=marks))
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_read_and_judged(case: Case, tmp_path: Path) -> None:
    """An artifact from a stranger is read and judged without any harm."""
    scene = Scene(case, tmp_path)
    runs = scene.run(
        ["inspect", "--format", "json", "--", scene.target],
        *([] if is_large(case) else [["inspect", "--tensors", "--", scene.target]]),
        *([] if case.is_endless else [["check", *_CHECKS, "--fail-on", "warning", "--", scene.target]]),
    )
    judged = 1 if is_large(case) else 2
    check_inspection(case, *runs[:judged])
    for run in runs[judged:]:
        check_judgement(case, run)


@pytest.mark.parametrize("case", sampled([case for case in CASES if not case.is_endless]))
def test_reported_and_grafted(case: Case, tmp_path: Path) -> None:
    """The other reports, and grafts of it and into it: nothing is left behind, or a result that can be read."""
    scene = Scene(case, tmp_path)
    outputs = [scene.scratch / name for name in ("a", "b")]
    for each in outputs:
        each.mkdir()
    grafts = (scene.target, scene.partner), (scene.partner, scene.target)
    if is_large(case):
        scene.run(["inspect", "--tensors", "--", scene.target])
    runs = scene.run(
        ["inspect", "--format", "markdown", "--stats", "--", scene.target],
        ["check", *_CHECKS, "--format", "github", "--", scene.target],
        *(
            ["graft", "--from", donor, "--into", target, "--output", str(folder / f"out{_suffix(target)}")]
            for (donor, target), folder in zip(grafts, outputs, strict=True)
        ),
    )
    check_annotations(case, runs[1])
    for folder, run in zip(outputs, runs[2:], strict=True):
        left = os.listdir(folder)
        assert bool(left) == (run["code"] == 0), f"left behind: {left}"
        assert not [name for name in left if name.startswith(".ckptdoctor")]
        if left:
            check_readable(folder / left[0], scene.place, scene.scratch)


class Scene:
    """A case that was built, and what it is grafted with."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        self.place = _place(folder)
        self.scratch = folder / "scratch"
        self.target = os.fspath(case.build(self.place))
        self.partner = os.fspath(FIXTURES / case.partner)

    def run(self, *commands: list[str]) -> list[dict[str, Any]]:
        """What commands did, of which none changed an input."""
        before = _digests(self.place.own)
        own = [str(self.place.own), self.partner, self.target]
        runs = run_commands(list(commands), self.place, self.scratch, own, fresh=self.case.fresh)
        for command, run in zip(commands, runs, strict=True):
            check_run(command, run, self.case)
        assert _digests(self.place.own) == before, "an input was changed"
        return runs


def _place(folder: Path) -> Place:
    place = Place(folder / "own", folder / "secret")
    for each in (place.own, place.secret, place.secret / "plugins", folder / "scratch"):
        each.mkdir()
    return place


def _suffix(path: str) -> str:
    return suffix if (suffix := Path(path).suffix) in {".h5", ".keras", ".pkl", ".npz", ".npy", ".json"} else ""


def check_run(command: list[str], run: dict[str, Any], case: Case) -> None:
    """What holds for every command on every artifact."""
    used = f"{run['cpu']:.1f} s, {run['megabytes']:.0f} MB"
    told = f"{' '.join(command)}: {run['code']}, {used}\n{run['err'][-2000:]}\n{run['out'][-1000:]}"
    assert run["code"] in ({0, 2, 3, 4} if command[0] == "graft" else {0, 1, 2, 3}), told
    assert "Traceback" not in run["err"], told
    assert "defect of ckptdoctor" not in run["err"], told
    assert not run["violations"], f"{run['violations'][:20]}\n{told}"
    assert not run["secrets"], f"{run['secrets']}\n{told}"
    for stream in ("out", "err"):
        assert _unprintable(run[stream]) == [], told
    if run["code"] and command[0] != "check":
        assert len(run["err"].splitlines()) == 1, told
        assert run["err"].startswith("ckptdoctor: "), told
    scans = "--stats" in command or "--deep" in command or command[0] == "graft"
    assert run["megabytes"] < MEGABYTES or (scans and case.expected.cpu > 2), told
    limit = case.expected.cpu * (3 if scans else 1)
    # How slow the machine is changes within seconds where others run on it.
    assert run["cpu"] < limit or run["cpu"] < 1.5 * limit * slowness(), told


def _unprintable(text: str) -> list[str]:
    return [
        char
        for char in text
        if (not char.isprintable() and char != "\n") or ord(char) in _BIDIRECTIONAL or 0xD800 <= ord(char) < 0xE000
    ]


def check_inspection(case: Case, as_json: dict[str, Any], as_text: dict[str, Any] | None = None) -> None:
    """What `inspect` should say of this artifact."""
    expected = case.expected
    document = json.loads(as_json["out"])
    entries = document["artifacts"]
    as_text = as_text or {**as_json, "out": ""}
    said = f"{as_json['out']}\n{as_text['out']}\n{as_text['err']}"
    told = f"{as_json['code']}\n{as_text['out']}\n{as_text['err']}"
    findings = [each for entry in entries for each in entry["findings"]]
    if expected.code >= 0:
        assert as_json["code"] == as_text["code"] == expected.code, told
    assert expected.says in said, told
    if expected.finding:
        assert expected.finding in {each["code"] for each in findings}, told
        assert any(expected.says in each["message"] for each in findings if each["code"] == expected.finding), told
    elif expected.code == -1:
        clean = all(entry["status"] in {"complete", "fresh"} and not entry["findings"] for entry in entries)
        assert as_json["code"] == 3 or not clean, f"it was called clean\n{told}"
    elif expected.code == 3:
        assert all(entry["status"] == "unreadable" for entry in entries), told


def check_judgement(case: Case, run: dict[str, Any]) -> None:
    """What `check` should say: nothing bad passes."""
    told = f"{run['code']}\n{run['out'][-2000:]}\n{run['err']}"
    if case.expected.code in {2, 3}:
        assert run["code"] == case.expected.code, told
    elif case.expected.finding or case.expected.code == -1:
        assert run["code"] in {1, 3}, f"it passed\n{told}"


def check_annotations(case: Case, run: dict[str, Any]) -> None:
    """No name becomes a command of GitHub's."""
    if case.expected.code in {2, 3}:
        assert run["code"] == case.expected.code, run["err"]
    for line in run["out"].splitlines():
        head = _ANNOTATION.match(line)
        assert "::" not in line or head, line
        assert not head or "::" not in line[: head.end() - 2].removeprefix("::"), line
        assert "pwned%0A" not in line, line


def check_readable(path: Path, place: Place, scratch: Path) -> None:
    """A result that was put in place can be read."""
    path = Path(str(path).partition(".data-")[0].removesuffix(".index"))
    (run,) = run_commands([["inspect", "--format", "json", "--", str(path)]], place, scratch, [str(scratch)])
    assert run["code"] == 0, run["err"]


def _digests(folder: Path) -> dict[str, str]:
    """Digests of all regular files below a folder."""
    found = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    digest = hashlib.sha256()
                    while block := file.read(1 << 20):
                        digest.update(block)
                found[path] = digest.hexdigest()
    return found
