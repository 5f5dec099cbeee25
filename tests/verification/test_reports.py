"""The reports of `verify`: the verdict first, 80 columns, names made harmless."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import ckptdoctor.verification
from ckptdoctor.diagnosis.loader_table import table
from ckptdoctor.report.verify import facts as verify_facts
from ckptdoctor.report.verify import json as verify_json
from ckptdoctor.report.verify import markdown as verify_markdown
from ckptdoctor.report.verify import text as verify_text
from ckptdoctor.state import Format, Role
from ckptdoctor.verification import Attempt, OptimizerResult, Outcome, Restored, SlotResult, Verification
from ckptdoctor.verification.results import SchedulerResult

EVIL = "layer\x1b[31m\u202e|kernel"


def result(outcome: Outcome, name: str = "a/kernel") -> OptimizerResult:
    """An Adam whose two slots came out in one way."""
    found = 7 if outcome is Outcome.RESTORED else 0
    return OptimizerResult(
        "optimizer",
        "Adam",
        Restored(7, found, outcome),
        Restored(0.01, 0.01, Outcome.RESTORED),
        (
            SlotResult("m", Role.FIRST_MOMENT, name, outcome, None, "" if outcome is Outcome.RESTORED else "all 0"),
            SlotResult("v", Role.SECOND_MOMENT, name, Outcome.RESTORED),
        ),
    )


def verification(*attempts: Attempt, path: str = "run/ckpt-7") -> Verification:
    """A result with these attempts."""
    return Verification(path, Format.KERAS_H5, "keras", "3.15.1", attempts, advice=("do this",), notes=())


GOOD = Attempt("h5-load-model", "load_model(path)", (result(Outcome.RESTORED),))
BAD = Attempt("h5-load-model", "load_model(path)", (result(Outcome.DROPPED),))
RAISED = Attempt("h5-load-model", "load_model(path)", error="ValueError: no")


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (verification(GOOD), "keras 3.15.1 restores all of it: iteration 7 and 2 slots"),
        (
            verification(BAD),
            "keras 3.15.1 does not restore it by the usual call: iterations 0 instead of 7, 1 of 2 slots dropped",
        ),
        (
            verification(BAD, GOOD),
            (
                "keras 3.15.1 does not restore it by the usual call, another call does: "
                "iterations 0 instead of 7, 1 of 2 slots dropped"
            ),
        ),
        (verification(RAISED), "keras 3.15.1 does not load it by the usual call"),
        (verification(Attempt("none", "", error="it took too long")), "not verified"),
        (verification(), "holds no optimizer state: there is nothing to restore"),
    ],
)
def test_verdicts(found: Verification, verdict: str) -> None:
    """One sentence for each way in which it can end, first in every report for people."""
    assert verify_facts.verdict(found) == verdict
    assert (
        verify_text.render([found], quiet=True, color=False).splitlines()[0].startswith(f"run/ckpt-7: {verdict[:60]}")
    )
    assert len(verify_markdown.render([found], quiet=True).splitlines()) == 1
    assert f"**{verdict[:20]}" in verify_markdown.render([found]).replace("\\", "")


def test_names_are_made_harmless_and_lines_stay_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names from files reach neither the terminal nor the page as control characters, and 80 columns suffice."""
    monkeypatch.setenv("COLUMNS", "80")
    attempt = Attempt("h5-load-model", "load_model(path)", (result(Outcome.CHANGED, EVIL * 5),), None, (EVIL,))
    found = verification(attempt, path=EVIL)
    for text in (verify_text.render([found], color=False), verify_markdown.render([found])):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert max(map(len, verify_text.render([found], color=False).splitlines())) <= 80


def test_json_names_every_value() -> None:
    """The document says what was expected, found and concluded, for every attempt."""
    document = json.loads(verify_json.render([verification(BAD, GOOD)]))
    artifact = document["artifacts"][0]
    assert (artifact["ok"], artifact["restorable"], artifact["call"]) == (False, True, "load_model(path)")
    first = artifact["attempts"][0]["optimizers"][0]
    assert first["iterations"] == {"expected": 7, "found": 0, "outcome": "dropped"}
    assert [slot["outcome"] for slot in first["slots"]] == ["dropped", "restored"]


def test_the_table_of_losses_names_calls_that_are_tried() -> None:
    """Each key by which the table refers to calls of verify is that of an attempt in the child."""
    folder = Path(ckptdoctor.verification.__file__).parent / "child"
    source = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    rows = [row for row in table() if row.usual]
    assert len(rows) >= 10
    for row in rows:
        rest = row.usual.partition("-")[2]
        assert f'"{row.usual}"' in source or f'{{kind}}-{rest}"' in source, row.id
        assert row.instead is None or not row.instead.attempt or f'"{row.instead.attempt}"' in source, row.id


def test_counts_and_schedulers() -> None:
    """What PyTorch keeps beside slots is judged and shown like them."""
    kept = SlotResult("step", Role.OTHER, "a.weight", Outcome.RESTORED)
    lost = SlotResult("step", Role.OTHER, "b.weight", Outcome.DROPPED, detail="the framework made none")
    scheduler = SchedulerResult("warmup", "LinearLR", Restored(7, None, Outcome.DROPPED))
    good = replace(result(Outcome.RESTORED), counts=(kept,))
    assert good.ok
    assert not replace(good, counts=(kept, lost)).ok
    assert not replace(good, schedulers=(scheduler,)).ok
    found = verification(Attempt("torch-file", "load", (replace(good, counts=(kept, lost), schedulers=(scheduler,)),)))
    shown = verify_text.render([found], color=False)
    assert "last_epoch of LinearLR none instead of 7" in " ".join(shown.split())
    assert "step of b.weight" in shown
    (optimizer,) = json.loads(verify_json.render([found]))["artifacts"][0]["attempts"][0]["optimizers"]
    assert [each["outcome"] for each in optimizer["counts"]] == ["restored", "dropped"]
    assert optimizer["schedulers"] == [
        {"name": "warmup", "class": "LinearLR", "last_epoch": {"expected": 7, "found": None, "outcome": "dropped"}}
    ]
