"""What `scan` says when it is done: the figures first, then the query to go on with."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from rich.text import Text

from ckptdoctor import __version__
from ckptdoctor.report.shared import console as shared
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.report.shared.facts import human_bytes
from ckptdoctor.scanning.rows import Row
from ckptdoctor.scanning.run import Scan
from ckptdoctor.scanning.summary import Newest, Summary

SCHEMA = "ckptdoctor.scan/1"
_MOST = 5
_RUNS = 5
_LABEL = 18


def render(found: Scan, form: str, *, quiet: bool, color: bool) -> str:
    """The summary as text or JSON."""
    return _json(found) if form == "json" else _text(found, quiet=quiet, color=color)


def _text(found: Scan, *, quiet: bool, color: bool) -> str:
    console, out = shared.open_console(color=color)
    summary = found.summary
    failed = summary.artifacts - summary.passed
    line = Text(f"{printable(found.output)}: ", style="bold")
    told = f"{failed:,} failed" if failed else "all passed" if summary.artifacts else "none was found"
    style = "bold red" if failed else "bold green" if summary.artifacts else "bold yellow"
    line.append(f"{summary.artifacts:,} artifacts, {told}", style=style)
    shared.headline(console, line)
    if not quiet:
        for label, text in _facts(found):
            console.print(
                Text(f"  {label:<{_LABEL}}", style="dim").append(printable(text), style="none"), soft_wrap=True
            )
        console.print()
        console.print(Text(f"  {_query(found)}", style="dim"), soft_wrap=True)
    return shared.drawn(out)


def _facts(found: Scan) -> list[tuple[str, str]]:
    summary = found.summary
    rows = [
        ("status", _most(summary.statuses)),
        ("formats", _most(summary.formats)),
        ("findings", _most(summary.findings)),
        ("cannot resume", _most(summary.cannot_resume)),
        ("would lose count", _most(summary.loses_count)),
        ("would lose slots", _most(summary.loses_slots)),
        ("unreadable", _most(summary.unreadable)),
        ("bytes", f"{human_bytes(summary.bytes)}, {human_bytes(summary.strippable)} of them optimizer state"),
        ("runs", f"{summary.runs:,}" if summary.runs else ""),
        *(("newest complete", _newest(each)) for each in summary.newest[:_RUNS]),
        ("", f"and of {len(summary.newest) - _RUNS:,} runs more" if len(summary.newest) > _RUNS else ""),
        *(("slowest", f"{each.seconds:.2f} s  {each.path}") for each in summary.slowest[:_MOST]),
        ("network", _network(summary)),
        ("parts", f"{found.batches:,} of {found.form}, {found.resumed:,} of them were there"),
    ]  # fmt: skip
    return [(label, text) for label, text in rows if text]


def _most(counted: Counter[str]) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in counted.most_common(_MOST))
    return f"{shown}, and {len(counted) - _MOST:,} kinds more" if len(counted) > _MOST else shown


def _newest(each: Newest) -> str:
    count = "" if each.iterations is None else f" at iteration {each.iterations:,}"
    return f"{each.path}{count}"


def _network(summary: Summary) -> str:
    if not summary.requests:
        return ""
    each = summary.requests / max(1, summary.artifacts)
    return f"{summary.requests:,} requests ({each:.1f} an artifact), {human_bytes(summary.read_bytes)}"


def _query(found: Scan) -> str:
    reader = "read_parquet" if found.form == "parquet" else "read_json"
    table = f"{reader}('{found.output}/*.{found.form}')"
    return f'duckdb -c "FROM {table} WHERE NOT passed"'


def _json(found: Scan) -> str:
    summary = found.summary
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "version": __version__,
        "output": found.output,
        "form": found.form,
        "exit_code": found.exit_code,
        "judged": found.judged,
        "batches": found.batches,
        "resumed": found.resumed,
        "summary": {name: _plain(value) for name, value in summary._asdict().items()},
    }
    return json.dumps(document, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Counter):
        return dict(value.most_common())
    if isinstance(value, tuple) and value and isinstance(value[0], (Row, Newest)):
        return [each._asdict() for each in value]
    return value
