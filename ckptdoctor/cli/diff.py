"""`ckptdoctor diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ckptdoctor.cli.options import ANY_PATH, deliver, output_options, progress_bar, read_mapping, reporting, wants_color
from ckptdoctor.errors import EXIT_FINDINGS, EXIT_OK, CkptDoctorError

if TYPE_CHECKING:
    from ckptdoctor.comparison.results import Comparison
    from ckptdoctor.examination import Examination


@click.command(short_help="Do two artifacts hold the same optimizer state?")
@click.argument("a", metavar="A", type=ANY_PATH)
@click.argument("b", metavar="B", type=ANY_PATH)
@click.option("--values", is_flag=True, help="Read the data of every slot too, and compare it.")
@click.option("--weights", is_flag=True, help="Compare the model's weights too, and count a difference.")
@click.option(
    "--rtol",
    metavar="R",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Values may differ by R times the greater of the two. Default: 0, they are equal.",
)
@click.option("--atol", metavar="D", type=click.FloatRange(min=0), default=0.0, help="And by D in any case.")
@click.option("--optimizer", metavar="NAME", help="Which optimizer, where an artifact has several.")
@click.option("--map", "maps", metavar="OLD=NEW", multiple=True, help="A's variable (or PREFIX/) = B's variable.")
@click.option("--map-file", type=click.Path(exists=True, dir_okay=False), help="A file of OLD=NEW lines.")
@output_options("text", "json", "markdown", "html", quiet="Only the verdict, no progress and no messages.")
@click.pass_context
def diff(  # noqa: PLR0913 - a command takes its options as arguments
    context: click.Context,
    *,
    a: str,
    b: str,
    values: bool,
    weights: bool,
    rtol: float,
    atol: float,
    optimizer: str | None,
    maps: tuple[str, ...],
    map_file: str | None,
    form: str,
    output_file: str | None,
    quiet: bool,
    no_color: bool,
) -> None:
    """Say whether A and B hold the same optimizer state, in whatever formats and generations they hold it.

    Compares class, iterations, hyperparameters, schedule, loss scale, scalars, and the slots of each variable; with
    --values the slots' data, read in pieces. Where generations keep different quantities, B's numbers are translated
    first. What one artifact does not record is told, what cannot be compared is never called equal.

    \b
    Exit codes:
      0  no difference, as far as was compared
      1  different, or not known to be the same
      2  wrong use, or no such path
      3  an artifact cannot be read
    """  # noqa: D301 - \b is a backspace: click leaves the paragraph after it unwrapped
    from ckptdoctor.comparison.options import make_options
    from ckptdoctor.comparison.run import compare, look

    code = EXIT_OK
    sides: list[Examination] = []
    errors: list[CkptDoctorError | None] = []
    for path in (a, b):
        with reporting(path) as outcome:
            sides.append(look(path))
        errors.append(outcome.error)
        code = max(code, outcome.exit_code)
    found: Comparison | None = None
    failure: CkptDoctorError | None = None
    if len(sides) == len(errors):
        with reporting() as outcome, progress_bar(b, wanted=not quiet) as progress:
            options = make_options({
                "values": values,
                "weights": weights,
                "rtol": rtol,
                "atol": atol,
                "optimizer": optimizer,
                "mapping": read_mapping(maps, map_file),
            })  # fmt: skip
            found = compare(sides[0], sides[1], options, progress=progress)
        failure = outcome.error
        code = max(code, outcome.exit_code, EXIT_FINDINGS if found is not None and not found.agrees else EXIT_OK)
    with reporting() as outcome:
        if found is not None:
            color = wants_color(no_color) and output_file is None
            deliver(_render(found, form, quiet=quiet, color=color), output_file, form=form)
        elif form == "json":
            from ckptdoctor.report.diff import json as diff_json

            deliver(diff_json.render_failure((a, b), errors, failure), output_file, form=form)
    context.exit(max(code, outcome.exit_code))


def _render(found: Comparison, form: str, *, quiet: bool, color: bool) -> str:
    if form == "json":
        from ckptdoctor.report.diff import json as diff_json

        return diff_json.render(found)
    if form == "html":
        from ckptdoctor.report.diff import html as diff_html

        return diff_html.render(found)
    if form == "markdown":
        from ckptdoctor.report.diff import markdown as diff_markdown

        return diff_markdown.render(found, quiet=quiet)
    from ckptdoctor.report.diff import text as diff_text

    return diff_text.render(found, quiet=quiet, color=color)
