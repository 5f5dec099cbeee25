"""The summary of a CI job in Markdown: a table, reasons, commands to copy, and nothing live from a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from support.checks import (
    HOSTILE,
    INCOMPLETE,
    NOT_FINITE,
    PART,
    SHARE,
    checked,
    directory,
    hostile,
    missing,
    report,
    with_findings,
)
from support.objects import write_model

from ckptdoctor.checking.results import Checked
from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.report.check import markdown as check_markdown
from ckptdoctor.report.shared.escape import printable

PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


def _tokens(text: str) -> list[Token]:
    """All tokens, those inside paragraphs too."""
    return [part for token in PARSER.parse(text) for part in (token, *(token.children or ()))]


def _cells(text: str) -> list[list[str]]:
    """The rows of the table, without its head, as they are read."""
    rows: list[list[str]] = []
    for token in PARSER.parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and token.level == 4:
            rows[-1].append("".join(each.content for each in token.children or ()))
    return rows[1:]


@pytest.fixture
def good(tmp_path: Path) -> Checked:
    """A checkpoint that resumes."""
    (found,) = checked(write_model(tmp_path / "ckpt-7"))
    return replace(found, path="run/ckpt-7")


def test_the_table(good: Checked) -> None:
    """Every artifact has a row; those that failed come first."""
    text = check_markdown.render(report(good, with_findings(good, NOT_FINITE), directory("run"), missing("gone")))
    verdict = "resumes at iteration 7 with full Adam state"
    assert _cells(text) == [
        ["run/ckpt-7", "❌ failed", f"{verdict}, but {NOT_FINITE.message}"],
        ["gone", "❌ failed", "there is no such file or directory"],
        ["run/ckpt-7", "✅ ok", verdict],
        ["run", "✅ ok", "the run directory as a whole: nothing is wrong"],
    ]
    assert text.startswith("## ❌ ckptdoctor check\n\n3 artifacts and 1 run directory: 2 passed, 2 failed ")


def test_findings(good: Checked) -> None:
    """Below the table stand the findings, with what to do; its command is code, to be copied."""
    hint = "put it back: ckptdoctor graft --from DONOR --into 'a b.h5' --output x.h5; or save it again"
    finding = Finding("S001", Severity.ERROR, "no optimizer state is here", hint)
    tokens = _tokens(check_markdown.render(report(with_findings(good, finding, PART, SHARE))))
    assert [each.content for each in tokens if each.type == "code_inline"] == [
        "run/ckpt-7", "run/ckpt-7", "S001", "ckptdoctor graft --from DONOR --into 'a b.h5' --output x.h5", "P003",
    ]  # fmt: skip
    assert [each.type for each in tokens].count("hardbreak") == 2


def test_quoted_commands(good: Checked) -> None:
    """What a sentence has in back quotes is code, in the table too."""
    finding = Finding("I008", Severity.ERROR, "a pointer: run `git lfs pull`", "`a|b` or `")
    text = check_markdown.render(report(with_findings(good, finding)))
    codes = [each.content for each in _tokens(text) if each.type == "code_inline"]
    assert codes == ["run/ckpt-7", "git lfs pull", "run/ckpt-7", "I008", "git lfs pull", "a\\|b"]
    assert [len(row) for row in _cells(text)] == [3]


def test_quiet(good: Checked) -> None:
    """With `quiet` the table remains, what failed first."""
    text = check_markdown.render(report(good, directory("run", INCOMPLETE)), quiet=True)
    assert [row[0] for row in _cells(text)] == ["run", "run/ckpt-7"]
    assert "I006" not in text.rpartition("|")[2]


def test_interrupted_and_empty(good: Checked) -> None:
    """What was not looked at is told."""
    text = check_markdown.render(report(good, interrupted=True))
    assert text.startswith(
        "## ❌ ckptdoctor check\n\ninterrupted after 1 artifact: 1 passed; the rest was not looked at"
    )
    assert check_markdown.render(report()) == "## ✅ ckptdoctor check\n\nnothing was checked\n\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_names(good: Checked, name: str) -> None:
    """No name becomes a link, an image, HTML, or a cell of its own."""
    text = check_markdown.render(hostile(good, [name]))
    kinds = {each.type for each in _tokens(text)}
    assert not kinds & {"link_open", "image", "html_inline", "html_block", "fence", "s_open", "em_open"}
    rows = _cells(text)
    assert [len(row) for row in rows] == [3] * 4
    assert {row[0].strip().replace("\\|", "|") for row in rows} == {printable(name).strip()}
    assert all(char.isprintable() or char == "\n" for char in text)


@pytest.mark.parametrize("count", [1_800, 20_000])
def test_the_limit(good: Checked, count: int) -> None:
    """A summary stays below what GitHub shows, says how much it leaves out, and keeps what failed."""
    found = replace(with_findings(good, NOT_FINITE._replace(message="n" * 200)), path="runs/" + "deep/" * 20 + "ckpt")
    text = check_markdown.render(report(*[good] * 10, *[found] * count))
    assert 700_000 < len(text.encode()) <= check_markdown.LIMIT
    table, _, findings = text.partition("\n### ")
    assert "more artifacts left out" in findings
    assert ("more artifacts left out" in table) is (count == 20_000)
    assert table.count("❌ failed") >= 1_800
    shown = text.count("\n### ")
    assert f"_{count - shown:,} more artifacts left out" in findings


def test_one_finding_too_long(good: Checked) -> None:
    """A single message beyond the limit is left out, not the whole summary."""
    found = with_findings(good, NOT_FINITE._replace(message="n" * 2_000_000))
    text = check_markdown.render(report(found, with_findings(good, INCOMPLETE)))
    assert len(text.encode()) <= check_markdown.LIMIT
    assert "I006" in text
    assert "_1 more artifact left out" in text
