"""`ckptdoctor inspect`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

from ckptdoctor.cli.options import (
    ANY_PATH,
    complain,
    deliver,
    listed_paths,
    output_options,
    progress_bar,
    reporting,
    wants_color,
)
from ckptdoctor.errors import EXIT_OK


@click.command(short_help="What an artifact holds, and whether training will resume.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=ANY_PATH)
@click.option("--tensors", is_flag=True, help="List every tensor.")
@click.option(
    "--stats", is_flag=True, help="Read the data too: minimum, maximum, mean, NaN, Inf and zeros of every tensor."
)
@click.option("--all", "everything", is_flag=True, help="Of a directory, every artifact in it and below.")
@click.option("--model", metavar="PATH", type=ANY_PATH, help="The weights of an optimizer that PyTorch saved alone.")
@output_options("text", "json", "markdown", "html")
@click.pass_context
def inspect(
    context: click.Context,
    *,
    paths: tuple[str, ...],
    tensors: bool,
    stats: bool,
    everything: bool,
    model: str | None,
    form: str,
    output_file: str | None,
    quiet: bool,
    no_color: bool,
) -> None:
    """Say what an artifact holds, and whether training will resume where it stopped.

    Shows the format, the producer, the model variables, and each optimizer with its iterations, hyperparameters and
    slot variables.

    PATH is a file, a SavedModel directory, a checkpoint prefix (run/ckpt-7), any of its files, or a directory with a
    `checkpoint` state file (its latest one). `-` reads paths from standard input, one a line.

    A URL is read where it is, with the extra `remote`: s3://, gs://, az://, https://, hf://OWNER/NAME/PATH.

    \b
    Exit codes:
      0  everything was read, whatever it holds
      2  wrong use, or no such path
      3  something cannot be read
    """  # noqa: D301 - \b is a backspace: click leaves the paragraph after it unwrapped
    from ckptdoctor.examination import Examination, examine, not_there

    found: list[Examination] = []
    code = EXIT_OK
    with reporting() as outcome:
        paths = listed_paths(paths)
    if outcome.exit_code:
        context.exit(outcome.exit_code)
    for path in paths:
        with reporting(path) as outcome, progress_bar(path, wanted=stats and not quiet) as progress:
            for each in examine(path, everything=everything, stats=stats, model=model, progress=progress):
                found.append(each)
                if each.error is not None:
                    code = max(code, each.error.exit_code)
                    complain(each.error, each.path)
        if outcome.error is not None:
            found.append(not_there(path, outcome.error))
        code = max(code, outcome.exit_code)
    with reporting() as outcome:
        deliver(
            _render(
                found,
                form,
                tensors=tensors,
                stats=stats,
                quiet=quiet,
                color=wants_color(no_color) and output_file is None,
                to_file=output_file not in {None, "-"},
            ),
            output_file,
            form=form,
        )
    context.exit(max(code, outcome.exit_code))


def _render(
    found: list[Any], form: str, *, tensors: bool, stats: bool, quiet: bool, color: bool, to_file: bool
) -> str | Iterable[str]:
    if form == "json":
        from ckptdoctor.report.inspect import json

        return json.render(found, tensors=tensors, stats=stats)
    if form == "markdown":
        from ckptdoctor.report.inspect import markdown

        return markdown.render(found, tensors=tensors, stats=stats, quiet=quiet)
    if form == "html":
        from ckptdoctor.report.inspect import html

        return html.render(found, tensors=tensors)
    from ckptdoctor.report.inspect import text

    return text.render(found, tensors=tensors, stats=stats, quiet=quiet, color=color, unreadable=to_file)
