"""`ckptdoctor history`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ckptdoctor.cli.options import ANY_PATH, deliver, listed_paths, output_options, reporting, wants_color
from ckptdoctor.errors import EXIT_FINDINGS, EXIT_OK, EXIT_UNREADABLE

if TYPE_CHECKING:
    from ckptdoctor.errors import CkptDoctorError
    from ckptdoctor.report.history.facts import Shown
    from ckptdoctor.timeline.results import History

_KEYS = ("count", "epoch", "metric", "learning-rate", "size", "age", "name")


@click.command(short_help="The checkpoints of a run, and which one to resume from.")
@click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=ANY_PATH)
@click.option("--deep", is_flag=True, help="Read every value too: is it finite, do the checksums match?")
@click.option(
    "--sort",
    type=click.Choice([sign + key for key in _KEYS for sign in ("", "-")]),
    metavar="KEY",
    help=f"By {', '.join(_KEYS[:-1])} or {_KEYS[-1]}; -KEY from the greatest on.  [default: the order of training]",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the last N lines of each run.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="So many workers.  [default: one for each processor]"
)
@output_options(
    "text", "json", "csv", "markdown", "html", quiet="Only which one to resume from, no progress and no messages."
)
@click.pass_context
def history(
    context: click.Context,
    *,
    directories: tuple[str, ...],
    deep: bool,
    sort: str | None,
    limit: int | None,
    jobs: int | None,
    form: str,
    output_file: str | None,
    quiet: bool,
    no_color: bool,
) -> None:
    """Show the checkpoints of a run, one a line, and say which one to resume from.

    Shows count, epoch, metric and learning rate, whether each is complete and (with --deep) finite, its size and age.
    Resume from the newest complete one that nothing is wrong with: it is marked, what is newer and passed over is
    told, and so is a pointer of the framework's own that names another.

    DIR is the directory of a run, or one with runs below it. `-` reads directories from standard input, one a line.

    \b
    Exit codes:
      0  there is a checkpoint to resume from
      1  there is none
      2  wrong use, or no such directory
      3  nothing in it can be read
    """  # noqa: D301 - \b is a backspace: click leaves the paragraph after it unwrapped
    from time import time

    from ckptdoctor.report.history.facts import Shown

    found: list[History | tuple[str, CkptDoctorError]] = []
    code = EXIT_OK
    with reporting() as outcome:
        directories = listed_paths(directories)
    if outcome.exit_code:
        context.exit(outcome.exit_code)
    for path in directories:
        with reporting(path) as outcome:
            each = _read(path, deep=deep, jobs=jobs, quiet=quiet)
            found.append(each)
            code = max(code, EXIT_OK if each else EXIT_UNREADABLE if each.is_unreadable else EXIT_FINDINGS)
        if outcome.error is not None:
            found.append((path, outcome.error))
        code = max(code, outcome.exit_code)
    with reporting() as outcome:
        color = wants_color(no_color) and output_file is None
        shown = Shown(time(), sort, limit)
        deliver(_render(found, form, shown, quiet=quiet, color=color), output_file, form=form)
    context.exit(max(code, outcome.exit_code))


def _read(path: str, *, deep: bool, jobs: int | None, quiet: bool) -> History:
    from ckptdoctor.cli.progress import counted_progress
    from ckptdoctor.timeline.run import history as look

    with counted_progress(wanted=not quiet) as tell:
        return look(path, deep=deep, jobs=jobs, told=tell)


def _render(
    found: list[History | tuple[str, CkptDoctorError]], form: str, shown: Shown, *, quiet: bool, color: bool
) -> str:
    if form == "json":
        from ckptdoctor.report.history import json

        return json.render(found, shown)
    from ckptdoctor.timeline.results import History

    histories = [each for each in found if isinstance(each, History)]
    if form == "csv":
        from ckptdoctor.report.history import csv

        return csv.render(histories, shown)
    if form == "html":
        from ckptdoctor.report.history import html

        return html.render(histories, shown)
    if form == "markdown":
        from ckptdoctor.report.history import markdown

        return "\n".join(markdown.render(each, shown, quiet=quiet) for each in histories)
    from ckptdoctor.report.history import text

    between = "" if quiet else "\n"
    return between.join(text.render(each, shown, quiet=quiet, color=color) for each in histories)
