"""What `repair` could mend, and what it mended, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ckptdoctor import __version__
from ckptdoctor.repairing.fixes import FIXES
from ckptdoctor.repairing.run import Finding, Repair
from ckptdoctor.report.repair.lines import render_lines

SCHEMA = "ckptdoctor.repair/1"


def render(repair: Repair, form: str, *, quiet: bool, color: bool) -> str:
    """What was done."""
    if form == "json":
        return _json(
            path=repair.path,
            output=repair.output,
            backup=repair.backup or None,
            backups=list(repair.backups),
            done=[_fields(each) for each in repair.done],
        )
    names = ", ".join(each.fix.name for each in repair.done)
    lines = [("", f"{repair.output}: mended ({names})")]
    lines += [(each.fix.name, sentence) for each in repair.done for sentence in each.told]
    lines += [("original", each) for each in repair.backups]
    return render_lines(lines, quiet=quiet, color=color)


def render_list(path: str, found: Sequence[Finding], form: str, *, quiet: bool, color: bool) -> str:
    """What could be done."""
    if form == "json":
        return _json(path=path, could=[_fields(each) for each in found])
    if not found:
        return render_lines([("", f"{path}: nothing is to be mended")], quiet=quiet, color=color)
    lines = [("", f"{path}: could be mended by {', '.join(each.fix.name for each in found)}")]
    for each in found:
        codes = f" ({', '.join(each.fix.codes)})" if each.fix.codes else ""
        lines += [(each.fix.name, f"{sentence}{codes}") for sentence in each.told]
    asked = [each.fix.name for each in found if not each.fix.safe]
    if asked:
        lines.append(("", f"only where it is asked for: {' '.join(f'--fix {name}' for name in asked)}"))
    return render_lines(lines, quiet=quiet, color=color)


def render_known(form: str, *, quiet: bool, color: bool) -> str:
    """Every fix that there is."""
    if form == "json":
        return _json(fixes=[_fields(Finding(each, (each.title,))) for each in FIXES])
    lines = [("", "fixes; those that are safe are done without --fix")]
    for each in FIXES:
        codes = f" ({', '.join(each.codes)})" if each.codes else ""
        lines.append((each.name, f"{each.title}{codes}{'; safe' if each.safe else ''}"))
    return render_lines(lines, quiet=quiet, color=color)


def _fields(each: Finding) -> dict[str, object]:
    return {"name": each.fix.name, "codes": list(each.fix.codes), "safe": each.fix.safe, "says": list(each.told)}


def _json(**body: object) -> str:
    return json.dumps({"schema": SCHEMA, "version": __version__, **body}) + "\n"
