"""The JSON document: every shape of it is what the shipped schema says."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.bundles import array, strings, write_bundle
from support.objects import keras2, keras3, legacy, model, tf1, tracked, variables, write_model, write_objects
from support.saved_models import write_saved_model
from support.schemas import load

import ckptdoctor
from ckptdoctor.examination import Examination, examine
from ckptdoctor.report.inspect import json as report
from ckptdoctor.report.inspect.json import plain, render
from ckptdoctor.state import Format, Generation, Role, Status

SCHEMA = load("inspect.schema.json")
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def _document(*paths: str, tensors: bool = False, stats: bool = False, everything: bool = False) -> dict[str, Any]:
    """The document of some paths, after it has passed the schema."""
    found = [each for path in paths for each in examine(path, everything=everything, stats=stats)]
    return _valid(found, tensors=tensors, stats=stats)


def _valid(found: Sequence[Examination], *, tensors: bool, stats: bool) -> dict[str, Any]:
    """The document of what was examined, after it has passed the schema."""
    text = "".join(render(found, tensors=tensors, stats=stats))
    assert text.isascii()
    assert text.endswith("}\n")
    document: dict[str, Any] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    VALIDATOR.validate(document)
    return document


def test_the_schema_is_one() -> None:
    """The schema itself is right, and of this version."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == report.SCHEMA


@pytest.mark.parametrize(
    ("where", "values"),
    [
        (("artifact", "format"), {each.value for each in Format}),
        (("optimizer", "generation"), {each.value for each in Generation} | {None}),
    ],
)
def test_the_schema_knows_every_value(where: tuple[str, str], values: set[str | None]) -> None:
    """What the vocabulary has, the schema has, and no more."""
    kind, name = where
    assert set(SCHEMA["$defs"][kind]["properties"][name]["enum"]) == values


def test_the_schema_knows_roles_and_statuses() -> None:
    """The same for roles and statuses."""
    assert set(SCHEMA["$defs"]["role"]["enum"]) == {each.value for each in Role}
    assert set(SCHEMA["$defs"]["status"]["enum"]) == {each.value for each in Status}


@pytest.mark.parametrize("change", ["artifacts", "schema"])
def test_the_schema_is_not_empty(tmp_path: Path, change: str) -> None:
    """A document without what CONTRACT promises does not pass."""
    document = _document(write_model(tmp_path / "p"))
    del document[change]
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(document)


@pytest.mark.parametrize(
    "path",
    [
        ("status",), ("error",), ("model",), ("optimizers", 0, "slots", 0, "mapping"), ("optimizers", 0, "iterations"),
        ("optimizers", 0, "missing"), ("producer", "version"), ("counters",),
    ],
)  # fmt: skip
def test_every_promised_field_is_required(tmp_path: Path, path: tuple[str | int, ...]) -> None:
    """A field that CONTRACT names may not be left out."""
    document = _document(write_model(tmp_path / "p"))
    at: Any = document["artifacts"][0]
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(document)


@pytest.mark.parametrize("tensors", [False, True])
def test_the_museum(museum_examined: dict[str, Examination], *, tensors: bool) -> None:
    """Every artifact of the museum gives a document that passes, and whose statuses are no guesses."""
    _of_the_museum(list(museum_examined.values()), tensors=tensors, stats=False)


def test_the_museum_with_figures(museum: Path, museum_truth: list[dict[str, Any]]) -> None:
    """The same with figures; they read all data: a part of the artifacts is enough."""
    found = [each for record in museum_truth[::7] for each in examine(museum / record["path"], stats=True)]
    for tensors in (False, True):
        _of_the_museum(found, tensors=tensors, stats=True)


def _of_the_museum(found: Sequence[Examination], *, tensors: bool, stats: bool) -> None:
    for artifact in _valid(found, tensors=tensors, stats=stats)["artifacts"]:
        assert artifact["status"] != "unreadable", artifact["path"]
        assert ("tensors" in artifact["model"]) is tensors


def test_every_generation(tmp_path: Path) -> None:
    """Checkpoints of each generation, name-based ones, SavedModels, and a part of them broken."""
    paths = [write_bundle(tmp_path / "names", {"w": array([1.0]), "w/Momentum": array([1.0])})]
    for build in (legacy, keras2, keras3, tf1):
        net = model()
        paths.append(write_objects(tmp_path / build.__name__, tracked(model=net, optimizer=build(variables(net)))))
    paths.append(write_saved_model(tmp_path / "export", model(), config={"class_name": "Adam", "config": {}}))
    statuses = [each["status"] for each in _document(*paths, tensors=True, stats=True)["artifacts"]]
    assert statuses == ["complete", "complete", "complete", "complete", "complete", "absent"]


def test_figures(tmp_path: Path) -> None:
    """Numbers that JSON cannot carry are strings; tensors without figures have null."""
    tensors = {"w": array([math.nan, math.inf, 2.0, 0.0]), "c": array([1], "complex64"), "n": array([math.nan])}
    (artifact,) = _document(write_bundle(tmp_path / "p", tensors), tensors=True, stats=True)["artifacts"]
    stats = {each["variable"]: each["stats"] for each in artifact["model"]["tensors"]}
    assert stats["w"] == {"min": 0.0, "max": 2.0, "mean": 1.0, "nan": 1, "inf": 1, "zeros": 1, "rms": math.sqrt(2)}
    assert stats["n"] == {"min": None, "max": None, "mean": None, "nan": 1, "inf": 0, "zeros": 0, "rms": None}
    assert stats["c"] is None


def test_stats_only_when_asked(tmp_path: Path) -> None:
    """Figures stand there with --stats only, tensors with --tensors only."""
    prefix = write_model(tmp_path / "p")
    (artifact,) = _document(prefix)["artifacts"]
    assert "tensors" not in artifact["model"]
    assert "stats" not in artifact["optimizers"][0]["slots"][0]
    (artifact,) = _document(prefix, stats=True)["artifacts"]
    assert artifact["optimizers"][0]["slots"][0]["stats"]["zeros"] == 0


def test_slots_refer_to_variables(tmp_path: Path) -> None:
    """The variable of every slot is one of the listed."""
    (artifact,) = _document(write_model(tmp_path / "p"), tensors=True)["artifacts"]
    names = {each["variable"] for each in artifact["model"]["tensors"]}
    assert {slot["variable"] for slot in artifact["optimizers"][0]["slots"]} == names


def test_not_finite_scalars(tmp_path: Path) -> None:
    """A learning rate of NaN is a string."""
    net = model()
    root = tracked(model=net, optimizer=legacy(variables(net), scalars={"learning_rate": math.nan, "decay": -math.inf}))
    (artifact,) = _document(write_objects(tmp_path / "p", root))["artifacts"]
    assert artifact["optimizers"][0]["hyperparameters"] == {"learning_rate": "NaN", "decay": "-Infinity"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity"), (1.5, 1.5), (None, None), (True, True),
        ([math.nan, (1,)], ["NaN", [1]]), ({1: math.inf}, {"1": "Infinity"}), (b"bytes", "b'bytes'"), ("ключ", "ключ"),
    ],
)  # fmt: skip
def test_plain_values(value: object, expected: object) -> None:
    """Whatever a configuration holds becomes JSON."""
    assert plain(value) == expected


@pytest.mark.parametrize("kind", ["truncated index", "missing shard", "garbage", "empty", "folder", "graph"])
def test_errors(tmp_path: Path, kind: str) -> None:
    """An artifact that cannot be read is an entry of the same document, with its error."""
    prefix = write_model(tmp_path / "run" / "ckpt-1")
    path = prefix
    if kind == "truncated index":
        Path(f"{prefix}.index").write_bytes(b"x" * 50)
    elif kind == "missing shard":
        Path(f"{prefix}.data-00000-of-00001").unlink()
    elif kind == "graph":
        path = write_bundle(tmp_path / "p", {"_CHECKPOINTABLE_OBJECT_GRAPH": strings(b"\xff\xff")})
    elif kind == "folder":
        path = str(tmp_path)
    else:
        path = str(tmp_path / "model.h5")
        Path(path).write_bytes(b"" if kind == "empty" else b"\x93garbage" * 9)
    (artifact,) = _document(path, tensors=True, stats=True)["artifacts"]
    known = "tf-checkpoint" if kind in {"truncated index", "missing shard", "graph"} else "unknown"
    assert (artifact["status"], artifact["format"], artifact["model"]) == ("unreadable", known, None)
    assert artifact["error"]
    assert [each["code"][0] for each in artifact["findings"]] == ["I"]


@pytest.mark.parametrize(
    "name", ["\x1b[31m", "line\nbreak", "\u202e", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), '"\\']
)
def test_names_are_data(tmp_path: Path, name: str) -> None:
    """Names stand in JSON as they are, escaped as JSON escapes."""
    (artifact,) = _document(write_bundle(tmp_path / "p", {name: array([1.0])}), tensors=True)["artifacts"]
    assert [each["variable"] for each in artifact["model"]["tensors"]] == [name]


def test_the_python_api_says_the_same(tmp_path: Path) -> None:
    """`ckptdoctor.inspect` answers the facts that the document has."""
    prefix = write_model(tmp_path / "p")
    (found,) = ckptdoctor.inspect(prefix)
    (artifact,) = _document(prefix)["artifacts"]
    assert (found.status.value, found.summary) == (artifact["status"], artifact["summary"])
    assert [len(each.slots) for each in found.optimizers] == [len(each["slots"]) for each in artifact["optimizers"]]


def test_loaders_are_told(fixtures_dir: Path) -> None:
    """What any loader would lose of an artifact, with the way out; what all of them restore has no entry."""
    document = _document(
        *(str(fixtures_dir / name) for name in ("whole-model.h5", "savedmodel", "tf1", "optimizer.pkl"))
    )
    h5, saved_model, tf1_checkpoint, dump = (each["loaders"] for each in document["artifacts"])
    assert tf1_checkpoint == dump == []
    own = next(each for each in saved_model if each["loader"] == "tf.keras" and each["rule"] == "L002")
    assert (own["versions"], own["iterations"], own["slots"], own["weights"]) == (">=2.11", "lost", "lost", "restored")
    assert own["signal"] == "silent"
    assert own["instead"] == 'model.load_weights(path + "/variables/variables") after load_model(path)'
    assert own["graft"] is None
    other = next(each for each in h5 if each["loader"] == "keras")
    assert (other["rule"], other["versions"], other["signal"]) == ("L003", None, "error")
    path = str(fixtures_dir / "whole-model.h5")
    assert other["graft"] == (
        f"ckptdoctor graft --from {path} --into MODEL.keras --as keras3 --output MODEL-resumed.keras"
    )


def test_figures_of_what_is_neither(fixtures_dir: Path) -> None:
    """Metrics have figures as variables do, with --stats only."""
    path = str(fixtures_dir / "savedmodel")
    (artifact,) = _document(path, tensors=True, stats=True)["artifacts"]
    assert artifact["model"]["others"]
    assert all(each["stats"]["nan"] == 0 for each in artifact["model"]["others"])
    (artifact,) = _document(path, tensors=True)["artifacts"]
    assert all("stats" not in each for each in artifact["model"]["others"])


def test_decay(museum: Path) -> None:
    """A legacy `decay` is no schedule, but has its two rates; without one there is no such field."""
    decayed, plainly = (
        artifact["optimizers"][0]
        for artifact in _document(*(str(museum / f"keras/k2.2.4-{name}-h5.h5") for name in ("adam_decay", "adam")))[
            "artifacts"
        ]
    )
    assert decayed["schedule"] is None
    assert decayed["decay"] == pytest.approx({"learning_rate": 0.01 / 1.007, "learning_rate_if_lost": 0.01})
    assert "decay" not in plainly
