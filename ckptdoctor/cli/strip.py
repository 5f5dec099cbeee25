"""`ckptdoctor strip`."""

from __future__ import annotations

import click

from ckptdoctor.cli.options import ANY_PATH, deliver, output_options, progress_bar, reporting, wants_color


@click.command(short_help="Write an artifact without its optimizer state, for release.")
@click.argument("path", metavar="PATH", type=ANY_PATH)
@click.option("--output", metavar="OUT", required=True, help="What is written, in PATH's format.")
@click.option("--overwrite", is_flag=True, help="Replace what lies at OUT.")
@output_options("text", "json", quiet="Only the first line, no progress and no messages.")
@click.pass_context
def strip(
    context: click.Context,
    *,
    path: str,
    output: str,
    overwrite: bool,
    form: str,
    output_file: str | None,
    quiet: bool,
    no_color: bool,
) -> None:
    """Write OUT: PATH without optimizers, and of PyTorch without schedulers, scalers and random numbers.

    The format stays, weights are the same bit for bit, and the bytes of what goes are not in OUT any more. PATH is
    never changed. What could not be loaded afterwards is refused with the reason.

    \b
    Exit codes:
      0  done
      2  wrong use, or no such path
      3  PATH cannot be read
      4  refused: nothing was written
    """  # noqa: D301 - \b is a backspace: click leaves the paragraph after it unwrapped
    from ckptdoctor.repairing.strip import strip as run
    from ckptdoctor.report.repair.strip import render

    with reporting() as outcome:
        with progress_bar(output, wanted=not quiet) as progress:
            release = run(path, output, overwrite=overwrite, progress=progress)
        color = wants_color(no_color) and output_file is None
        deliver(render(release, form, quiet=quiet, color=color), output_file, form=form)
    context.exit(outcome.exit_code)
