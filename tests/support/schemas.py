"""The shipped schemas, each of which stands alone: what one has of another is copied into its `$defs`.

`python tests/support/schemas.py` brings the copies up to date.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent.parent / "ckptdoctor" / "report" / "schemas"

COPIES = {
    "check.schema.json": ("inspect.schema.json", None),
    "check-config.schema.json": ("check.schema.json", ("policy",)),
}
"""Schema → the one that it has definitions of, and which (None: all)."""


def load(name: str) -> dict[str, Any]:
    """A shipped schema."""
    document: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return document


def completed(name: str) -> dict[str, Any]:
    """A schema with today's definitions of the one that it copies from."""
    source, wanted = COPIES[name]
    theirs, schema = load(source)["$defs"], load(name)
    schema["$defs"] = {**schema["$defs"], **{each: theirs[each] for each in wanted or theirs}}
    return schema


if __name__ == "__main__":
    for each in COPIES:
        text = json.dumps(completed(each), indent=2, ensure_ascii=False)
        (FOLDER / each).write_text(f"{text}\n", encoding="utf-8")
