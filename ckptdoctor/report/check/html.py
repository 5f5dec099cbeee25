"""`check` as a page: what failed first, each with its findings and what to do."""

from __future__ import annotations

from collections.abc import Iterator

from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.results import Checked, CheckReport
from ckptdoctor.report.check.facts import headline, shown, summary_line
from ckptdoctor.report.pages import page as parts


def render(report: CheckReport) -> str:
    """The page."""
    return parts.page("ckptdoctor check", _all(report))


def _all(report: CheckReport) -> Iterator[str]:
    kind = "good" if report.passed else "bad"
    yield f'<p class="{kind}">{parts.text(summary_line(report))}</p>'
    order = sorted(report.results, key=lambda each: each.passed)
    rows = [("ok" if each.passed else "failed", each.path, headline(each, report.policy)) for each in order]
    if len(rows) > 1:
        yield parts.table(("result", "artifact", "verdict"), rows)
    for each in order:
        if len(rows) == 1 or shown(each, report.policy):
            yield from _artifact(each, report.policy)


def _artifact(each: Checked, policy: Policy) -> Iterator[str]:
    yield f"<h2>{parts.text(each.path)}</h2>"
    yield f'<p class="{"good" if each.passed else "bad"}">{parts.text(headline(each, policy))}</p>'
    yield parts.findings(shown(each, policy))
