"""What `strip` wrote, as text and as JSON."""

from __future__ import annotations

import json

from ckptdoctor import __version__
from ckptdoctor.formats.registry import record
from ckptdoctor.repairing.strip import Release
from ckptdoctor.report.repair.lines import render_lines
from ckptdoctor.report.shared.facts import human_bytes
from ckptdoctor.words import enumerate_some

SCHEMA = "ckptdoctor.strip/1"
_SHOWN = 8


def render(release: Release, form: str, *, quiet: bool, color: bool) -> str:
    """What was written."""
    if form == "json":
        body = {
            "schema": SCHEMA,
            "version": __version__,
            "path": release.path,
            "output": release.output,
            "format": release.format.value,
            "gone": list(release.gone),
            "notes": list(release.notes),
            "bytes": {"before": release.before, "after": release.after},
        }
        return json.dumps(body) + "\n"
    saved = 100 * (release.before - release.after) / release.before if release.before else 0.0
    sizes = f"{human_bytes(release.after)} instead of {human_bytes(release.before)}"
    lines = [
        ("", f"{release.output}: the model of {release.path} without optimizer state, {saved:.0f} % smaller"),
        ("format", record(release.format).title),
        ("left out", enumerate_some(release.gone, _SHOWN)),
        ("bytes", sizes),
        *(("note", note) for note in release.notes),
    ]
    return render_lines(lines, quiet=quiet, color=color)
