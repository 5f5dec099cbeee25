"""`ckptdoctor scan`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from ckptdoctor.cli.options import ANY_PATH, deliver, listed_paths, output_options, reporting, wants_color
from ckptdoctor.cli.policy import configured, policy_options
from ckptdoctor.errors import EXIT_FINDINGS, EXIT_OK, UsageProblem

if TYPE_CHECKING:
    from ckptdoctor.scanning.listing import Shard

_SHARD = re.compile(r"(\d{1,6})/(\d{1,6})\Z")
_BATCH = 500


@click.command(short_help="Judge every artifact below some prefixes, into a table.")
@click.argument("prefixes", metavar="PREFIX...", nargs=-1, type=ANY_PATH)
@click.option("--output", metavar="DIR", required=True, help="Where the parts of the table are put, one a batch.")
@click.option("--resume", is_flag=True, help="Go on with what lies in DIR: what has not changed is not read again.")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="So many workers.  [default: by the machine]")
@click.option(
    "--engine",
    type=click.Choice(["processes", "dask", "ray"]),
    default="processes",
    show_default=True,
    help="What the workers are.",
)
@click.option("--address", metavar="URL", help="A cluster of Dask or Ray that runs already.")
@click.option(
    "--batch", type=click.IntRange(min=1), default=_BATCH, show_default=True, metavar="N", help="Artifacts in a part."
)
@click.option("--shard", metavar="I/N", help="Judge only part I of N: for array jobs, one machine each.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 where there are findings, too.")
@policy_options
@output_options("text", "json", quiet="Only the first line, no progress and no messages.")
@click.pass_context
def scan(  # noqa: PLR0913 - a command takes its options as arguments
    context: click.Context,
    /,
    *,
    prefixes: tuple[str, ...],
    output: str,
    resume: bool,
    jobs: int | None,
    engine: str,
    address: str | None,
    batch: int,
    shard: str | None,
    exit_zero: bool,
    form: str,
    output_file: str | None,
    quiet: bool,
    no_color: bool,
    **policy: Any,
) -> None:
    """Judge every artifact below PREFIX, a row each: directories, buckets, repositories of the Hub.

    DIR gets a part a batch, whole or not at all: Parquet with pyarrow, JSON lines without. A scan that was ended goes
    on with --resume. What cannot be read is a row as well, and so is what its reader died of. `-` reads prefixes from
    standard input, one a line.

    \b
    Exit codes, as those of check:
      0  nothing at or above the --fail-on level
      1  findings
      2  wrong use, or nothing is there
      3  something cannot be read
    """  # noqa: D301 - \b is a backspace: click leaves the paragraph after it unwrapped
    from ckptdoctor.cli.progress import rate_progress
    from ckptdoctor.report.scan import render
    from ckptdoctor.scanning.run import scan as run

    code = EXIT_OK
    with reporting() as outcome:
        if address is not None and engine == "processes":
            raise UsageProblem("--address is of a cluster: say --engine dask or --engine ray")
        settings = configured(policy)
        part = _shard(shard)
        with rate_progress(wanted=not quiet) as tell:
            found = run(
                listed_paths(prefixes), output, settings.policy,
                engine=engine, address=address, jobs=jobs, batch=batch, shard=part, resume=resume, told=tell,
            )  # fmt: skip
        code = EXIT_OK if exit_zero and found.exit_code == EXIT_FINDINGS else found.exit_code
        color = wants_color(no_color) and output_file is None
        deliver(render(found, form, quiet=quiet, color=color), output_file, form=form)
    context.exit(max(code, outcome.exit_code))


def _shard(text: str | None) -> Shard:
    """`2/8` as a part of a scan."""
    from ckptdoctor.scanning.listing import Shard

    if text is None:
        return Shard()
    match = _SHARD.match(text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageProblem(f"--shard {text!r} is no part such as 1/8 or 8/8")
    return Shard(int(match[1]), int(match[2]))
