"""`ckptdoctor explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ckptdoctor.cli.options import deliver, output_options, reporting, wants_color
from ckptdoctor.errors import EXIT_OK

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ckptdoctor.diagnosis.rules import Rule


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Codes and names for a shell to offer."""
    from click.shell_completion import CompletionItem

    from ckptdoctor.diagnosis.rules import RULES

    return [
        CompletionItem(word, help=rule.says)
        for rule in RULES
        for word in (rule.code, rule.name)
        if word.lower().startswith(incomplete.lower())
    ]


@click.command(short_help="A rule: what it means for training, how it comes about, how to mend it.")
@click.argument("codes", metavar="[CODE]...", nargs=-1, shell_complete=_complete)
@click.option("--all", "everything", is_flag=True, help="The pages of all rules.")
@output_options("text", "json", "markdown", quiet="One line a rule, no page.")
@click.pass_context
def explain(
    context: click.Context,
    *,
    codes: tuple[str, ...],
    everything: bool,
    form: str,
    output_file: str | None,
    quiet: bool,
    no_color: bool,
) -> None:
    """Explain rules: what each means for training, how it comes about, how to mend it, and how sure it is.

    CODE is a code (S003), the beginning of some (S, V00) or a name (slots-missing), in any case. Without one, all
    rules are listed, a line each.

    \b
    Exit codes:
      0  done
      2  wrong use, or no such rule
    """  # noqa: D301 - \b is a backspace: click leaves the paragraph after it unwrapped
    from ckptdoctor.diagnosis.explanations import find
    from ckptdoctor.diagnosis.rules import RULES

    if everything and codes:
        raise click.UsageError("--all explains every rule: leave out the codes, or leave out --all")
    rules: list[Rule] = [] if codes else list(RULES)
    code = EXIT_OK
    for word in codes:
        with reporting() as outcome:
            rules += [rule for rule in find(word) if rule not in rules]
        code = max(code, outcome.exit_code)
    if rules or form == "json":
        pages = not quiet and (everything or bool(codes))
        color = wants_color(no_color) and output_file is None
        with reporting() as outcome:
            deliver(_render(rules, form, pages=pages, color=color), output_file, form=form)
        code = max(code, outcome.exit_code)
    context.exit(code)


def _render(rules: list[Rule], form: str, *, pages: bool, color: bool) -> str:
    if form == "json":
        from ckptdoctor.report.explain import json as explain_json

        return explain_json.render(rules)
    if form == "markdown":
        from ckptdoctor.report.explain import markdown as explain_markdown

        return explain_markdown.pages(rules) if pages else explain_markdown.table(rules)
    from ckptdoctor.report.explain import text as explain_text

    return explain_text.pages(rules, color=color) if pages else explain_text.table(rules, color=color)
