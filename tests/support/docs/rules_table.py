"""The table of rules in docs/rules.md: that of `ckptdoctor explain --format markdown`, each code a link to its page.

`python tests/support/docs/rules_table.py` brings it up to date.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent.parent
PAGE = ROOT / "docs" / "rules.md"
BEGIN, END = "<!-- rules: ckptdoctor explain --format markdown -->\n", "<!-- /rules -->\n"


def with_table(page: str) -> str:
    """The page with today's table of rules in it."""
    from ckptdoctor.diagnosis.rules import RULES
    from ckptdoctor.report.explain.markdown import table

    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"docs/rules.md has lost {BEGIN.strip()} or {END.strip()}")
    linked = re.sub(r"^\| ([A-Z]\d{3}) ", r"| [\1](rules/\1.md) ", table(RULES), flags=re.MULTILINE)
    return f"{before}{BEGIN}\n{linked}\n{END}{after}"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
