"""The JSON document of `check`: schema `ckptdoctor.check/1`, each artifact with the fields that `inspect` gives it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from ckptdoctor import __version__
from ckptdoctor.checking.configuration import Configuration
from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.results import Checked, CheckReport
from ckptdoctor.diagnosis.findings import Finding
from ckptdoctor.report.check.facts import Kind, kind, tally
from ckptdoctor.report.inspect.json import artifact, plain

SCHEMA = "ckptdoctor.check/1"
CONFIGURATION = "ckptdoctor.check-config/1"


def render(report: CheckReport) -> str:
    """The document, ending in a newline; ASCII only."""
    document = {
        "schema": SCHEMA,
        "version": __version__,
        "passed": report.passed,
        "exit_code": report.exit_code,
        "interrupted": report.interrupted,
        "policy": policy(report.policy),
        "summary": tally(report)._asdict(),
        "artifacts": [checked(each) for each in report.results],
    }
    return json.dumps(document, allow_nan=False) + "\n"


def render_configuration(found: Configuration) -> str:
    """The document of `--explain-config`: what is in force, and where each setting comes from."""
    document = {
        "schema": CONFIGURATION,
        "version": __version__,
        "configuration_file": found.path,
        "policy": policy(found.policy),
        "sources": dict(found.sources),
        "declared": {kind: list(names) for kind, names in found.declared.items()},
    }
    return json.dumps(document, allow_nan=False) + "\n"


def policy(given: Policy) -> dict[str, Any]:
    """What is in force, under the names that a configuration file has."""
    return {
        "select": list(given.select),
        "ignore": list(given.ignore),
        "severities": {code: severity.value for code, severity in given.severities.items()},
        "fail-on": given.fail_on.value,
        "expect": given.expect.value,
        "require": [part.value for part in given.require],
        "min-iterations": given.min_iterations,
        "optimizer": given.optimizer,
        "optimizers": {name: _settings(own) for name, own in given.optimizers.items()},
        "loader": given.loader,
        "deep": given.deep,
        "overrides": [{"paths": list(each.paths), "settings": _settings(each.settings)} for each in given.overrides],
    }


def _settings(settings: Mapping[str, object]) -> dict[str, Any]:
    """Settings as a configuration file would have them: names with dashes, enumerations by their values."""
    return {name.replace("_", "-"): _value(value) for name, value in settings.items()}


def _value(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _value(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(each) for each in value]
    return plain(value)


def checked(each: Checked) -> dict[str, Any]:
    """One result. What is no artifact has the same fields, with nothing in those that only an artifact has."""
    judged = {
        "passed": each.passed,
        "exit_code": each.exit_code,
        "ignored": each.ignored,
        "problem": each.problem,
    }
    if each.examination is not None:
        return {
            "kind": kind(each).value,
            **artifact(each.examination._replace(path=each.path, findings=each.findings)),
            **judged,
        }
    missing = kind(each) is Kind.MISSING
    return {
        "kind": kind(each).value,
        "path": each.path,
        "resolved": each.path if missing else None,
        "format": "unknown" if missing else None,
        "producer": {"framework": None, "version": None},
        "status": "unreadable" if missing else None,
        "summary": "nothing is there" if missing else "a run directory",
        "verdict": each.verdict,
        "model": None,
        "optimizers": [],
        "schedulers": [],
        "companions": [],
        "counters": {},
        "findings": _findings(each.findings),
        "error": each.problem,
        **judged,
    }


def _findings(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [
        {"code": each.code, "severity": each.severity.value, "message": each.message, "hint": each.hint or None}
        for each in findings
    ]
