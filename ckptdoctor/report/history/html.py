"""`history` as a page of its own: no script, nothing from the network, every text escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape as _escape

from ckptdoctor import __version__
from ckptdoctor.report.history.facts import MARK, Column, Shown, columns, headline, left_out, remarks
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.timeline.results import History, Run

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h2 { font-size: 1.1rem; margin: 2rem 0 .2rem; overflow-wrap: anywhere; }
.yes { color: #17692d; font-weight: 600; } .no { color: #b3261e; font-weight: 600; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem; text-align: left; white-space: nowrap; } th { font-weight: 600; color: #666; }
.right { text-align: right; } tr.resume { background: #e6f4ea; } tbody tr:nth-child(even) { background: #f6f6f6; }
tbody tr.resume:nth-child(even) { background: #e6f4ea; } dt { color: #666; } dl { margin: .3rem 0 1rem; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } th, dt { color: #999; }
.yes { color: #6dd58c; } .no { color: #f2948c; } tbody tr:nth-child(even) { background: #222; }
tr.resume, tbody tr.resume:nth-child(even) { background: #1d3325; } }
"""


def render(found: Iterable[History], shown: Shown) -> str:
    """The page."""
    body = "\n".join(_run(run, shown) for each in found for run in each.runs)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>ckptdoctor history</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>History</h1>\n{body}\n<p>ckptdoctor {text(__version__)}</p>\n</body>\n</html>\n"
    )


def text(raw: str) -> str:
    """Text that a browser shows as it is."""
    return _escape(printable(raw), quote=True)


def _run(run: Run, shown: Shown) -> str:
    parts = [
        f"<h2>{text(run.path)}</h2>",
        f'<p class="{"yes" if run.resume is not None else "no"}">{text(headline(run))}</p>',
    ]
    told = [f"<dt>{text(label)}</dt><dd>{text(said)}</dd>" for label, said in remarks(run)]
    parts += [f"<dl>{''.join(told)}</dl>"] if told else []
    parts.append(_table(columns(run, shown)))
    more = left_out(run, shown)
    return "\n".join([*parts, *([f"<p>{text(more)}</p>"] if more else [])])


def _table(table: list[Column]) -> str:
    kinds = [' class="right"' if each.right else "" for each in table]
    head = "".join(f"<th{kind}>{text(each.name)}</th>" for each, kind in zip(table, kinds, strict=True))
    rows = []
    for cells in zip(*(each.cells for each in table), strict=True):
        row = "".join(f"<td{kind}>{text(cell)}</td>" for cell, kind in zip(cells, kinds, strict=True))
        marked = ' class="resume"' if cells[0] == MARK else ""
        rows.append(f"<tr{marked}>{row}</tr>")
    body = "\n".join(rows)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'
