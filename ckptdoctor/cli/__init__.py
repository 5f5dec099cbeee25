"""The command line: one file a command, options in and reports out. No logic and no format knowledge."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from contextlib import suppress
from importlib import import_module

import click

from ckptdoctor import __version__
from ckptdoctor.errors import EXIT_INTERRUPTED, EXIT_USAGE
from ckptdoctor.isolation import ownership
from ckptdoctor.start import raising

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


_COMMANDS = (
    "inspect", "check", "scan", "history", "diff", "graft", "repair", "convert", "strip", "verify", "recipe", "explain",
)  # fmt: skip
"""Each in a module of its name; only the one that is asked for is imported."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"ckptdoctor.cli.{cmd_name}"), cmd_name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Whatever is said of an argument, by click or by a command: signatures and passwords are not in it."""
        return super().parse_args(ctx, [_without_secrets(each) for each in args])

    def invoke(self, ctx: click.Context) -> object:
        try:
            with raising():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("ckptdoctor: interrupted", err=True)
            ctx.exit(EXIT_INTERRUPTED)


def _without_secrets(argument: str) -> str:
    if "://" not in argument:
        return argument
    from ckptdoctor.storage import tellable

    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return f"{option}{equals}{tellable(value)}"


@click.group(cls=_Commands, context_settings=CONTEXT)
@click.version_option(__version__, "--version", prog_name="ckptdoctor")
def cli() -> None:
    """Inspect and repair training checkpoints of PyTorch, Keras, TensorFlow and JAX, without importing them."""
    from ckptdoctor.declarations.chosen import nearest_file, use

    use(nearest_file())  # only said here: it is looked for when a class is met that nobody knows


def main() -> None:
    """The console script."""
    _hold_standard_streams()
    ownership.claim()
    # numpy's library for linear algebra, which nothing here calls, would start threads that wait by spinning.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # A command builds much data and no cycles: looking for garbage as often as Python does costs more than it frees.
    gc.set_threshold(2_000_000, 50, 100)
    code: object = 0
    try:
        cli(prog_name="ckptdoctor")
    except SystemExit as stop:
        code = stop.code
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except OSError as error:
        if error.filename is not None:
            raise
        # What click writes itself, before any command: --help and --version.
        from ckptdoctor.cli.options import unwritten

        with suppress(OSError):
            click.echo(f"ckptdoctor: {unwritten(error)}", err=True)
        code = EXIT_USAGE
    _leave(code if isinstance(code, int) else 0 if code is None else 1)


def _hold_standard_streams() -> None:
    """Opens what was closed of stdin, stdout and stderr (daemons, cron): the next pipe would take its number."""
    opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    while opened < 3:  # noqa: PLR2004 - stdin, stdout, stderr
        opened = os.open(os.devnull, os.O_RDWR)
    os.close(opened)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process


def _leave(code: int) -> None:
    """Ends the process without taking every object apart first, which would take longer than reading them did."""
    atexit._run_exitfuncs()  # noqa: SLF001 - what the interpreter itself does next
    with suppress(OSError, ValueError):
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)
