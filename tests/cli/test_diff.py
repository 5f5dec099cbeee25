"""`ckptdoctor diff` on the command line: codes, formats, refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.bundles import write_bundle, zeros
from support.commands import environment

from ckptdoctor.cli import cli

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


def run(*words: str | Path) -> Result:
    """Runs the command line in this process, in the folder of the fixtures."""
    before = Path.cwd()
    os.chdir(FIXTURES)
    try:
        return CliRunner().invoke(cli, ["diff", *(str(word) for word in words)])
    finally:
        os.chdir(before)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["run-a", "run-a", "--values"], 0, "the same optimizer state"),
        (["run-a", "run-a"], 0, "no difference found"),
        (["run-a", "run-a/ckpt-3"], 1, "different: iterations 7 and 3"),
        (["whole-model.h5", "optimizer.pkl", "--values"], 0, "8 slots equal"),
        (["whole-model.h5", "savedmodel", "--values"], 1, "8 of 8 slots different"),
        (["whole-model.h5", "savedmodel", "--values", "--rtol", "1e-3"], 0, "equal within rtol 0.001"),
        (["whole-model.h5", "savedmodel", "--weights", "--values", "--atol", "1e-5"], 0, "so are the weights"),
        (["whole-model.h5", "lost.weights.h5"], 1, "B no optimizer state"),
        (["weights-only.h5", "lost.weights.h5"], 1, "nothing to compare"),
        (["run-a", "tf1", "--values"], 1, "different"),
    ],
)
def test_codes(words: list[str], code: int, says: str) -> None:
    """0: no difference; 1: different, or nothing tells."""
    result = run(*words)
    assert (result.exit_code, result.stderr) == (code, "")
    assert says in result.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["run-a"], 2, "Missing argument 'B'"),
        (["nowhere", "run-a"], 2, "nowhere: no such file"),
        (["nowhere", "README.md"], 3, "README.md: not an artifact"),
        (["run-a", "README.md"], 3, "README.md: not an artifact"),
        (["run-a", "run-a", "--rtol", "-1"], 2, "-1.0 is not in the range"),
        (["run-a", "run-a", "--values", "--rtol", "nan"], 2, "rtol is a number from 0 on"),
        (["run-a", "run-a", "--rtol", "1"], 2, "ask for values or weights too"),
        (["run-a", "run-a", "--map", "a"], 2, "should be OLD=NEW"),
        (["run-a", "run-a", "--map", "a=b"], 2, "A has no variable 'a'"),
        (["run-a", "run-a", "--optimizer", "other"], 2, "neither artifact has an optimizer 'other'"),
        (["run-a", "run-a", "--format", "yaml"], 2, "yaml"),
    ],
)
def test_refusals(words: list[str], code: int, says: str) -> None:
    """Wrong use is 2 and an artifact that cannot be read 3, the highest wins; a sentence each and no traceback."""
    result = run(*words)
    assert result.exit_code == code
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("words", "code", "verdict"),
    [
        (["run-a", "run-a", "--values"], 0, "equal"),
        (["run-a", "run-a"], 0, "no-difference"),
        (["run-a", "run-a/ckpt-3"], 1, "different"),
        (["weights-only.h5", "lost.weights.h5"], 1, "undecided"),
        (["run-a", "nowhere"], 2, None),
        (["README.md", "run-a"], 3, None),
        (["run-a", "run-a", "--map", "a=b"], 2, None),
    ],
)
def test_json(words: list[str], code: int, verdict: str | None) -> None:
    """With --format json stdout is one document, whatever happens."""
    result = run(*words, "--format", "json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["verdict"]) == (code, verdict)
    assert (document["error"] is None) == (verdict is not None)


def test_markdown_to_a_file(tmp_path: Path) -> None:
    """--output-file takes the report, and stdout stays empty."""
    result = run("run-a", "run-a/ckpt-3", "--format", "markdown", "-o", tmp_path / "report.md")
    assert (result.exit_code, result.stdout) == (1, "")
    assert (tmp_path / "report.md").read_text().startswith("### `run-a` and `run-a/ckpt-3`\n")


def test_maps_come_from_a_file_too(tmp_path: Path) -> None:
    """--map-file holds A's name = B's name, as a graft's does the donor's and the target's."""
    (tmp_path / "maps").write_text("# the layers\nhidden/kernel=hidden/kernel\n")
    result = run("run-a", "keras3.keras", "--map-file", tmp_path / "maps")
    assert "1 variable by --map, 3 by path" in result.stdout


def test_quiet() -> None:
    """--quiet leaves the verdict."""
    assert len(run("run-a", "run-a/ckpt-3", "--quiet").stdout.splitlines()) == 1


MEASURE = """
import sys
from ckptdoctor.cli import cli
try:
    cli(sys.argv[1:], prog_name="ckptdoctor")
except SystemExit as end:
    code = end.code
with open("/proc/self/status") as status:
    peak = next(line.split()[1] for line in status if line.startswith("VmHWM"))
print(code, peak, file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much memory a process took")
def test_memory_is_flat(tmp_path: Path) -> None:
    """Comparing 512 MB takes no more memory than its pieces."""
    size = 32 << 20
    tensors = {"w": zeros((1, size)), "w/Momentum": zeros((1, size)), "global_step": zeros((), "int64")}
    paths = [write_bundle(tmp_path / name, tensors) for name in "ab"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "diff", *paths, "--values", "--weights", "--quiet"],
        env=environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    code, peak = map(int, done.stderr.splitlines()[-1].split())
    assert code == 0, done.stdout
    assert "1 slot equal" in done.stdout
    assert peak < 200 << 10
