"""The rules, one table: each a code, a name, a severity and a pure function of what was read.

Codes never change their meaning. The first letter is the family: I integrity, S structure, V values, L loading,
P packaging, X what is unsafe, E what a policy expects.
"""

from __future__ import annotations

from collections.abc import Iterable

from ckptdoctor.diagnosis.evidence import Evidence, Rule
from ckptdoctor.diagnosis.families import (
    expectations,
    integrity,
    loading,
    packaging,
    parameters,
    safety,
    structure,
    values,
)
from ckptdoctor.diagnosis.findings import Finding, Severity

RULES: tuple[Rule, ...] = (
    *integrity.RULES,
    *structure.RULES,
    *parameters.RULES,
    *values.RULES,
    *loading.RULES,
    *packaging.RULES,
    *safety.RULES,
    *expectations.RULES,
)
"""Every rule, in the order of the families."""

BY_CODE: dict[str, Rule] = {rule.code: rule for rule in RULES}


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """Runs every rule over what was read, each with its own severity unless it says another."""
    return tuple(
        Finding(rule.code, weight[0] if weight else rule.severity, message, hint)
        for rule in RULES
        for message, hint, *weight in rule.find(evidence)
    )


def matches(code: str, prefixes: Iterable[str]) -> int:
    """Length of the longest prefix that a code begins with; 0 if it begins with none."""
    return max((len(prefix) for prefix in prefixes if code.startswith(prefix)), default=0)


__all__ = ["BY_CODE", "RULES", "Evidence", "Finding", "Rule", "Severity", "judge", "matches"]
