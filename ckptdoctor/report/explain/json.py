"""The JSON document of `explain`: schema `ckptdoctor.explain/1`."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ckptdoctor import __version__
from ckptdoctor.diagnosis.explanations import FAMILIES, page, sections
from ckptdoctor.diagnosis.rules import Rule

SCHEMA = "ckptdoctor.explain/1"


def render(rules: Iterable[Rule]) -> str:
    """The document, each rule with its page, ending in a newline; ASCII only."""
    document = {"schema": SCHEMA, "version": __version__, "rules": [_rule(each) for each in rules]}
    return json.dumps(document, allow_nan=False) + "\n"


def _rule(rule: Rule) -> dict[str, object]:
    return {
        "code": rule.code,
        "name": rule.name,
        "severity": rule.severity.value,
        "family": FAMILIES[rule.code[0]],
        "says": rule.says,
        "deep": rule.deep,
        "page": sections(page(rule.code)),
    }
