"""The frame of a page, and its parts: every text goes through one function that escapes it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape

from ckptdoctor import __version__
from ckptdoctor.diagnosis.findings import Finding
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.report.shared.facts import hint_parts

_STYLE = """
:root { color-scheme: light dark; --text: #222; --page: #fff; --dim: #595959; --line: #ddd; --row: #f6f6f6;
--good: #17692d; --bad: #b3261e; --odd: #7a5200; --one: #0b57d0; --other: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --text: #ddd; --page: #181818; --dim: #a8a8a8; --line: #444; --row: #222;
--good: #6dd58c; --bad: #f2948c; --odd: #e6b450; --one: #8ab4f8; --other: #f2948c; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: var(--text);
background: var(--page); }
h1 { font-size: 1.3rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .2rem; overflow-wrap: anywhere; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
.odd { color: var(--odd); font-weight: 600; } .dim, dt, th, footer { color: var(--dim); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; } th { font-weight: 600; }
.narrow td, .narrow th { white-space: nowrap; } .right { text-align: right; } .path { overflow-wrap: anywhere; }
tbody tr:nth-child(even) { background: var(--row); } tr.chosen td { font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; margin: .3rem 0 1rem; }
dd { margin: 0; overflow-wrap: anywhere; } code { overflow-wrap: anywhere; }
figure { margin: 1rem 0; } svg { width: 100%; height: auto; max-width: 44rem; }
svg text { fill: var(--text); font-size: 12px; }
.axis { stroke: var(--line); } .one { stroke: var(--one); } .other { stroke: var(--other); } .bar { fill: var(--one); }
ul.findings { padding-left: 1.1rem; } ul.findings li { margin: .5rem 0; overflow-wrap: anywhere; }
@media (max-width: 32rem) { dl { display: block; } dt { margin-top: .4rem; } }
@media print { body { margin: 0; max-width: none; } details { display: block; } h2 { break-after: avoid; } }
"""
_POLICY = "default-src 'none'; style-src 'sha256-{}'"


def text(raw: object) -> str:
    """Text that a browser shows as it is; control and bidirectional characters as escapes."""
    return escape(printable(str(raw)), quote=True)


def page(title: str, parts: Iterable[str]) -> str:
    """The whole document."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY.format(digest)}">\n'
        f'<meta name="generator" content="ckptdoctor {text(__version__)}">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{text(title)}</h1>\n"
        f"{body}\n</main>\n<footer><p>ckptdoctor {text(__version__)}</p></footer>\n</body>\n</html>\n"
    )


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[int] = (), chosen: Iterable[int] = ()
) -> str:
    """A table that scrolls by itself where the page is narrow.

    Args:
        head: The columns' names; none for a table without.
        rows: Their cells.
        right: Numbers of the columns that are set to the right.
        chosen: Numbers of the rows that stand out.
    """
    kinds = dict.fromkeys(right, ' class="right"')
    marked = set(chosen)
    top = "".join(
        f'<th scope="col"{kinds.get(number, "")}>{text(each)}</th>' if each else "<td></td>"
        for number, each in enumerate(head)
    )
    body = "\n".join(
        f"<tr{' class=chosen' if number in marked else ''}>"
        + "".join(f"<td{kinds.get(column, '')}>{text(cell)}</td>" for column, cell in enumerate(row))
        + "</tr>"
        for number, row in enumerate(rows)
    )
    first = f"<thead><tr>{top}</tr></thead>\n" if head else ""
    return f'<div class="scroll" tabindex="0"><table class="narrow">\n{first}<tbody>\n{body}\n</tbody></table></div>'


def facts(told: Iterable[tuple[str, str]]) -> str:
    """Labels, and what is said of each."""
    return "<dl>" + "".join(f"<dt>{text(label)}</dt><dd>{text(said)}</dd>" for label, said in told) + "</dl>"


_KINDS = {"error": "bad", "warning": "odd", "info": "dim"}


def findings(found: Iterable[Finding]) -> str:
    """Each with what to do, commands as such."""
    items = []
    for each in found:
        before, command, after = hint_parts(printable(each.hint))
        hint = escape(before) + (f"<code>{escape(command)}</code>" if command else "") + escape(after)
        more = f"<br>{hint}" if hint else ""
        severity = each.severity.value
        head = f'<span class="{_KINDS[severity]}">{severity}</span> {text(each.code)}'
        items.append(f"<li>{head} {text(each.message)}{more}</li>")
    return f'<ul class="findings">{"".join(items)}</ul>' if items else ""
