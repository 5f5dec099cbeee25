"""Our verdict on frozen and thawed models beside what their framework made of them."""

from __future__ import annotations

from pathlib import Path

import ckptdoctor
from ckptdoctor.diagnosis.status import artifact_status
from ckptdoctor.state import Status

CASES = 36
"""Models of tests/real/children/frozen_child.py, in each layout."""
SAMPLE = 7
"""Every so many have each history, each kind of layer and both ways of building a model among them."""


def wrong(folder: Path, loaded: dict[str, dict[str, int]]) -> dict[str, str]:
    """The files whose verdict or whose count of trained variables contradicts the framework."""
    found = {}
    for name, truth in loaded.items():
        state = ckptdoctor.inspect(folder / name)[0].state
        assert state is not None
        flags = [each.trainable for each in state.variables]
        if not flags.count(True) <= truth["trained"] <= flags.count(True) + flags.count(None):
            found[name] = f"{flags.count(True)} trained, and {flags.count(None)} unknown, of {truth['trained']}"
        report = ckptdoctor.check(folder / name)
        codes = {each.code for each in report.results[0].findings}
        resumes = artifact_status(state) is Status.COMPLETE and "L002" not in codes
        # TensorFlow 2.15 keeps what comes before the first slot that does not fit, and the count.
        if resumes is not (truth["iterations"] > 0 and truth["slots"] >= truth["trained"]):
            found[name] = f"we say {'' if resumes else 'not '}resumed, {truth}"
    return found
