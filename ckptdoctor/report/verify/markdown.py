"""`verify` as Markdown: for job summaries and issues."""

from __future__ import annotations

from collections.abc import Iterable

from ckptdoctor.formats.registry import record
from ckptdoctor.report.inspect.markdown import code, escape
from ckptdoctor.report.verify import facts as verify_facts
from ckptdoctor.verification.results import Verification


def render(verifications: Iterable[Verification], *, quiet: bool = False) -> str:
    """The report on each artifact as Markdown; with `quiet` a list of the verdicts."""
    if quiet:
        return "".join(f"- {code(each.path)}: **{escape(verify_facts.verdict(each))}**\n" for each in verifications)
    return "\n".join(_artifact(each) for each in verifications)


def _artifact(each: Verification) -> str:
    lines = [f"### {code(each.path)}", "", f"**{escape(verify_facts.verdict(each))}**", ""]
    lines += ["| | |", "| --- | --- |", f"| format | {record(each.format).title} |"]
    if each.framework is not None:
        lines.append(f"| framework | {escape(verify_facts.framework(each))} |")
    if each.call:
        lines.append(f"| call | {code(each.call)} |")
    if each.error is not None:
        lines.append(f"| error | {escape(each.error)} |")
    for warning in each.usual.warnings if each.usual else ():
        lines.append(f"| warning | {escape(warning)} |")
    lines += [f"| note | {escape(note)} |" for note in each.notes]
    lines.append("")
    for optimizer in each.optimizers:
        lines += [f"| {escape(optimizer.name)} | artifact | framework | outcome |", "| --- | ---: | --- | --- |"]
        lines += [
            f"| {code(row.what)} | {row.artifact} | {escape(row.framework)} | {row.outcome} |"
            for row in verify_facts.rows(optimizer)
        ]
        lines.append("")
    lines += [f"- {escape(each)}" for each in each.advice]
    return "\n".join(lines).rstrip() + "\n"
