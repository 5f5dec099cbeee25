"""Configuration files and the command line, put together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptdoctor.checking.configuration import configure, explain, split_codes
from ckptdoctor.diagnosis.expected import Part, Purpose
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.errors import UsageProblem

EVERYTHING = """
select = ["I", "S", "V"]
ignore = ["s010"]
severities = { S004 = "error", P = "info" }
fail-on = "warning"
expect = "resumable"
require = ["iterations", "slots"]
min-iterations = 100
optimizer = "Adam"
loader = "keras==3.15"
deep = true

[[overrides]]
paths = ["release/**"]
expect = "weights-only"
require = ["weights"]
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of the test's own."""
    folder = tmp_path / "project" / "deep" / "inside"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return tmp_path / "project"


def test_without_a_file() -> None:
    """The defaults, each said to be one."""
    found = configure({})
    assert found.path is None
    assert set(found.sources.values()) == {"default"}


def test_everything(elsewhere: Path) -> None:
    """Every setting of a file reaches the policy."""
    (elsewhere / "ckptdoctor.toml").write_text(EVERYTHING)
    policy = configure({}).policy
    assert policy.select == ("I", "S", "V")
    assert policy.ignore == ("S010",)
    assert policy.severities == {"S004": Severity.ERROR, "P": Severity.INFO}
    assert (policy.fail_on, policy.expect) == (Severity.WARNING, Purpose.RESUMABLE)
    assert policy.require == (Part.ITERATIONS, Part.SLOTS)
    assert (policy.min_iterations, policy.optimizer, policy.loader, policy.deep) == (100, "Adam", "keras==3.15", True)
    (override,) = policy.overrides
    assert override.settings == {"expect": Purpose.WEIGHTS_ONLY, "require": (Part.WEIGHTS,)}
    assert policy.for_path(str(elsewhere / "release" / "m.keras")).expect is Purpose.WEIGHTS_ONLY


def test_the_nearest_file_wins(elsewhere: Path) -> None:
    """The search goes upwards; a pyproject.toml without our table is passed by, ckptdoctor.toml comes before it."""
    (elsewhere / "pyproject.toml").write_text("[tool.ckptdoctor]\nmin-iterations = 1\n")
    assert configure({}).policy.min_iterations == 1
    (elsewhere / "deep" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert configure({}).policy.min_iterations == 1
    (elsewhere / "deep" / "ckptdoctor.toml").write_text("min-iterations = 2\n")
    assert configure({}).policy.min_iterations == 2
    assert configure({}, search=False).policy.min_iterations is None
    assert configure({}, config=str(elsewhere / "pyproject.toml")).policy.min_iterations == 1


def test_the_command_line_comes_first(elsewhere: Path) -> None:
    """What is given replaces what the file says, and `sources` tells which is which."""
    (elsewhere / "ckptdoctor.toml").write_text('optimizer = "SGD"\nmin-iterations = 5\n')
    found = configure({"optimizer": "Adam"})
    assert (found.policy.optimizer, found.policy.min_iterations) == ("Adam", 5)
    assert found.policy.fixed == {"optimizer"}
    assert found.sources["optimizer"] == "command line"
    assert found.sources["min-iterations"].endswith("ckptdoctor.toml")
    assert found.sources["deep"] == "default"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("min-iteration = 1", "unknown setting 'min-iteration'; did you mean 'min-iterations'?"),
        ("xyzzy = 1", "unknown setting 'xyzzy'; known are select, ignore, "),
        ("min-iterations = -1", "min-iterations should be a whole number from 0 on, not -1"),
        ("min-iterations = true", "min-iterations should be a whole number from 0 on, not True"),
        ("deep = 1", "deep should be true or false, not 1"),
        ('select = "S"', "select should be a list of texts, not 'S'"),
        ('select = ["Q"]', "select names no rule: 'Q'"),
        ('ignore = ["S0O3"]', "ignore names no rule: 'S0O3'; near are S023, S013, S003"),
        ('fail-on = "info"', "fail-on should be error or warning, not 'info'"),
        ('expect = "resumeable"', "expect should be one of resumable, weights-only, not 'resumeable'; did you mean"),
        ('require = ["slot"]', "require should be one of iterations, slots, hyperparameters, weights, not 'slot'"),
        ("severities = 3", "severities should be a table of codes"),
        ('severities = {S003 = "fatal"}', "severities.S003 should be one of error, warning, info, not 'fatal'"),
        ('optimizer = ""', "optimizer should be a text, not ''"),
        ("fail-on = {a = 1}", "fail-on should be error or warning, not {'a': 1}"),
        ("expect = [1]", "expect should be one of resumable, weights-only, not [1]"),
        ("\nmin-iterations = " + "9" * 5000, "min-iterations has more digits than any number that is meant"),
        ("min-iterations = 0x" + "f" * 9000, "min-iterations should be 9223372036854775807 at most"),
        ("deep = 0x" + "f" * 9000, "deep should be true or false, not a number of very many digits"),
        (f"deep = [{'1, ' * 9000}]", "deep should be true or false, not [1, 1, "),
        ('loader = "keras"', "loader: what keras restores depends on its version: name it, as keras==3.15"),
        ("overrides = 3", "overrides should be [[overrides]] tables, each with paths"),
        ('[[overrides]]\nexpect = "resumable"', "an override has no paths to apply to"),
        ('[[overrides]]\npaths = ["*"]\ndeeep = true', "unknown setting 'deeep'; did you mean 'deep'?"),
        ('[[overrides]]\npath = ["*"]\ndeep = true', "unknown setting 'path'; did you mean 'paths'?"),
        ('[[overrides]]\npaths = ["*"]\nloader = "keras"', "overrides.loader: what keras restores depends on"),
        ('[[overrides]]\npaths = ["a", "[z-a]"]', "overrides.paths has '[z-a]', which is no pattern: bad character"),
        ('[[overrides]]\npaths = ["!"]', "overrides.paths has '!', which is no pattern: "),
        ("= 1", "the configuration is not TOML: "),
    ],
)
def test_complaints(elsewhere: Path, text: str, complaint: str) -> None:
    """Whatever is wrong is named, with what would be right."""
    (elsewhere / "ckptdoctor.toml").write_text(text)
    with pytest.raises(UsageProblem) as caught:
        configure({})
    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
    assert caught.value.path == os.path.join("..", "..", "ckptdoctor.toml"), "the file is named"


def test_codes_in_lower_case(elsewhere: Path) -> None:
    """A code is known in lower case wherever one stands."""
    (elsewhere / "ckptdoctor.toml").write_text('select = ["i"]\nseverities = { i001 = "info" }\n')
    policy = configure({}).policy
    assert (policy.select, policy.severities) == (("I",), {"I001": Severity.INFO})


@pytest.mark.filterwarnings("error")
def test_patterns_that_python_warns_of(elsewhere: Path) -> None:
    """A pattern that is one, if a strange one, is taken without a word of the regular expression behind it."""
    (elsewhere / "ckptdoctor.toml").write_text('[[overrides]]\npaths = ["[[a]"]\ndeep = true\n')
    assert configure({}).policy.for_path(str(elsewhere / "a")).deep


@pytest.mark.parametrize("text", ["tool = 3 # ckptdoctor", "[tool]\nckptdoctor = 3"])
def test_pyproject_of_another_shape(elsewhere: Path, text: str) -> None:
    """Tables that are none are complained about, where the file speaks of us."""
    (elsewhere / "pyproject.toml").write_text(text)
    with pytest.raises(UsageProblem, match="is not a table"):
        configure({})


def test_unreadable(elsewhere: Path) -> None:
    """A file that is not there or not text is one sentence."""
    with pytest.raises(UsageProblem, match="cannot be read"):
        configure({}, config=str(elsewhere / "none.toml"))
    (elsewhere / "ckptdoctor.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageProblem, match="is not TOML"):
        configure({})


def test_what_is_explained_is_a_configuration(elsewhere: Path) -> None:
    """The explanation of a policy is a configuration file that makes the same policy, and says where all came from."""
    (elsewhere / "ckptdoctor.toml").write_text(EVERYTHING)
    text = explain(configure({"min-iterations": 7}))
    assert "min-iterations = 7  # command line" in text
    assert f"deep = true  # {os.path.join('..', '..', 'ckptdoctor.toml')}" in text
    (elsewhere / "again.toml").write_text(text)
    again = configure({}, config=str(elsewhere / "again.toml")).policy
    first = configure({"min-iterations": 7}).policy
    assert again.overrides[0].settings == first.overrides[0].settings
    for field in ("select", "ignore", "severities", "fail_on", "require", "min_iterations", "optimizer", "deep"):
        assert getattr(again, field) == getattr(first, field)


def test_an_explanation_of_defaults_is_a_configuration(elsewhere: Path) -> None:
    """What is not set is shown as a comment: an empty text would be refused."""
    (elsewhere / "again.toml").write_text(explain(configure({})))
    assert configure({}, config=str(elsewhere / "again.toml")).policy == configure({}).policy


def test_split_codes() -> None:
    """Commas and repetition mean the same."""
    assert split_codes(["S, I00", "V"]) == ["S", "I00", "V"]
