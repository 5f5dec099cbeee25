"""What a notebook shows: a screen at most, text that stays text, and the document of `inspect`."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.commands import ckptdoctor as command
from support.commands import python

import ckptdoctor
from ckptdoctor.examination import Examination
from ckptdoctor.references import FileRange, Inline, Piece, Pieces, TensorRef
from ckptdoctor.state import Format, ModelVariable, OptimizerState, ParamGroup, Role, Slot, TrainingState

EVIL = "<script>alert(1)</script>\x1b[2J\u202e"


class Tags(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A tag."""
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        """Text."""
        self.text += data


def tags(html: str) -> Tags:
    """What is in a piece of HTML."""
    found = Tags()
    found.feed(html)
    return found


def hostile() -> Examination:
    """An artifact whose every name is made to be run, and of which there is much."""
    ref = TensorRef(EVIL, "float32", (2,), FileRange(EVIL, 0, 8))
    slots = tuple(Slot(f"{EVIL}{number % 30}", Role.OTHER, f"{EVIL}{number}", ref) for number in range(3000))
    groups = tuple(ParamGroup(f"{EVIL}{number}", (), {"lr": number}) for number in range(300))
    optimizer = OptimizerState(
        EVIL, EVIL, None, slots=slots, groups=groups, notes=(EVIL,) * 50, hyperparameters={EVIL * 50: EVIL * 50}
    )
    variables = tuple(ModelVariable(f"{EVIL}{number}", ref) for number in range(3000))
    state = TrainingState(EVIL, Format.TF_CHECKPOINT, variables=variables, optimizers=(optimizer,) * 40)
    return Examination(EVIL, EVIL, state, ckptdoctor.inspect("fixtures/run-a")[0].status, EVIL, EVIL)


def test_a_screen_at_most() -> None:
    """Whatever an artifact holds, and nothing in it reaches the terminal as a command."""
    each = hostile()
    assert each.state is not None
    for shown in (repr(each), repr(each.state), repr(each.optimizers[0]), repr(each.optimizers[0].slots[0].tensor)):
        lines = shown.splitlines()
        assert len(lines) <= 30
        assert max(map(len, lines)) <= 600
        assert "\x1b" not in shown
        assert "\u202e" not in shown


def test_html_has_no_script() -> None:
    """Tables and text, however the names are made."""
    each = hostile()
    for html in (each._repr_html_(), each.optimizers[0]._repr_html_()):
        found = tags(html)
        assert found.tags <= {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td"}
        assert found.attributes <= {"style"}
        assert "<script>alert(1)</script>" in found.text
        assert "\x1b" not in html
        assert len(html) < 400_000


def test_what_is_told(fixtures_dir: Path) -> None:
    """The verdict, the facts and the findings."""
    (each,) = ckptdoctor.inspect(fixtures_dir / "whole-model.h5")
    for shown in (repr(each), tags(each._repr_html_()).text):
        assert "resumes at iteration 7 with full Adam state" in shown
        assert "Keras model in HDF5" in shown
    assert "m 4 of 4, v 4 of 4" in repr(each.optimizers[0])
    assert repr(each.state).splitlines()[1:] == [
        "  model: 4 variables",
        "  optimizer 'optimizer': Adam, iteration 7, 8 slots>",
    ]
    (lost,) = ckptdoctor.inspect(fixtures_dir / "lost.weights.h5")
    code = lost.findings[0].code
    assert code in repr(lost)
    assert code in tags(lost._repr_html_()).text


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """Its error is what is shown, and no table has rows."""
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    (each,) = ckptdoctor.inspect(tmp_path / "cut.h5")
    assert "unreadable" in repr(each)
    assert "<table>" in each._repr_html_()
    assert each.to_dict()["error"] == str(each.error)


@pytest.mark.parametrize("name", ["run-a", "keras3.keras", "weights-only.h5"])
def test_the_document_of_inspect(fixtures_dir: Path, name: str) -> None:
    """`to_dict` is the entry of the command's JSON."""
    path = fixtures_dir / name
    printed = json.loads(command("inspect", "--format", "json", path).out)["artifacts"][0]
    assert json.loads(json.dumps(ckptdoctor.inspect(path)[0].to_dict())) == printed
    printed = json.loads(command("inspect", "--format", "json", "--tensors", "--stats", path).out)["artifacts"][0]
    assert json.loads(json.dumps(ckptdoctor.inspect(path, stats=True)[0].to_dict(tensors=True))) == printed


def test_a_place_of_many_parts() -> None:
    """A partitioned tensor is told in a line."""
    piece = Piece((0,), (1,), Inline(b"\0" * 4))
    assert repr(TensorRef("w", "float32", (9,), Pieces((piece,) * 9999))) == "TensorRef('w', 'float32', (9,), Pieces)"
    assert "offset=3" in repr(TensorRef("w", "float32", (), FileRange("file", 3, 4)))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(fixtures_dir: Path, library: Any) -> None:
    """A row a tensor, with figures where they were asked for."""
    pytest.importorskip(library)
    (each,) = ckptdoctor.inspect(fixtures_dir / "run-a", stats=True)
    frame = each.to_frame(library)
    assert type(frame).__module__.partition(".")[0] == library
    assert [*frame["kind"]].count("variable") == 4
    assert [*frame["kind"]].count("slot") == 8
    assert [*frame["variable"]][4:6] == [each.optimizers[0].slots[0].variable, each.optimizers[0].slots[1].variable]
    assert next(iter(frame["nbytes"])) == 96
    least = each.statistics[each.optimizers[0].slots[0].tensor]
    assert least is not None
    assert [*frame["min"]][4] == least.min
    assert len(each.optimizers[0].to_frame(library)) == len(frame) - 4


def test_frames_without_a_library(fixtures_dir: Path) -> None:
    """One sentence says what is needed, or what was asked for."""
    path = str(fixtures_dir / "run-a")
    done = python("-c", f"""
import sys, ckptdoctor
from ckptdoctor.errors import UsageProblem
sys.modules["pandas"] = sys.modules["polars"] = None
(each,) = ckptdoctor.inspect({path!r})
for library in (None, "polars", "dplyr"):
    try:
        each.to_frame(library)
    except UsageProblem as problem:
        print(problem)
""")  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "to_frame needs pandas or polars, which is not installed",
        "to_frame needs polars, which is not installed",
        "'dplyr' is no library of tables: give pandas or polars",
    ]
