"""`ckptdoctor check` as users and pipelines run it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.commands import ckptdoctor

from ckptdoctor.cli import cli


def run(*arguments: str | Path) -> Result:
    """Runs the command in this process; a traceback is a failure."""
    result = CliRunner().invoke(cli, ["check", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without a configuration."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def good(fixtures_dir: Path) -> Path:
    """A complete artifact."""
    return fixtures_dir / "whole-model.h5"


@pytest.fixture
def weights(fixtures_dir: Path) -> Path:
    """Weights alone."""
    return fixtures_dir / "weights-only.h5"


def test_exit_codes(good: Path, weights: Path, tmp_path: Path) -> None:
    """0 without findings, 1 with, 2 for what is not there, 3 for what cannot be read; the highest wins."""
    empty = tmp_path / "empty.keras"
    empty.write_bytes(b"")
    assert run(good).exit_code == 0
    assert run(good, weights).exit_code == 1
    assert run(good, weights, tmp_path / "nowhere").exit_code == 2
    assert run(empty, tmp_path / "nowhere", weights, good).exit_code == 3


def test_wrong_use(good: Path) -> None:
    """No path, unknown codes and settings are wrong use, each with a sentence."""
    assert "no path is given" in run().stderr
    assert run().exit_code == 2
    result = run(good, "--select", "Q1")
    assert (result.exit_code, "names no rule: 'Q1'" in result.stderr) == (2, True)
    result = run(good, "--report", "pdf=x")
    assert (result.exit_code, "should be FORM=FILE" in result.stderr) == (2, True)
    result = run(good, "--loader", "keras")
    assert result.exit_code == 2


def test_expect(good: Path, weights: Path) -> None:
    """What an artifact is for decides what is wrong with it."""
    assert run(weights, "--expect", "weights-only").exit_code == 0
    assert run(good, "--expect", "weights-only").exit_code == 1
    assert run(weights, "--expect", "resumable").exit_code == 1


def test_select_and_ignore(weights: Path) -> None:
    """Prefixes, commas and repetition."""
    assert run(weights, "--ignore", "S").exit_code == 0
    assert run(weights, "--select", "I,V").exit_code == 0
    assert run(weights, "--select", "I", "--select", "S001").exit_code == 1


def test_fail_on(good: Path, tmp_path: Path) -> None:
    """A warning fails where that is asked for."""
    renamed = shutil.copy(good, tmp_path / "model.keras")
    assert run(renamed).exit_code == 0
    result = run(renamed, "--fail-on", "warning")
    assert (result.exit_code, "P004" in result.stdout) == (1, True)


def test_configuration(weights: Path, tmp_path: Path) -> None:
    """The nearest configuration holds, unless it is left out or the command line says otherwise."""
    (tmp_path / "here" / "pyproject.toml").write_text('[tool.ckptdoctor]\nexpect = "weights-only"\n')
    assert run(weights).exit_code == 0
    assert run(weights, "--no-config").exit_code == 1
    assert run(weights, "--expect", "resumable").exit_code == 1
    (tmp_path / "other.toml").write_text('ignore = ["S001"]\n')
    assert run(weights, "--config", tmp_path / "other.toml").exit_code == 0


def test_explain_config(tmp_path: Path) -> None:
    """What is in force, and from where; nothing is checked."""
    (tmp_path / "here" / "ckptdoctor.toml").write_text("min-iterations = 5\n")
    result = run("--explain-config", "--deep")
    assert result.exit_code == 0
    assert "min-iterations = 5  # ckptdoctor.toml\n" in result.stdout
    assert "deep = true  # command line\n" in result.stdout
    assert 'expect = "resumable"  # default\n' in result.stdout
    document = json.loads(run("--explain-config", "--deep", "--format", "json").stdout)
    assert (document["schema"], document["policy"]["min-iterations"]) == ("ckptdoctor.check-config/1", 5)


def test_an_unknown_setting(good: Path, tmp_path: Path) -> None:
    """A misspelt setting stops the check: a policy that is not understood must not pass."""
    (tmp_path / "here" / "ckptdoctor.toml").write_text("min-iteration = 5\n")
    result = run(good)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "unknown setting 'min-iteration'; did you mean 'min-iterations'?" in result.stderr


def test_further_reports(good: Path, weights: Path, tmp_path: Path) -> None:
    """Reports go to files beside what goes to stdout, also of a check that fails."""
    out = tmp_path / "out"
    out.mkdir()
    result = run(good, weights, "--report", f"json={out / 'r.json'}", "--report", f"junit={out / 'r.xml'}")
    assert result.exit_code == 1
    document = json.loads((out / "r.json").read_text(encoding="utf-8"))
    assert [each["passed"] for each in document["artifacts"]] == [True, False]
    assert (out / "r.xml").read_text(encoding="utf-8").startswith("<?xml")
    assert "resumes at iteration 7" in result.stdout


def test_a_report_that_cannot_be_written(good: Path, tmp_path: Path) -> None:
    """A report that is lost is an error, not a success."""
    result = run(good, "--report", f"json={tmp_path / 'no' / 'such' / 'r.json'}")
    assert (result.exit_code, "cannot be written" in result.stderr) == (2, True)


def test_json_is_one_document(good: Path, weights: Path) -> None:
    """Stdout is the document and nothing else; per artifact it is what inspect says, with the findings in force."""
    result = run(good, weights, "--format", "json", "--ignore", "S001")
    document = json.loads(result.stdout)
    assert document["schema"] == "ckptdoctor.check/1"
    assert [each["status"] for each in document["artifacts"]] == ["complete", "absent"]
    assert all(each["code"] != "S001" for artifact in document["artifacts"] for each in artifact["findings"])


def test_quiet(good: Path, weights: Path) -> None:
    """A line each, and one for all."""
    lines = run(good, weights, "--quiet").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "failed", "2"]


def test_exit_zero(weights: Path, tmp_path: Path) -> None:
    """Findings are told and the code is 0; wrong use and what cannot be read keep theirs."""
    result = run(weights, "--exit-zero")
    assert (result.exit_code, "S001" in result.stdout) == (0, True)
    assert run(tmp_path / "nothing.h5", "--exit-zero").exit_code == 2
    (tmp_path / "empty.h5").write_bytes(b"")
    assert run(tmp_path / "empty.h5", "--exit-zero").exit_code == 3


def test_paths_from_standard_input(good: Path, weights: Path) -> None:
    """`-` stands for paths, one a line, among others; empty lines are none."""
    listed = f"{good}\n\n{weights}\r\n".encode()
    runner = CliRunner()
    done = runner.invoke(cli, ["check", "-q", "-", str(good)], input=listed)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["ok", "failed", "ok", "3"]
    assert runner.invoke(cli, ["inspect", "-q", "-"], input=listed).stdout.count("\n") == 2
    for command in ("check", "inspect"):
        nothing = runner.invoke(cli, [command, "-"], input=b"\n")
        assert (nothing.exit_code, nothing.stderr.count("no path is given")) == (2, 1)


def test_output_file(weights: Path, tmp_path: Path) -> None:
    """With --output-file stdout stays empty."""
    result = run(weights, "--output-file", tmp_path / "out.txt")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "S001" in (tmp_path / "out.txt").read_text(encoding="utf-8")


def test_nothing_of_a_framework(good: Path) -> None:
    """A check imports no framework, and no rich or numpy where nothing is drawn or scanned."""
    code = (
        "import sys; from ckptdoctor.cli import cli; cli(['check', sys.argv[1], '--format', 'json'], "
        "standalone_mode=False); print([each for each in ('tensorflow', 'keras', 'tf_keras', 'torch', 'rich') "
        "if each in sys.modules])"
    )
    from support.commands import python

    assert python("-c", code, str(good)).out.splitlines()[-1] == "[]"


def test_names_are_escaped(weights: Path, tmp_path: Path) -> None:
    """No control character of a name reaches the terminal."""
    odd = shutil.copy(weights, tmp_path / "a\x1b[31m\n::error::b.h5")
    result = ckptdoctor("check", odd)
    assert result.code == 1
    assert "\x1b" not in result.out
    assert "\\n::error::b.h5" in result.out


def test_an_output_that_is_no_file(weights: Path, tmp_path: Path) -> None:
    """A pipe or a device is written to, never replaced by a file; a link stays one."""
    pipe, target, link = tmp_path / "pipe", tmp_path / "target.txt", tmp_path / "link.txt"
    os.mkfifo(pipe)
    link.symlink_to(target)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
    assert run(weights, "--output-file", pipe).exit_code == 1
    assert "S001" in reader.communicate(timeout=10)[0]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert run(weights, "--output-file", link).exit_code == 1
    assert link.is_symlink()
    assert "S001" in target.read_text(encoding="utf-8")
