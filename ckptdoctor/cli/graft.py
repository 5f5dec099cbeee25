"""`ckptdoctor graft`."""

from __future__ import annotations

import click

from ckptdoctor.cli import ahead
from ckptdoctor.cli.options import (
    ANY_PATH,
    deliver,
    output_options,
    progress_bar,
    read_mapping,
    read_settings,
    reporting,
    wants_color,
)
from ckptdoctor.errors import GraftRefused

_GENERATIONS = ("tf1", "keras1", "optimizer-v2", "keras2", "keras3", "torch")


@click.command(short_help="Put optimizer state from one artifact into another.")
@click.option("--from", "donor", metavar="DONOR", help="Where the optimizer state comes from.")
@click.option("--into", "target", metavar="TARGET", required=True, help="The artifact that is completed; not changed.")
@click.option("--output", metavar="OUT", help="What is written, in TARGET's format.  [required]")
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(["iterations", "slots", "hyperparameters"]),
    help="Only this part (repeatable).",
)
@click.option(
    "--optimizer", metavar="NAME", multiple=True, help="Which, where there are several (DONOR=TARGET; repeatable)."
)
@click.option("--map", "maps", metavar="OLD=NEW", multiple=True, help="Donor variable (or PREFIX/) = target variable.")
@click.option("--map-file", type=ANY_PATH, help="A file of OLD=NEW lines.")
@click.option("--partial", is_flag=True, help="Leave variables without a counterpart in a fresh state.")
@click.option("--as", "generation", type=click.Choice(_GENERATIONS), help="The generation of optimizers to write.")
@click.option("--optimizer-class", metavar="CLASS", help="The class, where neither side records it.")
@click.option("--iterations", type=click.IntRange(min=0), help="Set the count by hand; needs no donor.")
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help="Set a hyperparameter (momentum=0.9).")
@click.option("--learning-rate", metavar="RATE", type=float, help="Short for --set learning_rate=RATE.")
@click.option("--groups", type=click.Choice(["keep", "target"]), help="PyTorch: keep the donor's parameter groups.")
@click.option("--keys", metavar="model=K,optimizer=K", help="PyTorch: keys for what becomes a dictionary.")
@click.option("--dry-run", is_flag=True, help="Print the plan, write nothing.")
@click.option("--link", is_flag=True, help="Share unchanged data files by hard link instead of copying them.")
@click.option("--overwrite", is_flag=True, help="Replace what lies at OUT.")
@click.option("--sha256", is_flag=True, help="Digest inputs and output for the receipt, files over 64 MiB too.")
@click.option("--verify", is_flag=True, help="Let the installed framework load OUT before it is put in place.")
@output_options("text", "json", "markdown")
@click.pass_context
def graft(  # noqa: PLR0913 - a command takes its options as arguments
    context: click.Context,
    *,
    donor: str | None,
    target: str,
    output: str | None,
    only: tuple[str, ...],
    optimizer: tuple[str, ...],
    maps: tuple[str, ...],
    map_file: str | None,
    partial: bool,
    generation: str | None,
    optimizer_class: str | None,
    iterations: int | None,
    settings: tuple[str, ...],
    learning_rate: float | None,
    groups: str | None,
    keys: str | None,
    dry_run: bool,
    link: bool,
    overwrite: bool,
    sha256: bool,
    verify: bool,
    form: str,
    output_file: str | None,
    quiet: bool,
    no_color: bool,
) -> None:
    """Write OUT: TARGET's model with DONOR's optimizer state, in TARGET's format.

    Inputs are never changed. What cannot be translated exactly, matched without doubt or completed is refused with
    the reason and the option that would settle it.

    \b
    Exit codes:
      0  done
      2  wrong use, or no such path
      3  an input cannot be read
      4  refused: nothing was written
    """  # noqa: D301 - \b is a backspace: click leaves the paragraph after it unwrapped
    if not dry_run:
        ahead.writer(target)
    from ckptdoctor.grafting.options import PARTS, make_options
    from ckptdoctor.grafting.run import graft as run
    from ckptdoctor.grafting.run import plan_graft
    from ckptdoctor.report.graft import text as report
    from ckptdoctor.state import Generation

    if output is None:
        hint = f"; -o is where the report goes: say --output {output_file}" if output_file else ""
        raise click.UsageError(f"Missing option '--output'{hint}.")
    with reporting() as outcome:
        by_hand = read_settings(settings)
        if learning_rate is not None:
            by_hand["learning_rate"] = learning_rate
        options = make_options({
            "only": only or PARTS,
            "optimizer": optimizer or None,
            "mapping": read_mapping(maps, map_file),
            "partial": partial,
            "generation": Generation(generation) if generation else None,
            "optimizer_class": optimizer_class,
            "iterations": iterations,
            "hyperparameters": by_hand,
            "link": link,
            "groups": groups,  # type: ignore[typeddict-item]  # click has checked it
            "keys": read_mapping(tuple(keys.split(",")) if keys else (), None),
        })  # fmt: skip
        color = wants_color(no_color) and output_file is None
        if dry_run:
            plan = plan_graft(donor, target, output, options, overwrite=overwrite)
            deliver(report.render_plan(plan, form, quiet=quiet, color=color), output_file, form=form)
        else:
            check = _verified if verify else None
            with progress_bar(output, wanted=not quiet) as progress:
                receipt = run(
                    donor, target, output, options, overwrite=overwrite, sha256=sha256, check=check, progress=progress
                )
            deliver(report.render_receipt(receipt, form, quiet=quiet, color=color), output_file, form=form)
    context.exit(outcome.exit_code)


def _verified(staged: str) -> None:
    """Lets the framework load the result; one call at least has to restore all of it.

    Raises:
        GraftRefused: None does.
    """
    from ckptdoctor.verification import verify

    result = verify(staged)
    if not result.restorable:
        why = result.error or "; ".join(result.advice) or "its slots or its count differ"
        raise GraftRefused(
            f"{result.framework} {result.version} does not restore the result ({why}); nothing was written"
        )
