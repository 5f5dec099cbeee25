"""Rules in Markdown: their table, which the README shows, and their pages."""

from __future__ import annotations

from collections.abc import Iterable

from ckptdoctor.diagnosis.explanations import page
from ckptdoctor.diagnosis.rules import Rule


def table(rules: Iterable[Rule]) -> str:
    """Code, name, severity and one line, a row each."""
    lines = ["| code | name | severity | says |", "| --- | --- | --- | --- |"]
    lines += [f"| {each.code} | {each.name} | {each.severity.value} | {says(each)} |" for each in rules]
    return "\n".join(lines) + "\n"


def pages(rules: Iterable[Rule]) -> str:
    """The page of each, with what the table says of it below the title."""
    return "\n".join(with_facts(each) for each in rules)


def with_facts(rule: Rule) -> str:
    """A rule's page, with its severity and its one line below the title."""
    title, _, rest = page(rule.code).partition("\n")
    return f"{title}\n\n{rule.severity.value}: {says(rule)}\n{rest}"


def says(rule: Rule) -> str:
    """The one line of a rule, and whether it needs `--deep`."""
    return rule.says + (" (with `--deep`)" if rule.deep else "")
