"""`ckptdoctor convert`."""

from __future__ import annotations

import re

import click

from ckptdoctor.cli.options import ANY_PATH, deliver, output_options, reporting, wants_color
from ckptdoctor.errors import UsageProblem

_SIZE = re.compile(r"(?P<number>\d{1,12})\s*(?P<unit>[kmgt]?)b?\Z", re.IGNORECASE)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@click.command(short_help="Write an artifact in another format or layout.")
@click.argument("path", type=ANY_PATH)
@click.option("--output", metavar="OUT", required=True, help="What is written.")
@click.option("--to", "to", metavar="FORMAT", help="torch-dcp, tf-checkpoint, safetensors, …; else OUT's ending tells.")
@click.option("--like", metavar="MODEL.keras", help="An archive of the same model, for what has no configuration.")
@click.option("--max-shard-size", metavar="SIZE", help="Of safetensors shards in a directory (5GB).")
@click.option("--overwrite", is_flag=True, help="Replace what lies at OUT.")
@output_options("text", "json")
@click.pass_context
def convert(  # noqa: PLR0913 - a command takes its options as arguments
    context: click.Context,
    *,
    path: str,
    output: str,
    to: str | None,
    like: str | None,
    max_shard_size: str | None,
    overwrite: bool,
    form: str,
    output_file: str | None,
    quiet: bool,
    no_color: bool,
) -> None:
    """Write OUT: the same model and optimizer state as PATH in another format or layout.

    PATH is never changed. What OUT has no place for is named; what is written is read back and compared before it is
    put in its place.

    \b
    Exit codes:
      0  done
      2  wrong use, or no such path
      3  PATH cannot be read
      4  refused: nothing was written
    """  # noqa: D301 - \b is a backspace: click leaves the paragraph after it unwrapped
    from ckptdoctor.converting.run import convert as run
    from ckptdoctor.converting.run import writable
    from ckptdoctor.report.convert import render

    with reporting() as outcome:
        known = writable()
        if to is not None and to not in known:
            raise UsageProblem(f"--to {to!r}: there are {', '.join(known)}")
        found = run(path, output, to, overwrite=overwrite, max_shard=_bytes(max_shard_size), like=like)
        color = wants_color(no_color) and output_file is None
        deliver(render(found, form, quiet=quiet, color=color), output_file, form=form)
    context.exit(outcome.exit_code)


def _bytes(text: str | None) -> int | None:
    """`5GB` as a number of bytes."""
    if text is None:
        return None
    told = _SIZE.match(text.strip())
    if told is None or not int(told["number"]):
        raise UsageProblem(f"--max-shard-size {text!r} is no size, such as 5GB or 500MB")
    return int(told["number"]) * _UNITS[told["unit"].lower()]
