"""JUnit XML, which every CI server shows: one test case an artifact, with its findings as the failure's text."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

from ckptdoctor import __version__
from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.results import Checked, CheckReport
from ckptdoctor.report.check.facts import Kind, failing, headline, kind, shown, unreadable
from ckptdoctor.report.check.json import policy as in_force
from ckptdoctor.report.shared.escape import printable


def render(report: CheckReport) -> str:
    """The document, ending in a newline; ASCII only."""
    cases = [_case(each, report.policy) for each in report.results]
    if report.interrupted:
        cases.append(_interrupted())
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
    }
    root = ET.Element("testsuites", {"name": "ckptdoctor check", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": "ckptdoctor check", **counts, "skipped": "0"})
    suite.append(_properties(report))
    suite.extend(cases)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=True)
    return document.decode("ascii") + "\n"


def _properties(report: CheckReport) -> ET.Element:
    properties = ET.Element("properties")
    values = {"version": __version__} | {
        f"policy.{name}": value for name, value in in_force(report.policy).items() if value not in (None, [], {})
    }
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            text = ", ".join(value)
        ET.SubElement(properties, "property", {"name": name, "value": printable(text)})
    return properties


def _case(checked: Checked, policy: Policy) -> ET.Element:
    # XML 1.0 cannot hold control characters, even escaped: `printable` shows them as `\x1b`.
    case = ET.Element("testcase", {"classname": _class(checked), "name": printable(checked.path)})
    text = _findings(checked, policy)
    if checked.passed:
        output = ET.SubElement(case, "system-out")
        output.text = "\n".join([printable(headline(checked, policy)), *text])
        return case
    fails = failing(checked, policy)
    cannot = kind(checked) is Kind.MISSING or unreadable(checked)
    outcome = ET.SubElement(
        case,
        "error" if cannot else "failure",
        {
            "type": fails[0].code if fails else "missing" if kind(checked) is Kind.MISSING else "failed",
            "message": printable(headline(checked, policy)),
        },
    )
    outcome.text = "\n".join(text)
    return case


def _class(checked: Checked) -> str:
    return checked.examination.format.value if checked.examination is not None else kind(checked).value


def _findings(checked: Checked, policy: Policy) -> list[str]:
    lines = []
    for each in shown(checked, policy):
        lines.append(f"{each.severity.value} {each.code}: {printable(each.message)}")
        if each.hint:
            lines.append(f"    {printable(each.hint)}")
    return lines


def _interrupted() -> ET.Element:
    case = ET.Element("testcase", {"classname": "ckptdoctor", "name": "every path is looked at"})
    message = "the check was interrupted: what comes after the last artifact here was not looked at"
    ET.SubElement(case, "error", {"type": "interrupted", "message": message})
    return case
