"""The command line: one file a command, options in and reports out. No logic and no format knowledge."""

from __future__ import annotations

import gc

import click

from ckptdoctor import __version__
from ckptdoctor.cli.inspect import inspect

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__, "--version", prog_name="ckptdoctor")
def cli() -> None:
    """Inspect and repair training checkpoints of Keras and TensorFlow, without importing either."""


cli.add_command(inspect)


def main() -> None:
    """The console script."""
    # A command builds much data and no cycles: looking for garbage as often as Python does costs more than it frees.
    gc.set_threshold(200_000, 20, 100)
    cli(prog_name="ckptdoctor")
