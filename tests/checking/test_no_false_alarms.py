"""No false alarms: what real frameworks wrote breaks none of the rules that tell of damage or contradiction."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import ckptdoctor

RIGHT: dict[str, set[str]] = {
    # model.save("x.keras") of TensorFlow 2.12 writes HDF5.
    "P004": {"keras/tf2.12-adam-keras"},
    # Whole objects, and methods that schedulers kept until torch 2.0: torch.load refuses them.
    "X005": {
        *(f"torch{version}/{name}" for version in ("1.5", "1.12", "2.13") for name in ("whole", "deepspeed-1")),
        *(
            f"torch{version}/scheduler-{name}"
            for version in ("1.5", "1.12")
            for name in ("cycliclr", "cycliclr-exp", "cycliclr-halves", "onecyclelr")
        ),
        "torch1.12/scheduler-onecyclelr-three",
        "torch1.12/scheduler-swalr",
    },
}
"""Findings of these rules that are true of these cases."""

OF_DAMAGE = ("I", "V", "X", "S005", "S006", "S007", "S008", "S009", "P001", "P003", "P004", "P005")


def test_the_museum(museum: Path, museum_truth: list[dict[str, Any]]) -> None:
    """Every byte of every artifact is scanned; what is found is known and true."""
    found: dict[str, set[str]] = defaultdict(set)
    told: dict[str, str] = {}
    for record in museum_truth:
        for result in ckptdoctor.check(museum / record["path"], deep=True).results:
            for each in result.findings:
                if each.code.startswith(OF_DAMAGE):
                    found[each.code].add(record["case"])
                    told[each.code] = each.message
    # Orbax' chunks never have checksums.
    bare = {each["case"] for each in museum_truth if each["format"] == "orbax-checkpoint"}
    assert dict(found) == {**RIGHT, "I009": bare}, told
