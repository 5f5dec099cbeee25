"""`ckptdoctor history` as users and scripts run it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from markdown_it import MarkdownIt
from support.bundles import array, write_bundle, write_state
from support.commands import ckptdoctor
from support.objects import write_model
from support.schemas import load

from ckptdoctor.cli import cli

SCHEMA = load("history.schema.json")
NASTY = "a<b>&\"'|`*\x1b[31m\u202e=ckpt-8"


def run(*arguments: str | os.PathLike[str]) -> Result:
    """Runs the command in this process; a traceback is a failure."""
    result = CliRunner().invoke(cli, ["history", *(os.fspath(each) for each in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def document(*arguments: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON document, which fits its schema."""
    result = run("--format", "json", *arguments)
    assert result.stdout.isascii()
    found: dict[str, Any] = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(found)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of three, the last of which was interrupted."""
    for steps in (7, 8, 9):
        write_model(tmp_path / "run" / f"ckpt-{steps}", steps)
    os.unlink(tmp_path / "run" / "ckpt-9.index")
    write_state(tmp_path / "run", "ckpt-9", "ckpt-8", "ckpt-7")
    return tmp_path / "run"


# ---------------------------------------------------------------------------------------------------------- exit codes


def test_0(folder: Path) -> None:
    """There is one to resume from, though the newest is broken."""
    result = run(folder)
    assert (result.exit_code, result.stderr) == (0, "")
    first = result.stdout.splitlines()[0]
    assert first == f"{folder}: resume from ckpt-8: the newest complete one, at iteration 8"
    assert "ckpt-9: ckpt-9.index is missing" in result.stdout
    assert "the file `checkpoint` names ckpt-9, not ckpt-8" in result.stdout


def test_1(tmp_path: Path) -> None:
    """Something can be read, and nothing is to resume from."""
    write_bundle(tmp_path / "ckpt-1", {"w": array([1.0])})
    result = run(tmp_path)
    assert (result.exit_code, result.stderr) == (1, "")
    assert ": nothing to resume from: weights only" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [[], ["no/such/directory"], ["."], ["--sort", "colour", "."], ["--limit", "0", "."], ["--jobs", "0", "."],
     ["--format", "xml", "."]],
)  # fmt: skip
def test_2_and_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """Wrong use is 2, a directory without any checkpoint 3: a sentence each."""
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == (3 if arguments == ["."] else 2)
    assert result.stdout == ""
    assert result.stderr.strip()
    assert "Traceback" not in result.stderr


def test_2_for_a_file(folder: Path) -> None:
    """An artifact is no run: the sentence says what to name."""
    for path in (folder / "ckpt-7.index", folder / "ckpt-7"):
        result = run(path)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.endswith("it is one artifact, and no directory: name the directory of its run\n")


def test_3(tmp_path: Path) -> None:
    """Checkpoints of which none can be read."""
    write_model(tmp_path / "ckpt-1", 1)
    os.truncate(tmp_path / "ckpt-1.data-00000-of-00001", 5)
    result = run(tmp_path)
    assert result.exit_code == 3
    assert "none of 1 checkpoint is fit for it" in result.stdout


def test_the_highest_code(folder: Path, tmp_path: Path) -> None:
    """Every directory is tried and told."""
    write_bundle(tmp_path / "weights" / "ckpt-1", {"w": array([1.0])})
    result = run(folder, "no/such", tmp_path / "weights")
    assert result.exit_code == 2
    assert "resume from ckpt-8" in result.stdout
    assert "weights only" in result.stdout
    assert result.stderr.count("\n") == 1
    found = document(folder, "no/such", tmp_path / "weights")
    assert [each["error"] is None for each in found["directories"]] == [True, False, True]


# ------------------------------------------------------------------------------------------------------------- options


def test_sort_and_limit(folder: Path) -> None:
    """The last lines of the order that was asked for; what is chosen does not depend on it."""

    def names(*arguments: str) -> list[str]:
        (one,) = document(folder, *arguments)["directories"][0]["runs"]
        assert one["resume"] == str(folder / "ckpt-8")
        assert one["total"] == 3
        return [each["name"] for each in one["checkpoints"]]

    assert names() == ["ckpt-7", "ckpt-8", "ckpt-9"]
    assert names("--limit", "1") == ["ckpt-9"]
    assert names("--sort", "-count") == ["ckpt-9", "ckpt-8", "ckpt-7"]  # what has no count stands first
    assert names("--sort", "-name", "--limit", "2") == ["ckpt-8", "ckpt-7"]
    assert names("--sort", "size")[-1] in {"ckpt-7", "ckpt-8"}


def test_every_key_sorts(folder: Path) -> None:
    """Each key that --sort takes is one that lines can be sorted by."""
    help_text = run("--help").stdout
    for key in ("count", "epoch", "metric", "learning-rate", "size", "age", "name"):
        assert key in help_text
        assert run("--sort", key, folder).exit_code == 0
        assert run("--sort", f"-{key}", folder).exit_code == 0


def test_quiet(folder: Path) -> None:
    """One line a run, in text and in Markdown."""
    assert run("-q", folder).stdout == f"{folder}: resume from ckpt-8: the newest complete one, at iteration 8\n"
    assert run("-q", "--format", "markdown", folder).stdout.count("\n") == 1


def test_standard_input(folder: Path) -> None:
    """Directories from a pipe."""
    result = CliRunner().invoke(cli, ["history", "-q", "-"], input=f"{folder}\n")
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1)


def test_jobs(folder: Path) -> None:
    """Forked workers of the command itself say the same."""
    for steps in range(100, 180):
        write_model(folder / f"ckpt-{steps}", steps)
    one, two = (ckptdoctor("history", "--format", "json", "--jobs", jobs, folder) for jobs in ("1", "2"))
    assert (one.code, two.code) == (0, 0)
    assert _without_age(one.out) == _without_age(two.out)
    assert len(_without_age(one.out)) == 83


def _without_age(text: str) -> list[dict[str, Any]]:
    (one,) = json.loads(text)["directories"][0]["runs"]
    return [{name: value for name, value in each.items() if name != "age"} for each in one["checkpoints"]]


def test_deep(tmp_path: Path) -> None:
    """A column more, and NaN is no checkpoint to resume from."""
    write_model(tmp_path / "ckpt-7", 7)
    assert "finite" not in run(tmp_path).stdout
    result = run("--deep", tmp_path)
    assert result.stdout.startswith(f"{tmp_path}: resume from ckpt-7: the newest, complete and finite, at iteration 7")
    assert re.search(r"complete +finite", result.stdout)


# --------------------------------------------------------------------------------------------------------------- forms


def test_json(folder: Path) -> None:
    """What a script reads."""
    (one,) = document(folder)["directories"][0]["runs"]
    assert one["passed_over"] == [{"name": "ckpt-9", "code": None, "message": "ckpt-9.index is missing"}]
    line = one["checkpoints"][1]
    assert (line["count"], line["resume"], line["complete"], line["finite"]) == (8, True, True, None)
    assert line["learning_rate"] == pytest.approx(0.001)
    assert line["path"] == str(folder / "ckpt-8")


def test_csv(folder: Path) -> None:
    """A line a checkpoint, of every run, and one of the names of columns."""
    rows = list(csv.DictReader(io.StringIO(run("--format", "csv", folder).stdout)))
    assert [(each["checkpoint"], each["count"], each["resume"]) for each in rows] == [
        ("ckpt-7", "7", ""), ("ckpt-8", "8", "yes"), ("ckpt-9", "", ""),
    ]  # fmt: skip


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [each for each in attrs if each[0] in {"src", "href", "srcset", "action"} or each[0][:2] == "on"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html(tmp_path: Path) -> None:
    """A page of its own: no script, nothing from elsewhere, names are text."""
    write_model(tmp_path / NASTY, 7)
    page = _Page()
    text = run("--format", "html", tmp_path).stdout
    page.feed(text)
    assert text.startswith("<!doctype html>")
    assert page.links == []
    assert not {"script", "link", "img", "iframe", "b"} & set(page.tags)
    assert page.tags.count("tr") == 2
    assert "url(" not in text
    assert "@import" not in text
    assert "a<b>&\"'|`*\\x1b[31m\\u202e=ckpt-8" in page.text


@pytest.mark.parametrize("form", ["text", "json", "csv", "markdown"])
def test_names_are_harmless(tmp_path: Path, form: str) -> None:
    """No control character of a name reaches the terminal; no cell begins a formula; no table breaks."""
    write_model(tmp_path / NASTY, 7)
    write_model(tmp_path / "=cmd-8", 8)
    out = run("--format", form, tmp_path).stdout
    assert "\x1b" not in out
    assert "\u202e" not in out
    if form == "csv":
        assert {row["checkpoint"][:1] for row in csv.DictReader(io.StringIO(out))} == {"a", "'"}
    if form == "markdown":
        html = MarkdownIt("commonmark").enable("table").render(out)
        assert html.count("<tr>") == 3
        assert "<b>" not in html


def test_a_narrow_terminal(folder: Path) -> None:
    """At 60 columns nothing is longer, and what is left out is told."""
    write_model(folder / ("a-very-long-name-of-a-checkpoint-that-goes-on-and-on" + "-8"), 8)
    done = ckptdoctor("history", folder, COLUMNS="60")
    assert done.code == 0
    assert max(map(len, done.out.splitlines())) <= 60
    assert "…" in done.out
    wide = ckptdoctor("history", folder, COLUMNS="120")
    assert "-that-goes-on-and-on-8" in wide.out


def test_the_course_of_the_rate(museum: Path, tmp_path: Path) -> None:
    """Bars from the first to the last, where the rate changes at all."""
    import torch

    net = torch.nn.Linear(2, 1)
    adam = torch.optim.Adam(net.parameters(), 0.8)
    for step in range(1, 5):
        net(torch.ones(1, 2)).sum().backward()
        adam.step()
        torch.save({"model": net.state_dict(), "optimizer": adam.state_dict()}, tmp_path / f"step_{step}.pt")
        adam.param_groups[0]["lr"] -= 0.1
    assert "rate         █▆▃▁  0.8 to 0.5" in run(tmp_path).stdout
    assert "▁" not in run(museum / "torch2.13/trainer").stdout


def test_output_file(folder: Path, tmp_path: Path) -> None:
    """Whole in a file, and nothing on stdout."""
    out = tmp_path / "history.html"
    result = run("--format", "html", "-o", out, folder)
    assert (result.exit_code, result.stdout) == (0, "")
    assert out.read_text(encoding="utf-8").endswith("</html>\n")
