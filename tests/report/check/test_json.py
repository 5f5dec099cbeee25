"""The JSON document of `check`: every shape of it is what the shipped schemas say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.checks import (
    INCOMPLETE,
    NEVER,
    NOT_FINITE,
    PART,
    checked,
    directory,
    hostile,
    missing,
    report,
    with_findings,
)
from support.objects import write_model
from support.schemas import COPIES, FOLDER, completed, load

from ckptdoctor.checking.configuration import configure
from ckptdoctor.checking.policy import Override, Policy
from ckptdoctor.checking.results import Checked, CheckReport
from ckptdoctor.diagnosis.expected import Part, Purpose
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.report.check import json as check_json
from ckptdoctor.report.inspect import json as inspect_json

SCHEMA = load("check.schema.json")
INSPECT = load("inspect.schema.json")
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
ONE_OF_INSPECT = jsonschema.Draft202012Validator({**INSPECT["$defs"]["artifact"], "$defs": INSPECT["$defs"]})


def _document(whole: CheckReport) -> dict[str, Any]:
    """The document of a report, after it has passed the schema."""
    text = check_json.render(whole)
    assert text.isascii()
    assert text.endswith("}\n")
    document: dict[str, Any] = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    VALIDATOR.validate(document)
    return document


@pytest.fixture
def good(tmp_path: Path) -> Checked:
    """A checkpoint that resumes."""
    (found,) = checked(write_model(tmp_path / "ckpt-7"))
    return found


def test_the_schema_is_one() -> None:
    """The schema itself is right, and of this version."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == check_json.SCHEMA
    assert SCHEMA["$id"].rpartition("/")[0] == INSPECT["$id"].rpartition("/")[0]


@pytest.mark.parametrize("name", sorted(each.name for each in FOLDER.glob("*.schema.json")))
def test_every_schema_stands_alone(name: str) -> None:
    """A schema refers to nothing outside itself, so that whoever has the file can validate with it."""
    schema = load(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    references = re.findall(r'"\$ref": "(.*?)"', json.dumps(schema))
    assert all(each.startswith("#/$defs/") for each in references)
    assert {each.removeprefix("#/$defs/") for each in references} <= set(schema.get("$defs", {}))


@pytest.mark.parametrize("name", COPIES)
def test_copied_definitions(name: str) -> None:
    """What a schema has of another is what that one says; `python tests/support/schemas.py` copies it anew."""
    assert load(name) == completed(name)


def test_the_schema_knows_every_value() -> None:
    """What the vocabulary of policies has, the schema has, and no more."""
    policy = SCHEMA["$defs"]["policy"]["properties"]
    assert set(policy["expect"]["enum"]) == {each.value for each in Purpose}
    assert set(policy["require"]["items"]["enum"]) == {each.value for each in Part}
    assert set(policy["fail-on"]["enum"]) == {each.value for each in Severity}
    assert set(policy) == set(SCHEMA["$defs"]["policy"]["required"])


def test_an_artifact_is_as_inspect_gives_it(good: Checked) -> None:
    """Every field of `inspect` is there, with the same value but for the findings in force, and those of `check`."""
    assert good.examination is not None
    (found,) = _document(report(with_findings(good, NOT_FINITE)))["artifacts"]
    ONE_OF_INSPECT.validate(found)
    plain = inspect_json.artifact(good.examination)
    del plain["findings"]
    assert found | plain == found
    assert [each["code"] for each in found["findings"]] == ["V001"]
    assert set(found) - set(plain) == {"kind", "findings", "passed", "exit_code", "ignored", "problem"}


def test_the_document(good: Checked) -> None:
    """What all results come to stands at the top."""
    whole = report(good, replace(with_findings(good, NOT_FINITE, NEVER, PART), ignored=2), directory("run"))
    document = _document(replace(whole, policy=Policy(ignore=("X",))))
    assert (document["passed"], document["exit_code"], document["interrupted"]) == (False, 1, False)
    assert document["summary"] == {
        "artifacts": 2, "run_directories": 1, "passed": 2, "failed": 1, "unreadable": 0, "missing": 0, "errors": 1,
        "warnings": 1, "infos": 1 + len(good.findings), "ignored": 2,
    }  # fmt: skip
    assert [each["kind"] for each in document["artifacts"]] == ["artifact", "artifact", "run-directory"]
    assert [each["ignored"] for each in document["artifacts"]] == [0, 2, 0]


def test_run_directories() -> None:
    """A run directory has the fields of an artifact, with nothing in what only an artifact has."""
    (found,) = _document(report(directory("run", INCOMPLETE)))["artifacts"]
    assert set(SCHEMA["$defs"]["result"]["required"]) == set(found)
    assert (found["path"], found["status"], found["format"], found["model"]) == ("run", None, None, None)
    assert [each["hint"] for each in found["findings"]] == ["resume from run/ckpt-8"]


def test_nothing_there() -> None:
    """A path where nothing is stands among the artifacts, as unreadable, with the reason."""
    document = _document(report(missing("gone")))
    (found,) = document["artifacts"]
    ONE_OF_INSPECT.validate(found)
    assert found["problem"] == found["error"] == "there is no such file or directory"
    assert (document["exit_code"], document["summary"]["missing"], document["summary"]["unreadable"]) == (2, 1, 0)


@pytest.mark.parametrize("kind", ["truncated index", "missing shard", "garbage", "empty", "folder"])
def test_errors(tmp_path: Path, kind: str) -> None:
    """An artifact that cannot be read is an entry of the same document, with its error."""
    prefix = write_model(tmp_path / "run" / "ckpt-1")
    path = prefix
    if kind == "truncated index":
        Path(f"{prefix}.index").write_bytes(b"x" * 50)
    elif kind == "missing shard":
        Path(f"{prefix}.data-00000-of-00001").unlink()
    elif kind == "folder":
        path = str(tmp_path)
    else:
        path = str(tmp_path / "model.h5")
        Path(path).write_bytes(b"" if kind == "empty" else b"\x93garbage" * 9)
    document = _document(report(*checked(path)))
    (found,) = document["artifacts"]
    assert (found["status"], found["exit_code"], found["passed"]) == ("unreadable", 3, False)
    assert document["summary"]["unreadable"] == 1


def test_the_museum(museum: Path, museum_truth: list[dict[str, Any]]) -> None:
    """Real artifacts of every format and generation pass the schema."""
    found = checked(*(str(museum / record["path"]) for record in museum_truth[::5]))
    assert len(found) > 200
    assert all(each.problem is None for each in found)
    _document(report(*found))


def test_interrupted(good: Checked) -> None:
    """An interrupted check did not pass, whatever its results; the schema insists."""
    document = _document(report(good, interrupted=True))
    assert (document["passed"], document["exit_code"], document["interrupted"]) == (False, 130, True)
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(document | {"passed": True})


def test_empty() -> None:
    """No results are a document too."""
    document = _document(report())
    assert document["artifacts"] == []
    assert set(document["summary"].values()) == {0}


def test_the_policy(good: Checked) -> None:
    """What is in force stands there under the names that a configuration file has."""
    policy = Policy(
        select=("S", "V"),
        ignore=("S010",),
        severities={"S004": Severity.ERROR},
        fail_on=Severity.WARNING,
        require=(Part.SLOTS, Part.ITERATIONS),
        min_iterations=5,
        optimizer="Adam",
        loader="keras==3.15",
        deep=True,
        overrides=(
            Override(("release/",), {"expect": Purpose.WEIGHTS_ONLY, "require": (Part.WEIGHTS,), "min_iterations": 0}),
        ),
    )
    assert _document(report(good, policy=policy))["policy"] == {
        "select": ["S", "V"],
        "ignore": ["S010"],
        "severities": {"S004": "error"},
        "fail-on": "warning",
        "expect": "resumable",
        "require": ["slots", "iterations"],
        "min-iterations": 5,
        "optimizer": "Adam",
        "optimizers": {},
        "loader": "keras==3.15",
        "deep": True,
        "overrides": [
            {"paths": ["release/"], "settings": {"expect": "weights-only", "require": ["weights"], "min-iterations": 0}}
        ],
    }


def test_the_configuration(tmp_path: Path) -> None:
    """`--explain-config` as JSON: the policy as a check's document has it, and the source of each setting."""
    (tmp_path / "ckptdoctor.toml").write_text('min-iterations = 5\n[[overrides]]\npaths = ["a/"]\ndeep = true\n')
    path = str(tmp_path / "ckptdoctor.toml")
    found = configure({"optimizer": "Adam"}, config=path)
    document = json.loads(check_json.render_configuration(found))
    jsonschema.validate(document, load("check-config.schema.json"))
    assert document["policy"] == check_json.policy(found.policy)
    assert document["policy"]["overrides"] == [{"paths": ["a/"], "settings": {"deep": True}}]
    assert document["configuration_file"] == path
    told = {name: document["sources"][name] for name in ("min-iterations", "optimizer", "deep")}
    assert told == {"min-iterations": path, "optimizer": "command line", "deep": "default"}
    assert set(document["sources"]) == set(document["policy"]) - {"overrides"}


def test_names_are_data(good: Checked) -> None:
    """Names stand in JSON as they are, escaped as JSON escapes."""
    whole = hostile(good)
    paths = [each["path"] for each in _document(whole)["artifacts"]]
    assert paths == [each.path for each in whole.results]


@pytest.mark.parametrize(
    "path",
    [
        ("policy",), ("summary", "failed"), ("artifacts", 0, "passed"), ("artifacts", 0, "kind"), ("interrupted",),
        ("artifacts", 0, "optimizers", 0, "slots"), ("artifacts", 1, "findings"), ("artifacts", 1, "problem"),
    ],
)  # fmt: skip
def test_every_promised_field_is_required(good: Checked, path: tuple[str | int, ...]) -> None:
    """A field that the schema names may not be left out."""
    document = _document(report(good, directory("run")))
    at: Any = document
    for step in path[:-1]:
        at = at[step]
    del at[path[-1]]
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(document)


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, {"strange": 1}), (0, {"kind": "run-directory"}), (0, {"problem": "x"}), (0, {"exit_code": 1}),
        (0, {"status": None}), (1, {"model": {}}), (1, {"exit_code": 4}), (2, {"passed": True}), (2, {"problem": None}),
    ],
)  # fmt: skip
def test_the_schema_is_strict(good: Checked, number: int, change: dict[str, Any]) -> None:
    """Unknown fields and contradictions do not pass."""
    document = _document(report(good, directory("run"), missing("gone")))
    document["artifacts"][number] |= change
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(document)
