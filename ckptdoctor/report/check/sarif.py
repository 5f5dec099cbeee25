"""SARIF 2.1.0 (OASIS), for code scanning: the rules, a result for each finding, and how the run went."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from ckptdoctor import __version__
from ckptdoctor.checking.results import Checked, CheckReport
from ckptdoctor.diagnosis.explanations import FAMILIES, page, sections
from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.diagnosis.rules import RULES, Rule
from ckptdoctor.report.check.facts import headline, inside, kind, summary_line, unreadable, workspace
from ckptdoctor.report.inspect.markdown import escape
from ckptdoctor.report.shared.escape import printable

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
ABOUT = "https://pypi.org/project/ckptdoctor/"
ROOT = "%SRCROOT%"
"""The root of the sources, by the name that code scanning knows."""

LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
PROBLEMS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "recommendation"}
"""`problem.severity`, by which GitHub sorts alerts that are not about security."""

NOTIFICATIONS = {
    "missing": ("no-such-path", "there is nothing at a path that was to be checked"),
    "unreadable": ("unreadable-artifact", "an artifact cannot be read"),
    "interrupted": ("check-interrupted", "the check was interrupted, and what was left was not looked at"),
}
"""What can go wrong with the run itself: id → name, and what it says."""

WHOLE = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
"""The place of every finding: GitHub takes no result without lines and columns, and binary files have none."""


def render(report: CheckReport, *, root: str | None = None) -> str:
    """The log, ending in a newline; ASCII only.

    Args:
        report: What was found.
        root: The root of the sources: paths inside it are relative to it; by default the workspace of the CI job, or
            the current directory.
    """
    root = workspace() if root is None else root
    rules = [_rule(each) for each in RULES]
    index = {rule["id"]: number for number, rule in enumerate(rules)}
    for code in dict.fromkeys(finding.code for each in report.results for finding in each.findings):
        if code not in index:
            index[code] = len(rules)
            rules.append({"id": code})
    run = {
        "tool": {
            "driver": {
                "name": "ckptdoctor",
                "version": __version__,
                "semanticVersion": __version__,
                "informationUri": ABOUT,
                "rules": rules,
                "notifications": [
                    {"id": each, "name": _pascal(name), **_described(says), "help": {"text": _sentence(says)}}
                    for each, (name, says) in NOTIFICATIONS.items()
                ],
            }
        },
        "invocations": [_invocation(report, root)],
        "originalUriBaseIds": {ROOT: {"description": {"text": "The root of the sources."}}},
        "results": [result for each in report.results for result in _results(each, index, root)],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, allow_nan=False) + "\n"


def _rule(rule: Rule) -> dict[str, Any]:
    text = page(rule.code)
    family = FAMILIES[rule.code[0]].partition(":")[0]
    # GitHub shows alerts of this tag as those of security.
    tags = [family, "security"] if family == "safety" else [family]
    return {
        "id": rule.code,
        "name": _pascal(rule.name),
        **_described(rule.says, sections(text)["meaning"]),
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": {"tags": tags, "problem.severity": PROBLEMS[rule.severity]},
    }


def _described(says: str, at_length: str = "") -> dict[str, Any]:
    # Pages are wrapped for terminals; of several paragraphs the first says what it is, to the end of its last sentence.
    first = " ".join(at_length.partition("\n\n")[0].split())
    first = first[: first.rfind(".") + 1]
    return {"shortDescription": {"text": _sentence(says)}, "fullDescription": {"text": first or _sentence(says)}}


def _pascal(name: str) -> str:
    """`no-optimizer-state` → `NoOptimizerState`."""
    return "".join(part.capitalize() for part in name.split("-"))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _results(checked: Checked, index: dict[str, int], root: str) -> list[dict[str, Any]]:
    seen: Counter[str] = Counter()
    results = []
    for finding in checked.findings:
        seen[finding.code] += 1
        results.append(
            {
                "ruleId": finding.code,
                "ruleIndex": index[finding.code],
                "level": LEVELS[finding.severity],
                "message": _message(finding),
                "locations": [_location(checked.path, root)],
                "partialFingerprints": {
                    "primaryLocationLineHash": _fingerprint(checked.path, finding.code, seen[finding.code], root)
                },
            }
        )
    return results


def _message(finding: Finding) -> dict[str, str]:
    parts = [part for part in (finding.message, finding.hint) if part]
    return {"text": "\n".join(map(_text, parts)), "markdown": "<br>".join(map(escape, parts))}


_LINK = re.compile(r"\[(?=[^\[\]]*\]\()")


def _text(text: str) -> str:
    """Text in which nothing is a placeholder (SARIF 3.11.5) or a link (3.11.6)."""
    return _LINK.sub(r"\\[", printable(text)).replace("{", "{{").replace("}", "}}")


def _location(path: str, root: str) -> dict[str, Any]:
    return {"physicalLocation": {"artifactLocation": artifact_location(path, root), "region": WHOLE}}


def artifact_location(path: str, root: str) -> dict[str, str]:
    """Where an artifact is: relative to the root of the sources if it lies inside, else absolute.

    Whatever bytes a name has are percent-encoded.
    """
    relative = inside(path, root)
    if relative is not None:
        return {"uri": _quoted(relative), "uriBaseId": ROOT}
    absolute = os.path.abspath(path).replace(os.sep, "/")
    return {"uri": f"file://{'' if absolute.startswith('/') else '/'}{_quoted(absolute)}"}


def _quoted(path: str) -> str:
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError:  # no name that the file system gave
        name = path.encode("utf-8", "surrogatepass")
    # A colon is encoded too: in the first part of a relative reference it would end a scheme (RFC 3986, 4.2).
    return quote(name)


def _fingerprint(path: str, code: str, number: int, root: str) -> str:
    """What makes it the same alert in the next run: the rule and the artifact, not the figures in its message.

    Without one, `github/codeql-action/upload-sarif` hashes the first line of the file, which is another one with each
    checkpoint that is saved: every alert would close and open anew.
    """
    where = artifact_location(path, root)["uri"]
    return f"{sha256(f'{code} {where}'.encode()).hexdigest()[:16]}:{number}"


def _invocation(report: CheckReport, root: str) -> dict[str, Any]:
    notes = [_notification(kind(each).value, each, report, root) for each in report.results if each.problem is not None]
    # An artifact that cannot be read is a result; it is told here too, since the policy may ignore its finding.
    notes += [_notification("unreadable", each, report, root) for each in report.results if unreadable(each)]
    if report.interrupted:
        text = _text(_sentence(summary_line(report)))
        notes.append({"descriptor": _descriptor("interrupted"), "level": "error", "message": {"text": text}})
    return {
        "executionSuccessful": not report.interrupted and all(each.problem is None for each in report.results),
        "exitCode": report.exit_code,
        "exitCodeDescription": summary_line(report),
        "toolExecutionNotifications": notes,
    }


def _notification(name: str, checked: Checked, report: CheckReport, root: str) -> dict[str, Any]:
    return {
        "descriptor": _descriptor(name),
        "level": "error",
        "message": {"text": _text(f"{checked.path}: {headline(checked, report.policy)}")},
        "locations": [_location(checked.path, root)],
    }


def _descriptor(name: str) -> dict[str, Any]:
    return {"id": name, "index": list(NOTIFICATIONS).index(name)}


__all__ = ["LEVELS", "artifact_location", "render"]
