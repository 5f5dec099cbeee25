"""Conversions, as text and JSON."""

from __future__ import annotations

import json

from ckptdoctor import __version__
from ckptdoctor.converting.run import Conversion
from ckptdoctor.formats.registry import record
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.report.shared.facts import human_bytes

SCHEMA = "ckptdoctor.convert/1"


def render(found: Conversion, form: str, *, quiet: bool, color: bool) -> str:
    """What was done."""
    if form == "json":
        return _json(found)
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from ckptdoctor.report.shared.console import drawn, headline, open_console

    console, out = open_console(color=color)
    title = f"{found.output}: wrote a {record(found.to).title} of {found.source}"
    headline(console, Text(printable(title), style="bold"))
    if not quiet:
        facts = Table.grid(padding=(0, 2, 0, 0))
        facts.add_column(style="dim", no_wrap=True, min_width=11)
        facts.add_column(overflow="fold")
        for label, text in _lines(found):
            facts.add_row(label, Text(printable(text), style="yellow" if label == "left" else ""))
        console.print(Padding(facts, (0, 0, 0, 2)))
    return drawn(out)


def _lines(found: Conversion) -> list[tuple[str, str]]:
    lines = [
        ("from", record(found.format).title),
        (
            "model",
            f"{found.variables:,} variables, {human_bytes(found.bytes_written)} written, compared with the source",
        ),
    ]
    for class_name, count in found.optimizers:
        at = f" at iteration {count:,}" if count is not None else ", which keeps no count"
        lines.append(("optimizer", f"{class_name or 'of unknown class'}{at}"))
    return lines + [("note", each) for each in found.left]


def _json(found: Conversion) -> str:
    body = {
        "schema": SCHEMA,
        "version": __version__,
        "source": found.source,
        "format": found.format.value,
        "output": found.output,
        "to": found.to.value,
        "variables": found.variables,
        "optimizers": [{"class": name, "iterations": count} for name, count in found.optimizers],
        "notes": list(found.left),
        "bytes": found.bytes_written,
    }
    return json.dumps(body, allow_nan=False) + "\n"
