"""What each rule is about, at length: the pages that the package ships, one a rule.

Every page has the same four sections (`SECTIONS`), in Markdown, below a title of code and name.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib.resources import files

from ckptdoctor.diagnosis.rules import BY_CODE, RULES, Rule
from ckptdoctor.errors import UsageProblem

SECTIONS = {
    "meaning": "What it means for training",
    "causes": "How it comes about",
    "mending": "How to mend it",
    "certainty": "How sure it is",
}
"""Key → heading of each section, in order."""

FAMILIES = {
    "I": "integrity: is the artifact whole?",
    "S": "structure: is the optimizer's state there, complete, and of one piece?",
    "V": "values: can an optimizer have produced them?",
    "L": "loading: what will the next step be, and what does a loader drop?",
    "P": "packaging: how does it lie among other files?",
    "E": "expectations: does it hold what the policy asks for?",
    "X": "safety: what would run, or be read, when somebody loads it?",
}
"""First letter of a code → what its family asks."""

_NEAREST = 3


def page(code: str) -> str:
    """The page of a rule, in Markdown.

    Raises:
        UsageProblem: There is no rule of that code.
    """
    if code not in BY_CODE:
        raise _unknown(code)
    return (files("ckptdoctor.diagnosis") / "pages" / f"{code}.md").read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """The sections of a page by their keys, without headings."""
    found: dict[str, list[str]] = {}
    keys = {f"## {heading}": key for key, heading in SECTIONS.items()}
    body: list[str] = []
    for line in text.splitlines():
        if line in keys:
            body = found.setdefault(keys[line], [])
        else:
            body.append(line)
    return {key: "\n".join(lines).strip() for key, lines in found.items()}


def find(word: str) -> tuple[Rule, ...]:
    """The rules that a word means: a code, the beginning of some (`S`, `V00`), or a name, in any case.

    Raises:
        UsageProblem: It means none; the message names the nearest.
    """
    wanted = word.strip()
    found = tuple(
        rule for rule in RULES if wanted and (rule.code.startswith(wanted.upper()) or rule.name == wanted.lower())
    )
    if not found:
        raise _unknown(word)
    return found


def _unknown(word: str) -> UsageProblem:
    nearest = list(_nearest(word))
    hint = f"did you mean {' or '.join(nearest)}?" if nearest else "`ckptdoctor explain` lists them all"
    return UsageProblem(f"there is no rule {word!r}: {hint}")


def _nearest(word: str) -> Iterator[str]:
    """Codes and names like a word, the likest first, as `S003 (slots-missing)`."""
    known = {key: rule for rule in RULES for key in (rule.code.lower(), rule.name)}
    close = difflib.get_close_matches(word.strip().lower(), known, n=_NEAREST, cutoff=0.5)
    for code in dict.fromkeys(known[key].code for key in close):
        yield f"{code} ({BY_CODE[code].name})"
