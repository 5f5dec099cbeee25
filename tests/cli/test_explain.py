"""`ckptdoctor explain` as users and scripts run it."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from support.commands import ckptdoctor
from support.pages import TEXTS

from ckptdoctor import __version__
from ckptdoctor.cli import cli
from ckptdoctor.cli.explain import explain
from ckptdoctor.diagnosis.explanations import SECTIONS
from ckptdoctor.diagnosis.rules import RULES

CODES = [rule.code for rule in RULES]
SCHEMA = json.loads((files("ckptdoctor.report") / "schemas" / "explain.schema.json").read_text(encoding="utf-8"))


def run(*arguments: str) -> Result:
    """Runs the command in this process; a traceback is a failure."""
    result = CliRunner().invoke(cli, ["explain", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def document(*arguments: str) -> dict[str, Any]:
    """The JSON document, which fits its schema."""
    found: dict[str, Any] = json.loads(run("--format", "json", *arguments).stdout)
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(found)
    return found


# --------------------------------------------------------------------------------------------------------------- table


def test_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a code every rule is a line, which a pipe does not break."""
    monkeypatch.delenv("COLUMNS", raising=False)
    result = run()
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line for line in result.stdout.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == CODES
    for rule, line in zip(RULES, lines, strict=True):
        assert [*line.split()[1:3]] == [rule.severity.value, rule.name]
        assert line.endswith(rule.says + (" (--deep)" if rule.deep else ""))


def test_table_in_markdown() -> None:
    """The table in Markdown is what the README shows."""
    lines = run("--format", "markdown").stdout.splitlines()
    assert lines[:2] == ["| code | name | severity | says |", "| --- | --- | --- | --- |"]
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {code}" for code in CODES]
    assert all(line.replace("\\|", "").count("|") == 5 for line in lines)


def test_quiet() -> None:
    """--quiet leaves the line of each rule."""
    result = run("-q", "S003", "V")
    lines = [line for line in result.stdout.splitlines() if line.startswith("  ")]
    assert [line.split()[0] for line in lines] == ["S003", *[code for code in CODES if code[0] == "V"]]


# --------------------------------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize("words", [["S003"], ["slots-missing"], ["s003"], ["S003", "Slots-Missing", "s003"]])
def test_page(words: list[str]) -> None:
    """A rule by code or name, in any case, is explained once."""
    result = run(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:3] == ["S003 slots-missing", "", "error: k of n variables lack slots, by name"]
    assert [line for line in lines if line in SECTIONS.values()] == list(SECTIONS.values())
    assert "  ckptdoctor graft --from run/ckpt-9000 --into model.keras \\" in lines
    assert "`--partial`" in result.stdout


def test_prefix() -> None:
    """A prefix is every rule that begins with it, in the order that was asked for."""
    found = [each["code"] for each in document("V", "L001", "V001")["rules"]]
    assert found == [*[code for code in CODES if code[0] == "V"], "L001"]


def test_all() -> None:
    """--all is every page."""
    result = run("--all", "--format", "markdown")
    titles = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("# ")]
    assert titles == CODES


def test_markdown_is_the_page() -> None:
    """Markdown is the page as it was written, with its severity."""
    title, _, rest = TEXTS["I004"].partition("\n")
    says = "error: stored checksums do not match the bytes (with `--deep`)"
    assert run("--format", "markdown", "I004").stdout == f"{title}\n\n{says}\n{rest}"


def test_json() -> None:
    """JSON holds the sections, by name."""
    found = document("X003")
    assert (found["schema"], found["version"]) == ("ckptdoctor.explain/1", __version__)
    (rule,) = found["rules"]
    assert (rule["code"], rule["name"], rule["severity"], rule["deep"]) == ("X003", "pickle-imports", "error", False)
    assert list(rule["page"]) == list(SECTIONS)
    assert rule["page"]["meaning"].startswith("`pickle.load` imports and calls whatever the file names.")
    assert [each["code"] for each in document()["rules"]] == CODES


def test_output_file(tmp_path: Path) -> None:
    """The result goes to a file."""
    path = tmp_path / "rules.md"
    assert run("--format", "markdown", "-o", str(path)).stdout == ""
    assert path.read_text(encoding="utf-8") == run("--format", "markdown").stdout


# -------------------------------------------------------------------------------------------------------------- errors


def test_unknown() -> None:
    """An unknown code is wrong use, and the nearest is named."""
    result = run("slot-missing")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("ckptdoctor: there is no rule 'slot-missing': did you mean S003 (slots-missing)")


def test_one_of_several_is_unknown() -> None:
    """The others are explained all the same."""
    result = run("nonsense", "I002", "S099")
    assert result.exit_code == 2
    assert result.stdout.startswith("I002 shard-missing\n")
    assert len(result.stderr.splitlines()) == 2
    assert [each["code"] for each in document("S099")["rules"]] == []


def test_control_characters() -> None:
    """What was typed is printed escaped."""
    assert "\x1b" not in run("S\x1b[31m").stderr


def test_all_takes_no_codes() -> None:
    """--all beside a code is refused."""
    result = run("--all", "S003")
    assert (result.exit_code, result.stdout, "leave out" in result.stderr) == (2, "", True)


# ---------------------------------------------------------------------------------------------------------- appearance


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_widths(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but code is wider than the terminal, and prose is never wider than 100 columns."""
    monkeypatch.setenv("COLUMNS", str(columns))
    assert max(map(len, run().stdout.splitlines())) <= columns
    lines = run("--all").stdout.splitlines()
    # Code is two columns in, what continues an item of a list three.
    code = [line for line in lines if re.match(r" {2}(\S| {2})", line)]
    assert max(len(line) for line in lines if line not in code) <= min(columns, 100)
    assert max(map(len, code)) <= 64


def test_pipe() -> None:
    """In a pipe there is no escape, no trailing blank and no traceback."""
    for arguments in ([], ["--all"], ["--no-color", "S"]):
        result = ckptdoctor("explain", *arguments)
        assert (result.code, result.err) == (0, "")
        assert "\x1b" not in result.out
        assert not [line for line in result.out.splitlines() if line != line.rstrip()]


def test_completion() -> None:
    """Shells offer codes and names."""
    (argument,) = [each for each in explain.params if each.name == "codes"]
    context = explain.make_context("explain", [])
    assert [each.value for each in argument.shell_complete(context, "s00")][:2] == ["S001", "S002"]
    assert [each.value for each in argument.shell_complete(context, "orph")] == ["orphan-slot"]
