"""The pages: one a rule, complete, short, and with code that is code."""

from __future__ import annotations

import re

import click
import pytest
from support.pages import TEXTS, blocks, commands, prose

from ckptdoctor.cli import cli
from ckptdoctor.diagnosis.explanations import FAMILIES, SECTIONS, find, page, sections
from ckptdoctor.diagnosis.rules import BY_CODE, RULES
from ckptdoctor.errors import UsageProblem

PLANNED = {"L002": "loader-drops-state", "L003": "generation-mismatch"}
NAMES = {**PLANNED, **{rule.code: rule.name for rule in RULES}}
COMMANDS = [(code, words) for code, text in TEXTS.items() for words in commands(text)]


def test_every_rule_has_a_page() -> None:
    """Every rule has a page, and every page a rule."""
    assert set(TEXTS) == set(NAMES)
    assert {rule.code[0] for rule in RULES} <= set(FAMILIES)


@pytest.mark.parametrize("code", TEXTS)
def test_sections(code: str) -> None:
    """A page is a title and the four sections, each with something in it."""
    text = TEXTS[code]
    headings = re.findall(r"^#+ .*$", text, flags=re.MULTILINE)
    assert headings == [f"# {code} {NAMES[code]}", *[f"## {heading}" for heading in SECTIONS.values()]]
    found = sections(text)
    assert list(found) == list(SECTIONS)
    assert all(len(section.split()) > 5 for section in found.values())


@pytest.mark.parametrize("code", TEXTS)
def test_length(code: str) -> None:
    """A page is read in a minute, and its code fits a terminal of 66 columns without a break."""
    assert 80 <= len(prose(TEXTS[code]).split()) <= 200
    assert max(len(line) for block in blocks(TEXTS[code]) for line in block.code.splitlines()) <= 62


@pytest.mark.parametrize("code", TEXTS)
def test_mending_is_code(code: str) -> None:
    """How to mend it is a call or a command that can be copied, in a language that is named."""
    mending = blocks(sections(TEXTS[code])["mending"])
    assert {block.language for block in blocks(TEXTS[code])} <= {"sh", "python", "text"}
    assert {block.language for block in mending} & {"sh", "python"}
    for block in blocks(TEXTS[code]):
        if block.language == "python":
            compile(block.code, code, "exec")


@pytest.mark.parametrize(("code", "words"), COMMANDS, ids=[f"{code}-{' '.join(words)}" for code, words in COMMANDS])
def test_commands_parse(code: str, words: list[str]) -> None:
    """A command line in a page is one that the command accepts."""
    name, command, rest = cli.resolve_command(click.Context(cli), words[1:])
    assert name is not None, code
    assert command is not None, code
    with command.make_context(name, rest, parent=click.Context(cli, **cli.context_settings)):
        pass


def test_codes_in_pages_exist() -> None:
    """A page refers to rules that are there."""
    for code, text in TEXTS.items():
        assert set(re.findall(r"\b[A-Z]\d{3}\b", text)) <= set(NAMES), code


# ------------------------------------------------------------------------------------------------------------ finding


@pytest.mark.parametrize(
    ("word", "codes"),
    [
        ("S003", ["S003"]),
        ("s003", ["S003"]),
        ("slots-missing", ["S003"]),
        ("Slots-Missing", ["S003"]),
        ("S01", [f"S01{digit}" for digit in range(10)]),
        ("x", [rule.code for rule in RULES if rule.code[0] == "X"]),
    ],
)
def test_find(word: str, codes: list[str]) -> None:
    """A code, a prefix or a name, in any case."""
    assert [rule.code for rule in find(word)] == codes


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("slot-missing", r"slots-missing"),
        ("S033", r"S003 \(slots-missing\)"),
        ("S0003", r"S003 \(slots-missing\)"),
        ("qqqqqqqqq", "`ckptdoctor explain` lists them all"),
        ("", "`ckptdoctor explain` lists them all"),
    ],
)
def test_unknown(word: str, hint: str) -> None:
    """What no rule is called is refused, with the nearest."""
    with pytest.raises(UsageProblem, match=f"there is no rule '{word}': .*{hint}"):
        find(word)


def test_page() -> None:
    """A page is had by its code alone."""
    assert page("S003") == TEXTS["S003"]
    with pytest.raises(UsageProblem, match=r"there is no rule '\.\./I001'"):
        page("../I001")
    assert all(page(code) for code in BY_CODE)
