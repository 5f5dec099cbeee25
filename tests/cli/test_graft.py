"""`ckptdoctor graft` on the command line: codes, plans, receipts, refusals."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import ckptdoctor
from ckptdoctor.cli import cli


def run(*words: str | Path) -> Result:
    """Runs the command line in this process."""
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.fixture
def files(tmp_path: Path, fixtures_dir: Path) -> Path:
    """A folder with copies of the fixtures, to graft in."""
    folder = tmp_path / "files"
    shutil.copytree(fixtures_dir / "run-a", folder / "run-a")
    for name in ("whole-model.h5", "optimizer.pkl", "keras3.keras", "weights-only.h5", "lost.weights.h5"):
        shutil.copy(fixtures_dir / name, folder / name)
    shutil.copytree(fixtures_dir / "savedmodel", folder / "savedmodel")
    return folder


def into_keras3(files: Path, output: Path) -> list[str | Path]:
    """The words of a graft of run-a into keras3.keras."""
    return ["graft", "--from", files / "run-a", "--into", files / "keras3.keras", "--output", output]


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its digest."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize(
    ("donor", "target", "output"),
    [
        ("run-a", "keras3.keras", "out.keras"),
        ("keras3.keras", "run-a", "out-1"),
        ("optimizer.pkl", "whole-model.h5", "out.h5"),
        ("whole-model.h5", "lost.weights.h5", "out.weights.h5"),
        ("run-a", "savedmodel", "out"),
        ("run-a", "savedmodel", "out/"),
        ("whole-model.h5", "optimizer.pkl", "out.pkl"),
    ],
)
def test_a_graft(files: Path, donor: str, target: str, output: str) -> None:
    """OUT holds the donor's count and slots in the target's format, and the inputs are what they were."""
    before = digests(files)
    extra = ["--as", "keras2"] if target in {"savedmodel", "lost.weights.h5"} else []
    result = run("graft", "--from", files / donor, "--into", files / target, "--output", files / output, *extra)
    assert result.exit_code == 0, result.output
    (made,) = ckptdoctor.inspect(files / output)
    assert (made.status.value, made.optimizers[0].iterations) == ("complete", 7)
    assert len(made.optimizers[0].slots) == 8
    after = digests(files)
    assert {name: after[name] for name in before} == before
    assert not [name for name in os.listdir(files) if name.startswith(".ckptdoctor")]


def test_a_dry_run_writes_nothing(files: Path) -> None:
    """--dry-run prints the plan and leaves the disk alone."""
    before = digests(files)
    result = run(*into_keras3(files, files / "o.keras"), "--dry-run")
    assert result.exit_code == 0
    assert "would write Adam at iteration 7" in result.stdout
    assert "same path" in result.stdout
    assert digests(files) == before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--from", "run-a", "--into", "keras3.keras", "--output", "whole-model.h5"], "exists already"),
        (["--from", "run-a", "--into", "keras3.keras", "--output", "keras3.keras"], "one of the inputs"),
        (["--from", "run-a", "--into", "keras3.keras", "--output", "no/o"], "does not exist"),
        (["--from", "run-a", "--into", "weights-only.h5", "--output", "o"], "has no place for optimizer state"),
        (
            ["--from", "run-a", "--into", "lost.weights.h5", "--output", "o.weights.h5", "--as", "optimizer-v2"],
            "never hold the",
        ),
        (["--from", "run-a", "--into", "keras3.keras", "--output", "o.keras", "--as", "tf1"], "never hold the state"),
        (
            ["--from", "keras3.keras", "--into", "run-a", "--output", "o", "--as", "keras1"],
            "never part of",
        ),
        (["--from", "run-a", "--into", "optimizer.pkl", "--output", "o", "--as", "tf1"], "no list of weights"),
    ],
)
def test_a_dry_run_refuses_what_the_graft_would(
    files: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    """A plan that could not be carried out is no plan: code 4 and the sentence that the graft itself has."""
    monkeypatch.chdir(files)
    before = digests(files)
    for extra in (["--dry-run"], []):
        result = run("graft", *words, *extra)
        assert result.exit_code == 4, result.output
        assert says in result.stderr
    assert digests(files) == before


def test_a_dry_run_may_overwrite(files: Path) -> None:
    """What --overwrite allows is allowed to the plan as well, and stays."""
    out = files / "o.keras"
    out.write_text("old")
    words = [*into_keras3(files, out), "--overwrite"]
    assert run(*words, "--dry-run").exit_code == 0
    assert out.read_text() == "old"


def test_a_plan_says_bytes_and_what_stays_empty(files: Path) -> None:
    """Each slot has its size, their sum is there too, and an empty slot was matched by nothing."""
    words = into_keras3(files, files / "o.keras")
    plan = json.loads(run(*words, "--dry-run", "--format", "json").stdout)["plan"]["optimizer"]
    assert plan["bytes"] == sum(slot["bytes"] for slot in plan["slots"]) == 2 * (24 + 8 + 16 + 2) * 4
    words = ["graft", "--into", files / "keras3.keras", "--output", files / "o.keras", "--dry-run", "--partial"]
    donor: list[str | Path] = ["--from", files / "count", "--optimizer-class", "Adam"]
    (files / "count").write_bytes(pickle.dumps([np.array(7), np.array(0.01, "f4")]))
    slots = json.loads(run(*words, *donor, "--format", "json").stdout)["plan"]["optimizer"]["slots"]
    assert {(slot["from"], slot["matched"]) for slot in slots} == {(None, None)}
    assert "same path" not in run(*words, *donor).stdout


def test_a_quiet_plan(files: Path) -> None:
    """--quiet leaves one line of a plan, as Markdown too."""
    words = into_keras3(files, files / "o.keras")
    for form in ("text", "markdown"):
        (line,) = run(*words, "--dry-run", "--quiet", "--format", form).stdout.splitlines()
        assert "would write Adam at iteration 7" in line


def test_the_receipt_as_json(files: Path) -> None:
    """The receipt names inputs and outputs with their digests, and every slot with its source."""
    out = files / "o.keras"
    result = run(*into_keras3(files, out), "--format", "json")
    receipt = json.loads(result.stdout)
    assert receipt["schema"] == "ckptdoctor.graft/1"
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    assert receipt["outputs"] == [{"path": str(out), "size": out.stat().st_size, "sha256": digest, "omitted": None}]
    assert {Path(each["path"]).name for each in receipt["inputs"]} == {
        "ckpt-7.index",
        "ckpt-7.data-00000-of-00001",
        "keras3.keras",
    }
    assert len(receipt["plan"]["optimizer"]["slots"]) == 8
    assert all(slot["from"] for slot in receipt["plan"]["optimizer"]["slots"])


def test_large_files_are_digested_on_demand(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large file the receipt says that it was not digested, and by which option it will be."""
    out = files / "o.keras"
    words = [*into_keras3(files, out), "--overwrite"]
    monkeypatch.setattr("ckptdoctor.grafting.building.receipt.DIGESTED", 2000)
    receipt = json.loads(run(*words, "--format", "json").stdout)
    everything = receipt["inputs"] + receipt["outputs"]
    assert {each["sha256"] is None for each in everything} == {True, False}
    for each in everything:
        assert (each["sha256"] is None) == (each["size"] > 2000)
        assert each["omitted"] == (None if each["sha256"] else "larger than 64 MiB: --sha256 digests it too")
    assert "not of" in run(*words).stdout
    told = run(*words, "--sha256")
    assert told.exit_code == 0
    assert "not of" not in told.stdout
    shown = told.stdout.replace("\n", "").replace(" ", "")
    for path in (out, files / "keras3.keras", files / "run-a/ckpt-7.index"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() in shown


def test_a_count_by_hand(files: Path) -> None:
    """--iterations alone sets the count and keeps everything else."""
    out = files / "o.h5"
    result = run("graft", "--into", files / "whole-model.h5", "--output", out, "--iterations", "4242")
    assert "8 as they were, 0 empty" in result.output
    assert "donor" not in result.output
    assert result.exit_code == 0, result.output
    before, after = ckptdoctor.inspect(files / "whole-model.h5", stats=True)[0], ckptdoctor.inspect(out, stats=True)[0]
    assert after.optimizers[0].iterations == 4242
    means = [
        sorted(str(each.mean) for ref, each in x.statistics.items() if each and ref.shape) for x in (before, after)
    ]
    assert means[0] == means[1]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--from", "weights-only.h5", "--into", "run-a", "--output", "o"], 4, "holds no optimizer state"),
        (["--from", "run-a", "--into", "weights-only.h5", "--output", "o"], 4, "has no place for optimizer state"),
        (["--from", "run-a", "--into", "keras3.keras", "--output", "whole-model.h5"], 4, "exists already"),
        (
            ["--from", "run-a", "--into", "keras3.keras", "--output", "keras3.keras", "--overwrite"],
            4,
            "one of the inputs",
        ),
        (["--from", "run-a", "--into", "keras3.keras", "--output", "savedmodel/../no/o"], 4, "does not exist"),
        (["--from", "nowhere", "--into", "run-a", "--output", "o"], 2, "no such file"),
        (["--from", "run-a", "--into", "run-a", "--output", "o", "--map", "a"], 2, "OLD=NEW"),
        (["--from", "run-a", "--into", "run-a", "--output", "o", "--map", "a=b"], 4, "no variable 'a'"),
        (["--from", "run-a", "--into", "run-a", "--output", "o", "--optimizer", "no"], 4, "no optimizer 'no'"),
        (["--into", "run-a", "--output", "o"], 4, "neither a donor nor a count"),
        (["--from", "run-a", "--into", "run-a", "--output", "o", "--as", "keras9"], 2, "keras9"),
        (["--from", "run-a", "--output", "o"], 2, "--into"),
    ],
)
def test_refusals(files: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, says: str) -> None:
    """A refusal is one sentence and its code, and nothing is written."""
    monkeypatch.chdir(files)
    before = digests(files)
    result = run("graft", *words)
    assert result.exit_code == code
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert digests(files) == before


def test_a_broken_donor(files: Path) -> None:
    """A donor that cannot be read is code 3."""
    (files / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + b"x" * 100)
    result = run("graft", "--from", files / "broken.h5", "--into", files / "run-a", "--output", files / "o")
    assert result.exit_code == 3
    assert not (files / "o.index").exists()


def test_overwrite(files: Path) -> None:
    """--overwrite replaces what lies at OUT."""
    out = files / "o.keras"
    out.write_text("old")
    result = run(*into_keras3(files, out), "--overwrite")
    assert result.exit_code == 0, result.output
    assert ckptdoctor.inspect(out)[0].status.value == "complete"


def test_a_link_shares_the_data(files: Path) -> None:
    """--link shares unchanged shards: the result's data file is the target's."""
    result = run(
        "graft", "--from", files / "run-a/ckpt-7", "--into", files / "run-a/ckpt-3", "--output", files / "l", "--link"
    )
    assert result.exit_code == 0, result.output
    assert os.path.samefile(next(files.glob("l.data-00000-of-*")), files / "run-a/ckpt-3.data-00000-of-00001")
    assert ckptdoctor.inspect(files / "l")[0].optimizers[0].iterations == 7


def test_maps_come_from_a_file_too(files: Path) -> None:
    """--map-file holds OLD=NEW lines; comments are left out."""
    (files / "maps").write_text("# the layers\nhidden/kernel=hidden/kernel\n\n")
    result = _graft_by_map(files)
    assert result.exit_code == 0, result.output
    assert "--map" in result.stdout


def _graft_by_map(files: Path) -> Result:
    """Grafts with the map file that a test wrote."""
    return run(*into_keras3(files, files / "o.keras"), "--map-file", files / "maps")


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"hidden/kernel = hidden/kernel\xff", "is not text in UTF-8"), (None, "cannot be read"), (b"a\n", "OLD=NEW")],
)
def test_a_map_file_that_cannot_be_read(files: Path, content: bytes | None, says: str) -> None:
    """It is wrong use, in one sentence."""
    if content is not None:
        (files / "maps").write_bytes(content)
    result = _graft_by_map(files)
    assert result.exit_code == 2
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_spaces_around_the_sign_in_a_map_file(files: Path) -> None:
    """`old = new` is `old=new`, and a comment may be indented."""
    (files / "maps").write_text("  # the layers\n hidden/ = hidden/ \n")
    result = _graft_by_map(files)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--into", "fresh.keras", "--iterations", "3"], "the target's Adam never stepped and holds no slots"),
        (["--from", "run-a", "--into", "fresh.keras", "--only", "iterations"], "the target's Adam never stepped"),
        (["--from", "run-a", "--into", "lost.weights.h5", "--only", "iterations"], "the target has no optimizer"),
    ],
)
def test_a_part_for_a_target_without_state(
    files: Path, museum: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], says: str
) -> None:
    """The sentence is about the target: no donor is blamed for what it was not asked for."""
    monkeypatch.chdir(files)
    shutil.copy(museum / "keras/k3.0jax-untrained-keras.keras", "fresh.keras")
    result = run("graft", *words, "--output", "o.keras")
    assert result.exit_code == 4
    assert says in result.stderr
    assert "donor's optimizer" not in result.stderr


def test_another_count_in_tensorflow_1(tmp_path: Path, fixtures_dir: Path) -> None:
    """The beta powers are those of the count that is set by hand."""
    result = run("graft", "--into", fixtures_dir / "tf1", "--iterations", "20", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    (before,), (after,) = ckptdoctor.inspect(fixtures_dir / "tf1"), ckptdoctor.inspect(tmp_path / "out")
    old, new = before.optimizers[0], after.optimizers[0]
    assert (old.iterations, new.iterations) == (7, 20)
    powers = {other.name: other.value for other in new.other}
    assert powers == pytest.approx({"beta1_power": 0.9**21, "beta2_power": 0.999**21}, rel=1e-5)
