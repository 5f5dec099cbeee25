"""`ckptdoctor recipe`."""

from __future__ import annotations

import click

from ckptdoctor import __version__
from ckptdoctor.cli.options import ANY_PATH, deliver, reporting


@click.command(short_help="The Python that restores an artifact, so that training resumes.")
@click.argument("path", metavar="PATH", type=ANY_PATH)
@click.option(
    "--output-file", "-o", type=click.Path(dir_okay=False), help="Write the script here instead of to stdout."
)
@click.version_option(__version__, "--version", prog_name="ckptdoctor")
@click.pass_context
def recipe(context: click.Context, *, path: str, output_file: str | None) -> None:
    """Write the Python script that restores this artifact by its own framework, and proves it.

    What only your program knows, the model above all, is a function at the top, with what the artifact tells of it.
    Where the artifact holds the whole model, the script runs as it is. It asserts the count and a slot's norm.

    PATH is what `inspect` takes; of a directory its latest artifact.

    \b
    Exit codes:
      0  the script was written
      1  no script restores it
      2  wrong use, or no such path
      3  it cannot be read
    """  # noqa: D301 - \b is a backspace: click leaves the paragraph after it unwrapped
    from ckptdoctor.recipes.run import recipe as find
    from ckptdoctor.recipes.run import render

    with reporting(path) as outcome:
        text = render(find(path))
        deliver(text, output_file, form="python")
    context.exit(outcome.exit_code)
