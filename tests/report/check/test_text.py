"""What a person reads of `check`: the verdict, the reasons, and what to do, at any width."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.checks import (
    HOSTILE,
    INCOMPLETE,
    NEVER,
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

from ckptdoctor.checking.policy import Override, Policy
from ckptdoctor.checking.results import Checked
from ckptdoctor.diagnosis.expected import Purpose
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.report.check import text as check_text
from ckptdoctor.report.shared.escape import printable

RELEASE = Policy(expect=Purpose.WEIGHTS_ONLY)


@pytest.fixture
def good(tmp_path: Path) -> Checked:
    """A checkpoint that resumes."""
    (found,) = checked(write_model(tmp_path / "ckpt-7"))
    return replace(found, path="run/ckpt-7")


@pytest.fixture
def weights(fixtures_dir: Path) -> Checked:
    """Weights alone, by Keras."""
    (found,) = checked(str(fixtures_dir / "weights-only.h5"))
    return replace(found, path="weights-only.h5")


def test_what_passes_is_one_line(good: Checked) -> None:
    """A result that passed says in words what an engineer wants to hear, and nothing else."""
    assert check_text.result(good, Policy()) == "ok      run/ckpt-7: resumes at iteration 7 with full Adam state\n"


def test_what_fails_has_reasons(weights: Checked) -> None:
    """A result that failed has its findings below the verdict, with what to do about each."""
    line, finding, hint = check_text.result(weights, Policy()).splitlines()
    assert line == "failed  weights-only.h5: weights only: training restarts from a new optimizer"
    assert finding.startswith("  error    S001  no optimizer state is here")
    assert hint.startswith(" " * 17 + "this layout has no place for it: load the weights into the model")


def test_the_verdict_does_not_contradict_the_result(good: Checked) -> None:
    """Where the state is complete and something else fails the artifact, the line names it."""
    shown = check_text.result(with_findings(good, NOT_FINITE, INCOMPLETE, PART), Policy(), quiet=True)
    expected = "resumes at iteration 7 with full Adam state, but not-finite (V001), newest-incomplete (I006)"
    assert shown == f"failed  run/ckpt-7: {expected}\n"


def test_only_what_fails_is_named_in_the_line(good: Checked) -> None:
    """A warning is no reason, unless warnings fail."""
    found = with_findings(good, NOT_FINITE, NEVER._replace(code="V004"))
    assert check_text.result(found, Policy(), quiet=True).endswith(f"but {NOT_FINITE.message}\n")
    strict = check_text.result(found, Policy(fail_on=Severity.WARNING), quiet=True)
    assert strict.endswith("but not-finite (V001), counters-disagree (V004)\n")


def test_a_single_reason_is_told(good: Checked) -> None:
    """The only reason stands in the line, what to do below it; of a long one its rule stands in the line."""
    line, hint = check_text.result(with_findings(good, INCOMPLETE), Policy()).splitlines()
    assert line.endswith(f"with full Adam state, but {INCOMPLETE.message}")
    assert hint == f"  error    I006  {INCOMPLETE.hint}"
    assert check_text.result(with_findings(good, INCOMPLETE._replace(hint="")), Policy()).splitlines()[1] == (
        "  error    I006  newest-incomplete"
    )
    long = INCOMPLETE._replace(message="x" * 121)
    line, finding, hint = check_text.result(with_findings(good, long), Policy()).splitlines()
    assert line.endswith("with full Adam state, but newest-incomplete (I006)")
    assert finding == f"  error    I006  {'x' * 121}"


def test_one_but(good: Checked) -> None:
    """A reason that has a "but" of its own follows the verdict without another."""
    other = INCOMPLETE._replace(code="E003", message="SGD is expected, but it is Adam")
    (line, *_) = check_text.result(with_findings(good, other), Policy()).splitlines()
    assert line.endswith("resumes at iteration 7 with full Adam state; SGD is expected, but it is Adam")


def test_overrides(good: Checked) -> None:
    """What holds for a path decides, not the policy as a whole."""
    strict = Override(("run/",), {"fail_on": Severity.WARNING, "ignore": ("P",)}, base=".")
    found = replace(with_findings(good, NEVER), passed=False, ignored=1)
    assert check_text.result(found, Policy(overrides=(strict,)), quiet=True) == (
        "failed  run/ckpt-7: resumes at iteration 7 with full Adam state (1 finding ignored)\n"
    )
    release = Override(("run/",), {"expect": Purpose.WEIGHTS_ONLY}, base=".")
    assert "P002" in check_text.result(with_findings(good, SHARE), Policy(overrides=(release,)))


def test_many_findings_of_a_rule(good: Checked) -> None:
    """Of one rule the first findings are shown, and how many more there are; every rule has its own."""
    many = [NEVER._replace(message=f"optimizer {number} never stepped") for number in range(check_text.MOST + 1003)]
    lines = check_text.result(with_findings(good, *many, NOT_FINITE), Policy()).splitlines()
    assert len(lines) == 1 + 2 * check_text.MOST + 1 + 1
    assert lines[-1] == "           S004  and 1,003 more, all in --format json"
    assert sum("V001" in line for line in lines[1:]) == 1
    few = check_text.result(with_findings(good, *many[: check_text.MOST]), Policy())
    assert len(few.splitlines()) == 1 + 2 * check_text.MOST


def test_groups(good: Checked) -> None:
    """Findings stand in the order of their weight; notes are short, without their hint."""
    lines = check_text.result(
        with_findings(good, NOT_FINITE._replace(message="x" * 200), NEVER, PART), Policy()
    ).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["error", "V001"], ["resume", "from"], ["warning", "S004"], ["right", "for"], ["info", "P003"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "severity", "there"),
    [
        (Policy(), Severity.INFO, False),
        (RELEASE, Severity.INFO, True),
        (Policy(), Severity.ERROR, True),
        (Policy(), Severity.WARNING, True),
    ],
)
def test_the_share_of_bytes(good: Checked, policy: Policy, severity: Severity, *, there: bool) -> None:
    """How much of the bytes is optimizer state matters to a release, or where a policy says so."""
    found = with_findings(good, SHARE._replace(severity=severity))
    assert ("P002" in check_text.result(found, policy)) is there


def test_a_release_that_is_right(weights: Checked) -> None:
    """Weights alone, where weights alone are expected, are not told as a loss."""
    shown = check_text.result(with_findings(weights), RELEASE)
    assert shown == "ok      weights-only.h5: weights only, as expected\n"


def test_unreadable(tmp_path: Path) -> None:
    """What cannot be read says why once, and what to do."""
    (tmp_path / "x.h5").write_bytes(b"")
    (found,) = checked(str(tmp_path / "x.h5"))
    line, hint = check_text.result(found, Policy()).splitlines()
    assert line.startswith(f"failed  {tmp_path}/x.h5: cannot be read: ")
    assert "an empty file" in line
    assert hint == "  error    I008  fetch or copy the real file again"


def test_run_directories() -> None:
    """A run directory says what is wrong with it as a whole."""
    assert (
        check_text.result(directory("run"), Policy()) == "ok      run: the run directory as a whole: nothing is wrong\n"
    )
    assert check_text.result(directory("run", INCOMPLETE, NOT_FINITE), Policy()).splitlines()[:2] == [
        "failed  run: the run directory as a whole: newest-incomplete (I006), not-finite (V001)",
        "  error    I006  ckpt-9, the newest checkpoint, is not complete",
    ]


def test_nothing_there() -> None:
    """A path where nothing is fails with the reason."""
    assert check_text.result(missing("gone"), Policy()) == "failed  gone: there is no such file or directory\n"


def test_what_is_ignored_is_counted(good: Checked) -> None:
    """A policy that ignores findings does not make them vanish."""
    shown = check_text.result(replace(good, ignored=2), Policy(ignore=("S",)))
    assert shown.endswith("with full Adam state (2 findings ignored)\n")


def test_quiet(good: Checked, weights: Checked) -> None:
    """With `quiet` one line an artifact remains, and what all come to."""
    shown = check_text.render(report(good, weights, good), quiet=True)
    passed = "ok      run/ckpt-7: resumes at iteration 7 with full Adam state"
    assert shown.splitlines() == [
        passed,
        "failed  weights-only.h5: weights only: training restarts from a new optimizer",
        passed,
        "3 artifacts: 2 passed, 1 failed (1 error)",
    ]


def test_results_stream(good: Checked, weights: Checked) -> None:
    """The parts, one after another, are the whole."""
    whole = report(good, weights, directory("run"), missing("gone"))
    parts = [check_text.result(each, whole.policy) for each in whole.results]
    assert check_text.render(whole) == "".join(parts) + check_text.summary(whole)
    assert all(part.endswith("\n") for part in parts)


def test_summary(good: Checked, weights: Checked) -> None:
    """The last line counts artifacts and findings; a single artifact needs none."""
    assert check_text.summary(report(good)) == ""
    assert check_text.summary(report(good, good)) == "2 artifacts: 2 passed\n"
    assert check_text.summary(report(weights, weights)) == "2 artifacts: 2 failed (2 errors)\n"
    warned = with_findings(good, NEVER)
    assert check_text.summary(report(*[good] * 11, warned, weights, with_findings(good, NOT_FINITE, SHARE))) == (
        "14 artifacts: 12 passed, 2 failed (2 errors, 1 warning)\n"
    )
    some = (good, directory("run"), missing("gone"), replace(good, ignored=1))
    assert check_text.summary(report(*some, policy=Policy(select=("S",)))) == (
        "3 artifacts and 1 run directory: 3 passed, 1 failed (1 not there, 1 finding ignored)\n"
    )
    assert check_text.summary(report(directory("a"), directory("b"))) == "2 run directories: 2 passed\n"


def test_interrupted(good: Checked) -> None:
    """Ctrl-C is told, and never looks as if all had passed."""
    line = check_text.summary(report(good, interrupted=True))
    assert line == "interrupted after 1 artifact: 1 passed; the rest was not looked at\n"
    assert check_text.summary(report(interrupted=True)) == "interrupted: nothing was checked\n"
    assert check_text.summary(report()) == "nothing was checked\n"


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text(good: Checked, name: str) -> None:
    """Nothing in a name reaches the terminal raw, and in a pipe no line begins with what a file says."""
    shown = check_text.render(hostile(good, [name]))
    assert all(char.isprintable() or char == "\n" for char in shown)
    lines = shown.splitlines()
    assert [line.startswith(f"failed  {printable(name)}: ") for line in lines].count(True) == 3
    assert all(
        line.startswith(("ok      ", "failed  ", "  error ", " " * 17, "2 artifacts", "3 artifacts")) for line in lines
    )


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_width(good: Checked, weights: Checked, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """No line but a command is wider than the terminal, codes stay whole, what goes on is indented."""
    monkeypatch.setenv("COLUMNS", str(columns))
    long = replace(good, path="runs/" + "deep/" * 40 + "ckpt-7")
    whole = report(weights, with_findings(long, NOT_FINITE, PART), directory("run", INCOMPLETE))
    last = check_text.summary(whole)
    shown = check_text.render(whole)
    assert shown.endswith(last)
    assert max(map(len, last.splitlines())) <= columns
    lines = shown.removesuffix(last).splitlines()
    commands = [line for line in lines if line.lstrip().startswith("ckptdoctor ")]
    assert max(len(line) for line in lines if line not in commands) <= columns
    assert all(line.lstrip() in weights.findings[0].hint for line in commands)
    assert commands
    assert not any(line.endswith(" ") for line in lines)
    assert all(line.startswith(("ok      ", "failed  ", "  error    ", "  info     ", "        ")) for line in lines)
    assert "  error    V001  resume from ckpt-6\n" in shown


def test_colours(good: Checked, weights: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the result has a colour, besides the word; without colours the text is the same."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stdout", Terminal())
    whole = report(good, weights, with_findings(good, NEVER))
    coloured, plain = check_text.render(whole, color=True), check_text.render(whole, color=False)
    assert "\x1b" not in plain
    first, second, *_ = coloured.splitlines()
    assert first.startswith("\x1b[1;32mok")
    assert second.startswith("\x1b[1;31mfailed")
    assert "\x1b[1;33mok" in coloured
    assert "\x1b[31m  error    S001  \x1b[0mno optimizer state is here" in coloured
    assert "\x1b[2mthis layout has no place for it" in coloured
    stripped = "".join(part.split("m", 1)[1] if number else part for number, part in enumerate(coloured.split("\x1b[")))
    assert [line.rstrip() for line in stripped.splitlines()] == plain.splitlines()
