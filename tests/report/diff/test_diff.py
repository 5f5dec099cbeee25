"""The reports of `diff`: the verdict first, readable at 60 columns, names made harmless, JSON as its schema says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.objects import Node, keras3, legacy, model, tracked, variable, variables, write_model, write_objects
from support.schemas import load

import ckptdoctor
from ckptdoctor.comparison.results import Comparison, Layer, Outcome, Verdict
from ckptdoctor.errors import UnreadableArtifact, UsageProblem
from ckptdoctor.report.diff import facts as diff_facts
from ckptdoctor.report.diff import json as diff_json
from ckptdoctor.report.diff import markdown as diff_markdown
from ckptdoctor.report.diff import rows as diff_rows
from ckptdoctor.report.diff import text as diff_text
from ckptdoctor.state import Format, Role

SCHEMA = load("diff.schema.json")
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
NASTY = ["\x1b[31mred", "line\nbreak", "\r", "\t", "\x9b31m", "\u202eevil", "\0", "\u2028", "[bold]x[/bold]", "a|b"]


def document(text: str) -> dict[str, Any]:
    """A document, after it has passed the schema."""
    assert text.isascii()
    assert text.endswith("}\n")
    found: dict[str, Any] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    VALIDATOR.validate(found)
    return found


def named(path: Path, name: str, *, iterations: int = 7, size: int = 2) -> str:
    """A checkpoint whose variable has this name."""
    net = Node({name: Node({"kernel": variable([float(iterations)] * size, f"{name}/kernel")})})
    return write_objects(path, tracked(model=net, optimizer=legacy(variables(net), iterations=iterations)))


@pytest.fixture
def moments(fixtures_dir: Path) -> Comparison:
    """Two moments of one run."""
    return ckptdoctor.diff(fixtures_dir / "run-a" / "ckpt-3", fixtures_dir / "run-a" / "ckpt-7", values=True)


# -------------------------------------------------------------------------------------------------------------- verdict


@pytest.mark.parametrize(
    ("a", "b", "options", "says"),
    [
        ("run-a", "run-a", {"values": True}, "the same optimizer state: Adam at iteration 7, 8 slots equal"),
        (
            "run-a",
            "run-a",
            {},
            "no difference found: Adam at iteration 7; the values of 8 slots were not compared (--values)",
        ),
        (
            "whole-model.h5",
            "savedmodel",
            {"values": True, "atol": 1e-6},
            "the same optimizer state: Adam at iteration 7, 8 slots equal within atol 1e-06",
        ),
        (
            "run-a",
            "run-a",
            {"values": True, "weights": True},
            "the same optimizer state: Adam at iteration 7, 8 slots equal; so are the weights of 4 variables",
        ),
        ("run-a/ckpt-3", "run-a", {"values": True}, "different: iterations 3 and 7, 8 of 8 slots different"),
        ("run-a/ckpt-3", "run-a", {}, "different: iterations 3 and 7"),
        ("weights-only.h5", "run-a", {}, "different: B holds Adam at iteration 7, A no optimizer state"),
        ("run-a", "weights-only.h5", {}, "different: A holds Adam at iteration 7, B no optimizer state"),
        (
            "weights-only.h5",
            "lost.weights.h5",
            {},
            "neither holds optimizer state: there is nothing to compare",
        ),
        ("whole-model.h5", "keras3.keras", {}, "different: schedule 0.01 and CosineDecay"),
    ],
)
def test_the_verdict(fixtures_dir: Path, a: str, b: str, options: dict[str, Any], says: str) -> None:
    """One line says what an engineer acts on."""
    assert diff_facts.verdict(ckptdoctor.diff(fixtures_dir / a, fixtures_dir / b, **options)) == says


def test_weights_that_differ(fixtures_dir: Path, tmp_path: Path) -> None:
    """That the optimizer state is the same is said even where the weights make a difference."""
    ckptdoctor.graft(fixtures_dir / "run-a", fixtures_dir / "keras3.keras", tmp_path / "o.keras")
    found = ckptdoctor.diff(fixtures_dir / "run-a", tmp_path / "o.keras", values=True, weights=True)
    assert diff_facts.verdict(found) == (
        "different: weights of 4 of 4 variables; the optimizer state is the same, Adam at iteration 7"
    )


def test_several_optimizers_are_named(tmp_path: Path) -> None:
    """With several optimizers each is said by name."""
    paths = []
    for count in (7, 8):
        nets = {name: model({f"{name}/kernel": (3, 4)}) for name in "gd"}
        optimizers = {
            f"{name}_opt": legacy(variables(net), iterations=count if name == "d" else 7) for name, net in nets.items()
        }
        paths.append(write_objects(tmp_path / f"p{count}", tracked(**nets, **optimizers)))
    found = ckptdoctor.diff(paths[0], paths[1])
    assert diff_facts.verdict(found) == "different: d_opt: iterations 7 and 8"
    shown = diff_text.render(found, color=False).splitlines()
    assert "  g_opt" in shown
    assert "  d_opt" in shown


# ----------------------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize("width", [60, 80, 160])
def test_widths(monkeypatch: pytest.MonkeyPatch, moments: Comparison, width: int) -> None:
    """No line is wider than the terminal, and nothing is cut off."""
    monkeypatch.setenv("COLUMNS", str(width))
    shown = diff_text.render(moments, color=False)
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    words = re.sub(r"\s+", " ", shown)
    for said in ("different: iterations 3 and 7", "iterations 3 7 different", "first moment m (4) m (4) different,"):
        assert said in words
    assert "16 of 16 values differ by up to 0.375" in words


def test_the_verdict_is_one_line_in_a_pipe(moments: Comparison) -> None:
    """Without a terminal the verdict is not wrapped: people grep for it."""
    first = diff_text.render(moments, color=False).splitlines()[0]
    assert first == f"{moments.a.path} and {moments.b.path}: {diff_facts.verdict(moments)}"


def test_quiet(moments: Comparison) -> None:
    """With --quiet the verdict is all."""
    assert len(diff_text.render(moments, quiet=True, color=False).splitlines()) == 1
    assert len(diff_markdown.render(moments, quiet=True).splitlines()) == 1


@pytest.mark.parametrize("name", NASTY)
def test_names_from_files(tmp_path: Path, name: str) -> None:
    """Control characters, bidirectional marks and line ends of names never reach the terminal or a page."""
    a, b = named(tmp_path / "a", name), named(tmp_path / "b", name, iterations=8)
    lost = named(tmp_path / "c", "other", size=3)
    for found in (ckptdoctor.diff(a, b, values=True, weights=True), ckptdoctor.diff(a, lost, values=True)):
        assert found.verdict is not Verdict.EQUAL
        for shown in (diff_text.render(found, color=False), diff_markdown.render(found)):
            assert all(char.isprintable() or char == "\n" for char in shown)
        document(diff_json.render(found))


def test_many_differences_are_cut_short(tmp_path: Path) -> None:
    """The largest differences are named, the rest is counted."""
    names = {f"layer_{number}/kernel": (2, 2) for number in range(30)}
    paths = []
    for value in (0.5, 0.25):
        net = model(names)
        optimizer = legacy(variables(net))
        optimizer.slots = [
            (each, kind, variable([[value] * 2] * 2, f"Adam/{each.full_name}/{kind}"))
            for each, kind, _ in optimizer.slots
        ]
        paths.append(write_objects(tmp_path / f"p{value}", tracked(model=net, optimizer=optimizer)))
    found = ckptdoctor.diff(paths[0], paths[1], values=True)
    shown = diff_text.render(found, color=False)
    assert shown.count("values differ by up to") == diff_rows.LISTED
    assert "and 22 more: --format json has all of them" in shown
    assert len(document(diff_json.render(found))["optimizers"][0]["slots"]) == 60


def test_rows_of_what_is_not_recorded(fixtures_dir: Path) -> None:
    """Settings that one side does not record stand in one line, and not in the table."""
    found = ckptdoctor.diff(fixtures_dir / "whole-model.h5", fixtures_dir / "optimizer.pkl")
    assert ("unrecorded", "B does not record learning_rate 0.01, beta_1 0.9, beta_2 0.999, epsilon 1e-07") in (
        diff_facts.facts(found)
    )
    assert "epsilon" not in {row.what for row in diff_rows.rows(found.optimizers[0])}


# ------------------------------------------------------------------------------------------------------------- markdown


def test_markdown(moments: Comparison) -> None:
    """The verdict, the facts, a table of what was compared, and the slots that differ."""
    shown = diff_markdown.render(moments)
    assert "**different: iterations 3 and 7, 8 of 8 slots different**" in shown
    assert "| iterations | 3 | 7 | different |" in shown
    assert "| `m of score/kernel` | 16 of 16 values differ by up to 0.375" in shown
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)


# ----------------------------------------------------------------------------------------------------------------- JSON


def test_the_schema_is_one() -> None:
    """The schema itself is right, and of this version."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == diff_json.SCHEMA


@pytest.mark.parametrize(
    ("where", "values"),
    [
        (("outcome",), {each.value for each in Outcome}),
        (("verdict",), {each.value for each in Verdict}),
        (("role",), {each.value for each in Role}),
        (("item", "properties", "layer"), {each.value for each in Layer}),
        (("artifact", "properties", "format"), {each.value for each in Format} | {None}),
    ],
)
def test_the_schema_knows_every_value(where: tuple[str, ...], values: set[str | None]) -> None:
    """What the vocabulary has, the schema has, and no more."""
    at: Mapping[str, Any] = SCHEMA["$defs"]
    for step in where:
        at = at[step]
    assert set(at["enum"]) == values


@pytest.mark.parametrize(
    ("a", "b", "options"),
    [
        ("run-a", "run-a", {"values": True, "weights": True}),
        ("run-a", "run-a/ckpt-3", {"values": True}),
        ("run-a", "keras3.keras", {}),
        ("whole-model.h5", "optimizer.pkl", {"values": True, "rtol": 0.1}),
        ("optimizer.pkl", "optimizer.pkl", {"values": True}),
        ("tf1", "savedmodel", {"values": True}),
        ("run-a", "weights-only.h5", {"weights": True}),
        ("weights-only.h5", "lost.weights.h5", {}),
    ],
)
def test_documents(fixtures_dir: Path, a: str, b: str, options: dict[str, Any]) -> None:
    """Every shape of the document is what the schema says."""
    found = ckptdoctor.diff(fixtures_dir / a, fixtures_dir / b, **options)
    shown = document(diff_json.render(found))
    assert shown["verdict"] == found.verdict.value
    assert shown["summary"] == diff_facts.verdict(found)
    assert shown["values"] is bool(options.get("values"))
    assert [len(each["slots"]) for each in shown["optimizers"]] == [len(each.slots) for each in found.optimizers]


@pytest.mark.parametrize("field", ["verdict", "a", "optimizers", "weights", "error"])
def test_every_promised_field_is_required(moments: Comparison, field: str) -> None:
    """A field that the schema names may not be left out."""
    shown = document(diff_json.render(moments))
    del shown[field]
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(shown)


def test_nan_is_a_string(tmp_path: Path) -> None:
    """A number that faces NaN has no difference that JSON could carry."""
    paths = []
    for name, value in (("a", 1.0), ("b", float("nan"))):
        net = model()
        optimizer = legacy(variables(net))
        optimizer.slots[1] = (*optimizer.slots[1][:2], variable([value] * 4, "Adam/hidden/bias/m"))
        paths.append(write_objects(tmp_path / name, tracked(model=net, optimizer=optimizer)))
    found = ckptdoctor.diff(paths[0], paths[1], values=True)
    shown = document(diff_json.render(found))
    figures = [slot["figures"] for slot in shown["optimizers"][0]["slots"] if slot["outcome"] == "different"]
    assert [each["max_absolute"] for each in figures] == ["NaN"]
    assert "by up to nan" in diff_text.render(found, color=False)


def test_failures() -> None:
    """A comparison that did not come about has a document as well: no verdict, and the reason."""
    shown = document(diff_json.render_failure(("a", "b"), (None, UnreadableArtifact("it is torn")), None))
    assert (shown["verdict"], shown["error"], shown["b"]["error"]) == (None, "it is torn", "it is torn")
    shown = document(diff_json.render_failure(("a", "b"), (None, None), UsageProblem("name one")))
    assert (shown["error"], shown["a"]["error"]) == ("name one", None)


def test_weights_that_are_near(tmp_path: Path, moments: Comparison) -> None:
    """Weights a few steps apart are near, which other runs' are not; either way they are for information."""
    row = diff_rows.weights_row(moments)
    assert row is not None
    assert row.said == "different, but near (not counted: --weights)"
    paths = []
    for fill in (1.0, -50.0):
        net = model(fill=fill)
        paths.append(write_objects(tmp_path / str(fill), tracked(model=net, optimizer=legacy(variables(net)))))
    row = diff_rows.weights_row(ckptdoctor.diff(*paths))
    assert row is not None
    assert row.said == "different (not counted: --weights)"


def test_translations_are_told(tmp_path: Path) -> None:
    """Generations are no difference, and how variables were matched is told where their paths do not say it."""
    net = model()
    write_model(tmp_path / "a")
    b = write_objects(tmp_path / "b", tracked(net=net, optimizer=keras3(variables(net))))
    found = ckptdoctor.diff(tmp_path / "a", b, values=True)
    rows = {row.what: row for row in diff_rows.rows(found.optimizers[0])}
    assert rows["generation"].said == "compared across generations"
    assert rows["first moment"][1:4] == ("m (4)", "momentum (4)", "equal")
