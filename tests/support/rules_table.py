"""The README's table of rules, which is the output of `ckptdoctor explain --format markdown` between two markers.

`python tests/support/rules_table.py` brings it up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent.parent / "README.md"
BEGIN, END = "<!-- rules: ckptdoctor explain --format markdown -->\n", "<!-- /rules -->\n"


def with_table(readme: str) -> str:
    """The README with today's table of rules in it."""
    from ckptdoctor.diagnosis.rules import RULES
    from ckptdoctor.report.explain_markdown import table

    before, _, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"README.md has lost {BEGIN.strip()} or {END.strip()}")
    return f"{before}{BEGIN}\n{table(RULES)}\n{END}{after}"


if __name__ == "__main__":
    sys.path.insert(0, str(README.parent))
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
