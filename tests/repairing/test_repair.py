"""`repair`: what it finds, what it writes and where, what it refuses, and what it leaves when it cannot end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.commands import ckptdoctor as command
from support.commands import environment

import ckptdoctor
from ckptdoctor.diagnosis.rules import BY_CODE
from ckptdoctor.errors import Refused, UsageProblem
from ckptdoctor.formats.registry import named
from ckptdoctor.grafting.building.staging import publish
from ckptdoctor.repairing import carrying
from ckptdoctor.repairing.fixes import FIXES, fix


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its digest."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def codes(path: Path) -> set[str]:
    """The codes of what the rules find."""
    (found,) = ckptdoctor.inspect(path)
    return {each.code for each in found.findings}


def could(path: Path, *words: str) -> list[str]:
    """The fixes that are listed."""
    result = command("repair", "--list", path, "--format", "json", *words)
    assert result.code == 0, result.err
    return [each["name"] for each in json.loads(result.out)["could"]]


# -------------------------------------------------------------------------------------------------------- the table


def test_the_table() -> None:
    """Names are unique, functions are there, and codes are of rules."""
    assert len({each.name for each in FIXES}) == len(FIXES)
    for each in FIXES:
        assert set(each.codes) <= BY_CODE.keys()
        assert each.beside or each.look or (each.find and each.mend)
        assert bool(each.find) == bool(each.mend)
        assert all(callable(named(function)) for function in (each.find, each.mend, each.look) if function)
        assert fix(each.name) is each
    with pytest.raises(UsageProblem, match="did you mean text-indices"):
        fix("text-index")


@pytest.mark.parametrize(
    ("path", "name", "code"),
    [
        ("torch2.13/text-indices.pt", "text-indices", "S017"),
        ("orbax-keras3.15-jax/sequential", "orbax-paths", "L002"),
        ("orbax-keras3.15-jax/subclass", "orbax-paths", "L002"),
        ("orbax-keras3.15-jax/nested", "orbax-paths", "L002"),
        ("torch2.13/trainer/checkpoint-7", "trainer-state", ""),
    ],
)
def test_what_is_found_is_mended(museum: Path, tmp_path: Path, path: str, name: str, code: str) -> None:
    """It is listed, and afterwards neither listed nor found by its rule; the input stays as it is."""
    source, out = museum / path, tmp_path / Path(path).name
    before = digests(source.parent)
    assert not code or code in codes(source)
    assert name in could(source)
    assert f"--fix {name}" in command("repair", "--list", source).out or fix(name).safe
    done = ckptdoctor.repair(source, out, fixes=[name])
    assert [each.fix.name for each in done.done] == [name]
    assert not code or code not in codes(out)
    assert name not in could(out)
    assert digests(source.parent) == before
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(Refused, match="nothing to mend"):
        ckptdoctor.repair(out, tmp_path / "again", fixes=[name])


@pytest.mark.parametrize("path", ["keras/tf2.10-adam-h5.h5", "torch2.13/adam.pt"])
def test_another_rate(museum: Path, tmp_path: Path, path: str) -> None:
    """The rate is the one that was said, and nothing else is another one; where it is that already, nothing is done."""
    source, out = museum / path, tmp_path / Path(path).name
    ckptdoctor.repair(source, out, fixes=["learning-rate"], learning_rate=0.125)
    found = ckptdoctor.inspect(out)[0].optimizers[0].hyperparameters
    assert 0.125 in {found.get("learning_rate"), found.get("lr")}
    compared = ckptdoctor.diff(source, out, values=True, weights=True)
    different = {item.name for each in compared.optimizers for item in each.items if item.outcome.value == "different"}
    assert different <= {"learning_rate", "lr"}
    assert all(slot.outcome.value == "equal" for each in compared.optimizers for slot in each.slots)
    with pytest.raises(Refused, match="nothing to mend"):
        ckptdoctor.repair(out, tmp_path / "again", fixes=["learning-rate"], learning_rate=0.125)


def test_the_hint_is_a_command(museum: Path, tmp_path: Path) -> None:
    """What the finding says can be copied into a shell, and mends it."""
    shutil.copy(museum / "torch2.13/text-indices.pt", tmp_path / "a.pt")
    (found,) = ckptdoctor.inspect(tmp_path / "a.pt")
    (hint,) = [each.hint for each in found.findings if each.code == "S017"]
    program, *words = hint.split()
    assert program == "ckptdoctor"
    assert command(*words).code == 0
    assert "S017" not in codes(tmp_path / "a-repaired.pt")


# ---------------------------------------------------------------------------------------------------- where it goes


def test_in_place(museum: Path, tmp_path: Path) -> None:
    """The result has the name, the original another one, which nothing ever overwrites."""
    path = Path(shutil.copy(museum / "torch2.13/text-indices.pt", tmp_path / "a.pt"))
    original = path.read_bytes()
    result = command("repair", path, "--in-place", "--format", "json")
    said = json.loads(result.out)
    assert (result.code, said["output"], said["backup"]) == (0, str(path), f"{path}.bak")
    assert sorted(os.listdir(tmp_path)) == ["a.pt", "a.pt.bak"]
    assert (tmp_path / "a.pt.bak").read_bytes() == original
    assert "S017" not in codes(path)
    path.write_bytes(original)
    refused = command("repair", path, "--in-place")
    assert (refused.code, "never overwritten" in refused.err) == (4, True)
    assert (path.read_bytes(), (tmp_path / "a.pt.bak").read_bytes()) == (original, original)
    os.unlink(tmp_path / "a.pt.bak")
    os.link(path, tmp_path / "a.pt.bak")  # what a repair leaves that was killed before its last step
    assert command("repair", path, "--in-place").code == 0
    assert (tmp_path / "a.pt.bak").read_bytes() == original


def test_a_directory_in_place(museum: Path, tmp_path: Path) -> None:
    """Every file of the original is kept, and none of the mended one is its."""
    path = Path(shutil.copytree(museum / "torch2.13/trainer/checkpoint-7", tmp_path / "checkpoint-7"))
    before = digests(path)
    assert command("repair", path, "--in-place").code == 0
    assert sorted(os.listdir(tmp_path)) == ["checkpoint-7", "checkpoint-7.bak"]
    assert digests(tmp_path / "checkpoint-7.bak") == before
    assert {name for name, each in digests(path).items() if before[name] != each} == {"trainer_state.json"}
    assert command("repair", path, "--in-place", "--fix", "foreign-imports").code == 4
    assert digests(tmp_path / "checkpoint-7.bak") == before


@pytest.mark.parametrize(("written", "loader"), [("5.24.0", "4.40.2"), ("4.48.3", "4.40.2"), ("4.40.2", "5.24.0")])
def test_a_trainers_other_version(museum: Path, tmp_path: Path, written: str, loader: str) -> None:
    """`check --loader` finds that it stumbles, and after the mend that it does not."""
    path = Path(shutil.copytree(museum / "torch2.13/trainer/checkpoint-7", tmp_path / "checkpoint-7"))
    (path / "config.json").write_text(json.dumps({"transformers_version": written}))
    state = json.loads((path / "trainer_state.json").read_text())
    new: dict[str, Any] = {"best_global_step": None} if written.startswith("5") else {}
    callbacks: dict[str, Any] = {"stateful_callbacks": {"TrainerControl": {"args": {}, "attributes": {}}}}
    new |= {} if written == "4.40.2" else callbacks
    state = {name: each for name, each in state.items() if name not in {"stateful_callbacks", "best_global_step"}}
    (path / "trainer_state.json").write_text(json.dumps({**state, **new}))

    def said(which: Path) -> str:
        words = ("--loader", f"transformers=={loader}", "--select", "L002", "--format", "json")
        return command("check", which, *words).out

    assert "trainer_state.json, which" in said(path)
    assert f"--fix trainer-state --loader transformers=={loader} --output" in said(path)
    words = ("--fix", "trainer-state", "--loader", f"transformers=={loader}")
    result = command("repair", path, *words, "--output", tmp_path / "checkpoint-8")
    assert result.code == 0, result.err
    assert "trainer_state.json, which" not in said(tmp_path / "checkpoint-8")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("keras/k2.0.8-adadelta-getw.pkl", ("--iterations", "7")),
        ("torch2.13/adam.pt", ("--iterations", "12")),
        ("keras/k3.15torch-adam-h5.h5", ("--iterations", "9")),
    ],
)
def test_a_count_in_every_format(museum: Path, tmp_path: Path, path: str, words: tuple[str, ...]) -> None:
    """It is set where the format has a place for it, and the slots stay."""
    out = tmp_path / Path(path).name
    result = command("repair", museum / path, "--fix", "count", *words, "--output", out)
    assert result.code == 0, result.err
    (old,), (new,) = ckptdoctor.inspect(museum / path), ckptdoctor.inspect(out)
    assert new.optimizers[0].iterations == int(words[1])
    assert len(new.optimizers[0].slots) == len(old.optimizers[0].slots) > 0


def test_a_count_that_has_no_place(museum: Path, tmp_path: Path) -> None:
    """Where beta powers tell it, there is nothing to set; where nothing could, that is said."""
    for path, words in (
        ("tf/v1.12-tf1-checkpoint_tf1opt/ckpt-1", ()), ("keras/k1.2.2-adagrad-h5.h5", ("--iterations", "7")),
    ):  # fmt: skip
        result = command("repair", museum / path, "--fix", "count", *words, "--output", tmp_path / "out.h5")
        assert (result.code, len(result.err.splitlines())) == (4, 1)
    assert os.listdir(tmp_path) == []


def test_the_best_of_a_run_that_was_moved(museum: Path, tmp_path: Path) -> None:
    """It is beside the one that names it; where it is nowhere, nothing is written."""
    for name in ("checkpoint-7", "checkpoint-5"):
        shutil.copytree(museum / "torch2.13/trainer/checkpoint-7", tmp_path / "run" / name)
    file = tmp_path / "run" / "checkpoint-7" / "trainer_state.json"
    for best, wanted in (("/gone/checkpoint-5", str(tmp_path / "run" / "checkpoint-5")), ("/gone/checkpoint-3", None)):
        state = {**json.loads(file.read_text()), "best_model_checkpoint": best}
        state["stateful_callbacks"] = {"TrainerControl": {"args": {}, "attributes": {}}}
        file.write_text(json.dumps(state))
        assert ("trainer-state" in could(file.parent)) is (wanted is not None)
        if wanted is not None:
            ckptdoctor.repair(file.parent, in_place=True, fixes=["trainer-state"])
            assert json.loads(file.read_text())["best_model_checkpoint"] == wanted


def test_several_fixes_are_one_result(museum: Path, tmp_path: Path) -> None:
    """One after the other; what lies at the output is replaced only where that is said."""
    source, out = museum / "torch2.13/trainer/checkpoint-7", tmp_path / "checkpoint-7"
    words = ("repair", source, "--output", out, "--fix", "trainer-state", "--fix", "foreign-imports")
    assert command(*words).code == 0
    assert not {"trainer-state", "foreign-imports"} & set(could(out))
    made = digests(out)
    assert command(*words).code == 4
    assert command(*words, "--overwrite").code == 0
    assert digests(out) == made
    assert os.listdir(tmp_path) == ["checkpoint-7"]


def test_wrong_use(museum: Path, tmp_path: Path) -> None:
    """Each with one sentence and its code, and nothing is written."""
    path = museum / "torch2.13/text-indices.pt"
    broken = tmp_path / "a.pt"
    broken.write_bytes(path.read_bytes()[:-300])
    (tmp_path / "b.pt").write_bytes(b"PK\3\4" + bytes(99))
    out = tmp_path / "out.pt"
    for code, words in (
        (2, (path,)), (2, (path, "--output", out, "--in-place")), (2, ()), (2, (tmp_path / "none", "--in-place")),
        (2, (path, "--output", out, "--fix", "nothing")), (2, (path, "--output", out, "--fix", "learning-rate")),
        (3, (broken, "--output", out)), (3, (tmp_path / "b.pt", "--list")),
        (4, (path, "--output", out, "--fix", "capturable")), (4, (museum / "torch2.13/weights.pt", "--output", out)),
        (4, (museum / "torch2.13/whole.pt", "--output", out, "--fix", "foreign-imports")),
        (4, (museum / "torch1.12/scheduler-swalr.pt", "--output", out, "--fix", "foreign-imports")),
        (2, (museum / "torch2.13/trainer/checkpoint-7", "--output", out, "--loader", "k==3", "--fix", "trainer-state")),
    ):  # fmt: skip
        result = command("repair", *words)
        assert (result.code, result.out) == (code, ""), (words, result)
        assert "Traceback" not in result.err
    assert sorted(os.listdir(tmp_path)) == ["a.pt", "b.pt"]
    assert command("repair", "--list").code == 0
    assert len(json.loads(command("repair", "--list", "--format", "json").out)["fixes"]) == len(FIXES)


# ------------------------------------------------------------------------------------------------ ended from outside


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_at_any_moment(museum: Path, tmp_path: Path, sign: signal.Signals) -> None:
    """In place: the name always has the old content or the new, and the old one is never lost."""
    source = museum / "torch2.13/text-indices.pt"
    old = source.read_bytes()
    path = tmp_path / "a.pt"

    def stopped(delay: float | None) -> int:
        for each in tmp_path.iterdir():
            if each.is_file():
                each.unlink()
        path.write_bytes(old)
        words = [sys.executable, "-m", "ckptdoctor", "repair", str(path), "--in-place", "-q"]
        with subprocess.Popen(
            words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            if delay is not None:
                time.sleep(delay)
                process.send_signal(sign)
            return process.wait(60)

    started = time.monotonic()
    assert stopped(None) == 0
    new = path.read_bytes()
    took = time.monotonic() - started
    ends = set()
    for step in range(12):
        ends.add(stopped(took * (0.4 + 0.6 * step / 11)))
        kept = tmp_path / "a.pt.bak"
        assert path.read_bytes() in (old, new)
        assert path.read_bytes() == old or kept.read_bytes() == old
        assert not kept.exists() or kept.read_bytes() == old
        if sign == signal.SIGINT:
            assert not list(tmp_path.glob(".*"))
    assert ends - {0}, "no signal came in time"
    assert stopped(None) == 0
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_an_end_at_the_last_step(museum: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool) -> None:  # noqa: FBT001 - a parameter
    """Ctrl-C just before or just after the result is put in place: the original is there, under one of its names."""
    path = Path(shutil.copy(museum / "torch2.13/text-indices.pt", tmp_path / "a.pt"))
    old = path.read_bytes()

    def interrupted(*arguments: Any, **options: Any) -> None:
        if late:
            publish(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(carrying, "publish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ckptdoctor.repair(path, in_place=True)
    kept = path.with_name("a.pt.bak")
    assert (path.read_bytes() == old, kept.exists()) == (not late, late)
    assert not late or kept.read_bytes() == old


def test_a_failure_leaves_no_backup(museum: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the last step fails, the original is as it was, and has no second name."""
    path = Path(shutil.copy(museum / "torch2.13/text-indices.pt", tmp_path / "a.pt"))
    original = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(Refused):
        ckptdoctor.repair(path, in_place=True)
    assert os.listdir(tmp_path) == ["a.pt"]
    assert path.read_bytes() == original
