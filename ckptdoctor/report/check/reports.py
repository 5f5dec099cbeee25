"""The reports of `check` by their names; each is imported when it is asked for."""

from __future__ import annotations

from ckptdoctor.checking.results import CheckReport

FORMS = ("text", "json", "markdown", "github", "sarif", "junit", "html")


def render(report: CheckReport, form: str, *, color: bool = False, quiet: bool = False) -> str:
    """A report in one of `FORMS`, ending in a newline.

    Args:
        report: What was found.
        form: Its form.
        color: With colours, where the form has any.
        quiet: A line an artifact, where a person reads it.

    Raises:
        ValueError: There is no such form.
    """
    if form == "text":
        from ckptdoctor.report.check import text as check_text

        return check_text.render(report, quiet=quiet, color=color)
    if form == "json":
        from ckptdoctor.report.check import json as check_json

        return check_json.render(report)
    if form == "markdown":
        from ckptdoctor.report.check import markdown as check_markdown

        return check_markdown.render(report, quiet=quiet)
    if form == "github":
        from ckptdoctor.report.check import github as check_github

        return check_github.render(report)
    if form == "sarif":
        from ckptdoctor.report.check import sarif as check_sarif

        return check_sarif.render(report)
    if form == "junit":
        from ckptdoctor.report.check import junit as check_junit

        return check_junit.render(report)
    if form == "html":
        from ckptdoctor.report.check import html as check_html

        return check_html.render(report)
    raise ValueError(f"no report of a check is called {form!r}: {', '.join(FORMS)} are")
