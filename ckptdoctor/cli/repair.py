"""`ckptdoctor repair`."""

from __future__ import annotations

import click

from ckptdoctor.cli.options import ANY_PATH, deliver, output_options, progress_bar, reporting, wants_color


@click.command(short_help="Mend what the findings name, in the same format.")
@click.argument("path", metavar="PATH", required=False, type=ANY_PATH)
@click.option("--output", metavar="OUT", help="What is written, in PATH's format.")
@click.option("--in-place", is_flag=True, help="Mend PATH itself; the original is kept as PATH.bak.")
@click.option(
    "--fix", "fixes", metavar="NAME", multiple=True, help="What to mend (repeatable). Default: all that is safe."
)
@click.option("--list", "listing", is_flag=True, help="Show what could be mended; without PATH every fix there is.")
@click.option("--iterations", type=click.IntRange(min=1), help="The count, for --fix count.")
@click.option("--learning-rate", metavar="RATE", type=float, help="The rate, for --fix learning-rate.")
@click.option("--loader", metavar="PACKAGE==VERSION", help="What will load it, for --fix trainer-state.")
@click.option("--overwrite", is_flag=True, help="Replace what lies at OUT.")
@output_options("text", "json", quiet="Only the first line, no progress and no messages.")
@click.pass_context
def repair(  # noqa: PLR0913 - a command takes its options as arguments
    context: click.Context,
    *,
    path: str | None,
    output: str | None,
    in_place: bool,
    fixes: tuple[str, ...],
    listing: bool,
    iterations: int | None,
    learning_rate: float | None,
    loader: str | None,
    overwrite: bool,
    form: str,
    output_file: str | None,
    quiet: bool,
    no_color: bool,
) -> None:
    """Mend PATH: what was lost on the way, what its program stumbles over, what is silently dropped.

    Weights are never changed. With --in-place the result takes PATH's name in one step, and the original is kept as
    PATH.bak, which is never overwritten.

    \b
    Exit codes:
      0  done
      2  wrong use, or no such path
      3  PATH cannot be read
      4  refused: nothing was written
    """  # noqa: D301 - \b is a backspace: click leaves the paragraph after it unwrapped
    from ckptdoctor.repairing import run
    from ckptdoctor.report.repair import repair as report

    if path is None and not listing:
        raise click.UsageError("Missing argument 'PATH'.")
    if path is not None and (output is not None) + in_place + listing != 1:
        raise click.UsageError("Say one of --output OUT, --in-place and --list.")
    with reporting() as outcome:
        color = wants_color(no_color) and output_file is None
        given = {"iterations": iterations, "learning_rate": learning_rate, "loader": loader}
        settings = {name: value for name, value in given.items() if value is not None}
        if path is None:
            text = report.render_known(form, quiet=quiet, color=color)
        elif listing:
            text = report.render_list(path, run.could(path, settings), form, quiet=quiet, color=color)
        else:
            with progress_bar(output or path, wanted=not quiet) as progress:
                done = run.repair(path, output, fixes=fixes, settings=settings, overwrite=overwrite, progress=progress)
            text = report.render(done, form, quiet=quiet, color=color)
        deliver(text, output_file, form=form)
    context.exit(outcome.exit_code)
