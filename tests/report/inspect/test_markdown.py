"""The report as Markdown: tables stay tables, names stay text."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bundles import array, write_bundle
from support.objects import legacy, model, tracked, variables, write_model, write_objects

from ckptdoctor.examination import examine
from ckptdoctor.report.inspect.markdown import code, escape, render


def _report(path: str, *, tensors: bool = False, stats: bool = False) -> str:
    return render(list(examine(path, stats=stats)), tensors=tensors, stats=stats)


def _cells(row: str) -> int:
    """Number of cells of a table's row: pipes that are not escaped."""
    return row.replace("\\\\", "").replace("\\|", "").count("|") - 1


def test_an_artifact(tmp_path: Path) -> None:
    """A heading with the path, the verdict in bold, facts, slots."""
    prefix = write_model(tmp_path / "p")
    lines = _report(prefix).splitlines()
    assert lines[0] == f"### `{prefix}`"
    assert lines[2] == "**resumes at iteration 7 with full Adam state**"
    assert "| format | TensorFlow checkpoint |" in lines
    assert "| iterations | 7 |" in lines
    assert "| `m` | first moment | 4 of 4 | 84 B |" in lines


@pytest.mark.parametrize(
    "name", ["a|b", "a\\|b", "`tick`", "``", "<script>", "line\nbreak", "\x1b[31m", "**bold**", "[x](y)"]
)
def test_names(tmp_path: Path, name: str) -> None:
    """A name never ends a cell, a line or its code style, and brings no markup of its own."""
    net = model({f"{name}/kernel": (2,)})
    prefix = write_objects(tmp_path / "p", tracked(model=net, optimizer=legacy(variables(net))))
    shown = _report(prefix, tensors=True, stats=True)
    assert all(char.isprintable() or char == "\n" for char in shown)
    tables = [block.splitlines() for block in shown.split("\n\n") if block.startswith("| ")]
    assert len(tables) == 3
    for table in tables:
        assert len({_cells(row) for row in table}) == 1, table
    assert "<script>" not in escape(name)


@pytest.mark.parametrize("name", ["a\n\n# heading", "p|q", "[x](y)"])
def test_paths(tmp_path: Path, name: str) -> None:
    """A path stays in its heading."""
    shown = _report(write_model(tmp_path / name))
    assert [line.startswith("#") for line in shown.splitlines()].count(True) == 1


@pytest.mark.parametrize("text", ["*", "_", "`", "|", "<", ">", "#", "[", "]", "\\", "!", "~", "{"])
def test_escape(text: str) -> None:
    """Every character with a meaning is escaped."""
    assert escape(text) == f"\\{text}"


@pytest.mark.parametrize(
    ("text", "expected"), [("a", "`a`"), ("a`b", "`` a`b ``"), ("a|b", "`a\\|b`"), ("\n", "`\\n`")]
)
def test_code(text: str, expected: str) -> None:
    """Code style holds whatever is in it."""
    assert code(text) == expected


@pytest.mark.parametrize("text", ["``", "a``b", "```", "`", "x" * 9 + "`" * 9])
def test_code_with_ticks(text: str) -> None:
    """The fence is longer than any run of ticks inside it."""
    shown = code(text)
    fence = shown[: len(shown) - len(shown.lstrip("`"))]
    assert fence not in shown.removeprefix(fence).removesuffix(fence).split(text)[0]
    assert fence not in text


def test_findings(tmp_path: Path) -> None:
    """Findings are a list, their hints in italics."""
    prefix = write_bundle(tmp_path / "p", {"w": array([1.0])})
    assert "- **S001** (error): no optimizer state is here" in _report(prefix)


def test_unreadable(tmp_path: Path) -> None:
    """An artifact that cannot be read has its error as its verdict, escaped."""
    path = tmp_path / "[x].h5"
    path.write_bytes(b"")
    shown = _report(str(path))
    assert "an empty file" in shown
    assert shown.count("\n") < 6


def test_the_facts_of_text(fixtures_dir: Path) -> None:
    """Settings, notes, counters and what was read for a directory are there, as in the text."""
    lines = _report(str(fixtures_dir / "run-a")).splitlines()
    read = escape(f"TensorFlow checkpoint ({fixtures_dir / 'run-a' / 'ckpt-7'})")
    assert f"| format | {read} |" in lines
    assert r"| settings | beta\_1 0.9, beta\_2 0.999 |" in lines
    assert r"| counters | step 7, save\_counter 2 |" in lines
    assert any(line.startswith("| note | no learning rate is stored") for line in lines)


def test_shares_of_bytes_are_no_finding(fixtures_dir: Path) -> None:
    """How much of it is optimizer state stands in the table of slots, as in the text."""
    (found,) = examine(fixtures_dir / "run-a")
    assert "P002" in [each.code for each in found.findings]
    assert "P002" not in render([found])


def test_quiet(fixtures_dir: Path, tmp_path: Path) -> None:
    """With --quiet a list of verdicts remains, of what cannot be read too."""
    (tmp_path / "x.h5").write_bytes(b"")
    paths = [fixtures_dir / "run-a", tmp_path / "x.h5"]
    first, second = render([each for path in paths for each in examine(path)], quiet=True).splitlines()
    assert first == f"- `{paths[0]}`: **resumes at iteration 7 with full Adam state**"
    assert second.startswith(f"- `{paths[1]}`: **")


def test_every_tensor(fixtures_dir: Path) -> None:
    """The count, counters and scalars are in the list, with their keys."""
    lines = _report(str(fixtures_dir / "run-a"), tensors=True).splitlines()
    suffix = ".ATTRIBUTES/VARIABLE_VALUE"
    assert f"| `iterations` | scalar | int64 | `optimizer/iter/{suffix}` |" in lines
    assert f"| `save_counter` | scalar | int64 | `save_counter/{suffix}` |" in lines
    assert f"| `beta_1` | scalar | float32 | `optimizer/beta_1/{suffix}` |" in lines
