"""The report on a terminal: the verdict first, and nothing raw from a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.bundles import array, write_bundle
from support.objects import Node, legacy, model, tracked, variable, variables, write_model, write_objects

from ckptdoctor.containers.files import plural
from ckptdoctor.examination import Examination, examine
from ckptdoctor.report import text
from ckptdoctor.report.escape import printable
from ckptdoctor.report.facts import brief, figure, human_bytes, shape_text

NASTY = ["\x1b[31mred", "line\nbreak", "\r", "\t", "\x07", "\x9b31m", "\u202eevil", "\u200b", "\0", "\x7f", "\u2028"]
MARKUP = ["[bold]x[/bold]", "[red", "[/]", ":smile:", "{x}", "\\[", "[link=http://x]y[/link]"]


def _report(path: str, **options: bool) -> str:
    found: list[Examination] = list(examine(path, stats=options.get("stats", False)))
    return text.render(found, color=False, **options)


def test_the_verdict_comes_first(tmp_path: Path) -> None:
    """The first line names the artifact and says what to act on."""
    prefix = write_model(tmp_path / "p", iterations=7524)
    assert _report(prefix).splitlines()[0] == f"{prefix}: resumes at iteration 7,524 with full Adam state"


def test_facts(tmp_path: Path) -> None:
    """Format, model, optimizer, count, settings and slots are there."""
    shown = _report(write_model(tmp_path / "p"))
    assert re.search(r"format +TensorFlow checkpoint", shown)
    assert re.search(r"model +4 variables, 84 B", shown)
    assert re.search(r"optimizer +Adam.*, tf\.keras up to 2\.10", shown)
    assert re.search(r"iterations +7", shown)
    assert re.search(r"m +first moment +4 of 4 +84 B", shown)


def test_quiet(tmp_path: Path) -> None:
    """With --quiet one line an artifact remains."""
    assert len(_report(write_model(tmp_path / "p"), quiet=True).splitlines()) == 1


@pytest.mark.parametrize("name", NASTY)
def test_names_from_files(tmp_path: Path, name: str) -> None:
    """Control characters, bidirectional marks and line ends of names never reach the terminal."""
    net = Node({name: variable([1.0], f"{name}/kernel"), "b": variable([1.0], f"{name}/bias")})
    optimizer = legacy([variables(net)[0]])
    root = tracked(
        model=net, optimizer=tracked(inner=optimizer), counts=tracked(epoch=variable(array(1, "int64"), name))
    )
    shown = _report(write_objects(tmp_path / "p", root), tensors=True, stats=True)
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert printable(name).rstrip() in shown.replace("\n", "")
    assert printable(name) != name


@pytest.mark.parametrize("name", MARKUP)
def test_markup_is_text(tmp_path: Path, name: str) -> None:
    """What looks like markup of rich is shown as it is."""
    shown = _report(
        write_bundle(tmp_path / "p", {f"{name}/w": array([1.0]), "global_step": array(7, "int64")}), tensors=True
    )
    assert f"{name}/w" in shown


@pytest.mark.parametrize("name", ["[bold]p", "p\x1b[31m", "new\nline"])
def test_paths_are_text(tmp_path: Path, name: str) -> None:
    """Paths are escaped as names are."""
    prefix = write_model(tmp_path / name)
    first = _report(prefix).splitlines()[0]
    assert first.startswith(printable(prefix))
    assert "resumes at" in first


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """No line is wider than the terminal, and at 80 columns the tables keep to one line a row."""
    monkeypatch.setenv("COLUMNS", columns)
    net = model({f"block_{number}/attention/query/kernel": (64, 64) for number in range(3)})
    prefix = write_objects(tmp_path / "p", tracked(model=net, optimizer=legacy(variables(net)[:2])))
    shown = _report(prefix, tensors=True)
    assert max(map(len, shown.splitlines())) <= int(columns)
    if columns != "40":
        assert re.search(r"^ *m +first moment +2 of 2 ", shown, re.MULTILINE)


def test_no_trailing_blanks(tmp_path: Path) -> None:
    """Lines do not end in blanks, which tables would leave in files."""
    assert not re.search(r"[ \t]+$", _report(write_model(tmp_path / "p"), tensors=True, stats=True), re.MULTILINE)


def test_missing_slots_are_named(tmp_path: Path) -> None:
    """Missing slots are told by name, the first few, and how many more there are."""
    net = model({f"d/w{number:02d}": (2,) for number in range(20)})
    shown = _report(write_objects(tmp_path / "p", tracked(model=net, optimizer=legacy(variables(net)[:5]))))
    assert "15 of 20 variables have no full Adam state: d/w05, d/w06, d/w07 and 12 more" in " ".join(shown.split())


def test_unreadable_artifacts_are_not_here(tmp_path: Path) -> None:
    """What cannot be read is said on stderr; the report is of the others."""
    (tmp_path / "x.h5").write_bytes(b"")
    assert _report(str(tmp_path / "x.h5")) == ""


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_500_000, "1.5 MB"),
        (2 * 10**9, "2.0 GB"),
        (10**16, "10000.0 TB"),
    ],
)
def test_sizes(count: int, expected: str) -> None:
    """Sizes are in decimal units."""
    assert human_bytes(count) == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (figure(None), ""), (figure(0.1234567), "0.123457"), (figure(7), "7"), (brief(1234567), "1,234,567"),
        (brief(0.00012345), "0.0001234"), (brief(None), ""), (shape_text(()), "scalar"), (shape_text((3, 4)), "3x4"),
        (plural(1, "byte"), "1 byte"), (plural(1000, "byte"), "1,000 bytes"),
    ],
)  # fmt: skip
def test_figures(shown: str, expected: str) -> None:
    """Figures are as people write them."""
    assert shown == expected


@pytest.mark.parametrize("text_in", [*NASTY, "plain", "ключ 鍵", "\ud800"])
def test_printable(text_in: str) -> None:
    """Escaped text is printable, and what was printable is left alone."""
    assert printable(text_in).isprintable()
    assert (printable(text_in) == text_in) is text_in.isprintable()
