"""`ckptdoctor inspect` as users and scripts run it."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.bundles import array, write_bundle, write_state
from support.commands import ckptdoctor
from support.objects import write_model
from support.privileges import bound_by_permissions

from ckptdoctor import __version__
from ckptdoctor.cli import cli


def run(*arguments: str) -> Result:
    """Runs a command in this process; a traceback is a failure."""
    result = CliRunner().invoke(cli, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def good(tmp_path: Path) -> str:
    """A checkpoint from which training resumes."""
    return write_model(tmp_path / "run" / "ckpt-7")


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """A checkpoint whose data file is gone."""
    prefix = write_model(tmp_path / "broken" / "ckpt-1")
    os.unlink(f"{prefix}.data-00000-of-00001")
    return prefix


# ---------------------------------------------------------------------------------------------------------- exit codes


def test_0(good: str) -> None:
    """What could be read is a success."""
    result = run("inspect", good)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{good}: resumes at iteration 7")


def test_0_whatever_it_holds(tmp_path: Path) -> None:
    """An artifact without optimizer state is no failure of inspect."""
    assert run("inspect", write_bundle(tmp_path / "p", {"w": array([1.0])})).exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect"],
        ["inspect", "no/such/path"],
        ["inspect", "--no-such-option", "."],
        ["inspect", "--format", "xml", "."],
        ["no-such-command"],
    ],
)
def test_2(arguments: list[str]) -> None:
    """Wrong use, and a path that does not exist."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr


def test_3(broken: str) -> None:
    """What cannot be read: one line on stderr that names path, file and loss."""
    result = run("inspect", broken)
    assert (result.exit_code, result.stdout) == (3, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"ckptdoctor: {broken}: data file ckpt-1.data-00000-of-00001 is missing: ")


@pytest.mark.parametrize("form", ["text", "json", "markdown"])
def test_one_of_several_is_broken(good: str, broken: str, tmp_path: Path, form: str) -> None:
    """Every path is tried and reported; the highest code counts."""
    other = write_model(tmp_path / "other", iterations=9)
    result = run("inspect", "--format", form, good, broken, other)
    assert result.exit_code == 3
    assert good in result.stdout
    assert other in result.stdout
    assert len(result.stderr.splitlines()) == 1
    if form == "json":
        statuses = [each["status"] for each in json.loads(result.stdout)["artifacts"]]
        assert statuses == ["complete", "unreadable", "complete"]


@pytest.mark.parametrize(("names", "code"), [(["good", "missing"], 2), (["missing", "broken", "good"], 3)])
def test_the_highest_code(good: str, broken: str, names: list[str], code: int) -> None:
    """Of several exit codes the highest wins, in any order, and the good one is still reported."""
    paths = {"good": good, "broken": broken, "missing": "no/such"}
    result = run("inspect", "--format", "json", *[paths[name] for name in names])
    assert result.exit_code == code
    assert good in {each["path"] for each in json.loads(result.stdout)["artifacts"]}


def test_no_permission(good: str, tmp_path: Path) -> None:
    """What may not be read is unreadable, with the reason, and the other paths are told."""
    other = write_model(tmp_path / "other", iterations=9)
    os.chmod(f"{good}.index", 0)
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "model.h5").touch()
    closed.chmod(0o600)
    with bound_by_permissions():
        results = [run("inspect", each, other) for each in (good, f"{good}.index", str(closed / "model.h5"))]
    closed.chmod(0o700)
    for result in results:
        assert (result.exit_code, result.stderr.count("permission denied")) == (3, 1), result.stderr
        assert "resumes at iteration 9" in result.stdout


# -------------------------------------------------------------------------------------------------------------- output


@pytest.mark.parametrize("flags", [[], ["--tensors"], ["--stats"], ["--tensors", "--stats"], ["--quiet"]])
def test_json_is_one_document(good: str, broken: str, flags: list[str]) -> None:
    """With --format json stdout is one document and nothing else, whatever happens."""
    result = run("inspect", "--format", "json", *flags, good, broken, "no/such")
    document = json.loads(result.stdout)
    assert document["schema"] == "ckptdoctor.inspect/1"
    assert document["version"] == __version__
    read, unread, absent = document["artifacts"]
    assert (read["status"], unread["status"], absent["status"]) == ("complete", "unreadable", "unreadable")
    assert absent["error"].startswith("no such file, directory or checkpoint prefix")


def test_tensors(good: str) -> None:
    """--tensors lists every tensor."""
    assert "hidden/kernel" not in run("inspect", good).stdout
    assert "hidden/kernel" in run("inspect", "--tensors", good).stdout


def test_stats(good: str) -> None:
    """--stats reads the data and adds figures."""
    (artifact,) = json.loads(run("inspect", "--stats", "--format", "json", good).stdout)["artifacts"]
    assert artifact["optimizers"][0]["slots"][0]["stats"]["max"] == 0.5


def test_quiet(good: str) -> None:
    """--quiet leaves the verdict."""
    assert run("inspect", "-q", good).stdout.splitlines() == [f"{good}: resumes at iteration 7 with full Adam state"]


def test_everything(tmp_path: Path) -> None:
    """--all reports every checkpoint of a folder, else the latest."""
    for number in (1, 2, 10):
        write_model(tmp_path / f"ckpt-{number}", iterations=number)
    write_state(tmp_path, "ckpt-2")
    assert "iteration 2 " in run("inspect", str(tmp_path)).stdout
    artifacts = json.loads(run("inspect", "--all", "--format", "json", str(tmp_path)).stdout)["artifacts"]
    assert [each["optimizers"][0]["iterations"] for each in artifacts] == [1, 2, 10]


def test_everything_with_a_broken_one(tmp_path: Path) -> None:
    """--all goes on past a broken checkpoint."""
    for number in (1, 2, 3):
        write_model(tmp_path / f"ckpt-{number}")
    os.truncate(tmp_path / "ckpt-2.index", 100)
    result = run("inspect", "--all", "-q", str(tmp_path))
    assert result.exit_code == 3
    assert len(result.stdout.splitlines()) == 2
    assert "ckpt-2.index" in result.stderr


def test_output_file(good: str, tmp_path: Path) -> None:
    """--output-file has the result, stdout nothing; others may read it as the umask says."""
    out = tmp_path / "report.json"
    result = run("inspect", "--format", "json", "--output-file", str(out), good)
    assert (result.exit_code, result.stdout) == (0, "")
    assert json.loads(out.read_text())["artifacts"][0]["status"] == "complete"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(out.stat().st_mode) == 0o666 & ~umask


def test_output_file_is_replaced_whole(good: str, tmp_path: Path) -> None:
    """An old report is replaced in one step: who has it open still reads the old one, and nothing else stays behind."""
    folder = tmp_path / "out"
    folder.mkdir()
    out = folder / "report.md"
    out.write_text("old")
    with out.open() as old:
        assert run("inspect", "--format", "markdown", "-o", str(out), good).exit_code == 0
        assert old.read() == "old"
    assert out.read_text().startswith("### ")
    assert os.listdir(folder) == ["report.md"]


def test_output_file_of_a_failure(good: str, broken: str, tmp_path: Path) -> None:
    """The report is written although one of the artifacts is broken, and the code says so."""
    out = tmp_path / "report.json"
    assert run("inspect", "--format", "json", "-o", str(out), good, broken).exit_code == 3
    assert len(json.loads(out.read_text())["artifacts"]) == 2


def test_output_file_of_text(good: str, broken: str, tmp_path: Path) -> None:
    """A report for people in a file has what cannot be read as well; on stdout that is left to stderr."""
    out = tmp_path / "report.txt"
    assert run("inspect", "-q", "-o", str(out), broken, good).exit_code == 3
    first, second = out.read_text().splitlines()
    assert first.startswith(f"{broken}: cannot be read: ")
    assert second.startswith(f"{good}: resumes")
    assert broken not in run("inspect", "-q", broken, good).stdout


@pytest.mark.parametrize("where", ["no/folder/report.json", "folder"])
def test_output_file_that_cannot_be(good: str, tmp_path: Path, where: str) -> None:
    """An output file that cannot be written is wrong use, in one line, and leaves nothing behind."""
    (tmp_path / "folder").mkdir()
    before = sorted(os.listdir(tmp_path))
    result = run("inspect", "--format", "json", "-o", str(tmp_path / where), good)
    assert (result.exit_code, result.stdout) == (2, "")
    assert where in result.stderr.replace("\n", "")
    assert sorted(os.listdir(tmp_path)) == before


def test_output_file_dash(good: str) -> None:
    """A dash is stdout."""
    assert json.loads(run("inspect", "--format", "json", "-o", "-", good).stdout)["artifacts"]


# ------------------------------------------------------------------------------------------------------ in a real shell


def test_as_a_module(good: str) -> None:
    """`python -m ckptdoctor` is the command."""
    result = ckptdoctor("inspect", good)
    assert (result.code, result.err) == (0, "")
    assert "resumes at iteration 7" in result.out


def test_version() -> None:
    """--version names the program and its version."""
    assert ckptdoctor("--version").out == f"ckptdoctor, version {__version__}\n"


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["inspect", "-h"], ["inspect", "--help"]])
def test_help(arguments: list[str]) -> None:
    """Help is there under both names and fits 100 columns; that of inspect has the exit codes."""
    result = run(*arguments)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert ("Exit codes" in result.stdout) is (arguments[0] == "inspect")


@pytest.mark.parametrize("command", ["inspect", "check", "diff", "graft", "verify", "explain"])
def test_help_lists_exit_codes(command: str) -> None:
    """Every command's help lists its exit codes, one a line."""
    lines = run(command, "--help").stdout.splitlines()
    at = lines.index("  Exit codes:")
    assert lines[at + 1].startswith("    0  ")


@pytest.mark.parametrize(
    ("flags", "variables", "colored"),
    [
        ([], {}, True),
        (["--no-color"], {}, False),
        ([], {"NO_COLOR": "1"}, False),
        (["--format", "json"], {}, False),
    ],
)
def test_colors_on_a_terminal(good: str, flags: list[str], variables: dict[str, str], *, colored: bool) -> None:
    """On a terminal the verdict is coloured, unless --no-color or NO_COLOR forbid it."""
    pty = pytest.importorskip("pty")
    import subprocess
    import sys

    from support.commands import environment

    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "ckptdoctor", "inspect", *flags, good],
        stdout=slave,
        env=environment(TERM="xterm-256color", **variables),
    ) as process:
        os.close(slave)
        shown = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # Linux says so at the end
                break
            if not part:
                break
            shown += part
    os.close(master)
    assert process.returncode == 0
    assert (b"\x1b[" in shown) is colored


def test_no_colors_in_a_pipe(good: str) -> None:
    """Into a pipe goes plain text."""
    assert "\x1b" not in ckptdoctor("inspect", good, TERM="xterm-256color").out


@pytest.mark.parametrize(
    ("flags", "variables", "colored"),
    [
        ([], {"FORCE_COLOR": "1"}, True),
        ([], {"FORCE_COLOR": ""}, False),
        ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (["--no-color"], {"FORCE_COLOR": "1"}, False),
        (["--format", "markdown"], {"FORCE_COLOR": "1"}, False),
    ],
)
@pytest.mark.parametrize("command", ["inspect", "check"])
def test_forced_colors_in_a_pipe(
    good: str, command: str, flags: list[str], variables: dict[str, str], *, colored: bool
) -> None:
    """FORCE_COLOR colours a pipe too, and leaves the lines as they are; NO_COLOR and --no-color come before it."""
    out = ckptdoctor(command, *flags, good, TERM="xterm-256color", **variables).out
    assert ("\x1b[" in out) is colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", out) == ckptdoctor(command, *flags, good).out


def test_a_closed_pipe(good: str) -> None:
    """`ckptdoctor … | head -1` is no traceback."""
    import subprocess
    import sys

    from support.commands import environment

    process = subprocess.Popen(
        [sys.executable, "-m", "ckptdoctor", "inspect", "--tensors", *[good] * 300],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert b"Traceback" not in said


@pytest.mark.parametrize("name", ["with space", "\x1b[31mred", "line\nbreak", "ключ", "[bold]", "-dash", "a|b"])
def test_odd_paths(tmp_path: Path, name: str) -> None:
    """Any path is read, and shown escaped, also where it is in an error."""
    prefix = write_model(tmp_path / name)
    result = ckptdoctor("inspect", "-q", "--", prefix)
    assert result.code == 0
    assert len(result.out.splitlines()) == 1
    os.unlink(f"{prefix}.data-00000-of-00001")
    result = ckptdoctor("inspect", "--", prefix)
    assert result.code == 3
    assert len(result.err.splitlines()) == 1
    assert "\x1b" not in result.err


def test_a_relative_path(tmp_path: Path) -> None:
    """Paths are taken from the current folder, and a dash does not make one an option after `--`."""
    write_model(tmp_path / "-p")
    write_state(tmp_path, "-p")
    assert ckptdoctor("inspect", "-q", ".", cwd=tmp_path).out.startswith(".: resumes")
    assert ckptdoctor("inspect", "-q", "--", "-p", cwd=tmp_path).out.startswith("-p: resumes")
    assert ckptdoctor("inspect", "-q", "checkpoint", cwd=tmp_path).out.startswith("checkpoint: resumes")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "cp1252"])
def test_any_encoding_of_stdout(tmp_path: Path, encoding: str) -> None:
    """A terminal that cannot show a character is no reason to fail."""
    prefix = write_bundle(tmp_path / "p", {"ключ/鍵": array([1.0])})
    for form in ("text", "json", "markdown"):
        result = ckptdoctor("inspect", "--tensors", "--format", form, prefix, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
        assert (result.code, "Traceback" in result.err) == (0, False)
